"""What completion offers on a forecaster, and what a type checker knows of it in an editor."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = {
    "fit", "predict", "predict_quantiles", "predict_interval", "backtest", "predict_in_sample", "residuals",
    "update", "score", "explain", "explain_backtest", "influence_paths", "impulse_response", "plot", "report", "save",
    "load", "to_onnx", "to_sktime", "to_darts",
}  # fmt: skip
OF_SKLEARN = {
    "get_params", "set_params",
    "get_metadata_routing", "set_fit_request", "set_predict_request", "set_score_request",  # of metadata routing
}  # fmt: skip


def offered(forecaster):
    """What completion shows: the names without a leading underscore."""
    return {name for name in dir(forecaster) if not name.startswith("_")}


def test_completion_offers_the_methods_and_the_hyperparameters(forecaster_class, tiny, y):
    hyperparameters = {field.name for field in fields(forecaster_class)}
    forecaster = forecaster_class(**tiny)
    for state in (forecaster, forecaster.fit(y)):
        fitted = {name for name in offered(state) if name.endswith("_")}
        assert offered(state) >= METHODS
        assert offered(state) - fitted - OF_SKLEARN - METHODS == hyperparameters | {"network_class"}
        assert {"get_params", "set_params"} <= offered(state)


def test_an_unfitted_forecaster_has_no_fitted_attribute(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny)
    fitted = {name for name in offered(forecaster_class(**tiny).fit(y)) if name.endswith("_")}
    assert {"network_", "columns_", "context_length_", "output_length_", "training_summary_"} <= fitted
    assert [name for name in fitted if hasattr(forecaster, name)] == []


EDITOR = """
import pandas as pd

from samovar_forecast import SAMoVARForecaster
from samovar_sktime import SAMoVARForecaster as SAMoVARForSktime

y = pd.DataFrame({"load": [1.0, 2.0, 3.0]})
forecaster = SAMoVARForecaster(horizon=12, context_length=24).fit(y)
reveal_type(forecaster.predict(y))
reveal_type(forecaster.backtest(y))
SAMoVARForecaster(horizn=12)
SAMoVARForSktime(horizon=12).fit(y, fh=[1])
SAMoVARForSktime(horizn=12)
""".lstrip()
WRONG = [line for line, text in enumerate(EDITOR.splitlines(), 1) if "horizn" in text]
REVEALED = [line for line, text in enumerate(EDITOR.splitlines(), 1) if "reveal_type" in text]


def run_mypy(script):
    """Mypy with the settings and the cache of the package itself."""
    return [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(script)]


def run_pyright(script):
    """Pyright as editors run it, by its fork that comes as a wheel."""
    paths = f'["{ROOT}", "{ROOT / "adapters"}"]'
    settings = script.with_name("pyrightconfig.json")
    settings.write_text(f'{{"typeCheckingMode": "standard", "extraPaths": {paths}}}')
    program = Path(sys.executable).with_name("basedpyright")
    return [program, "--project", settings, "--pythonpath", sys.executable, script]


@pytest.mark.parametrize("command", [run_mypy, run_pyright])
def test_an_editor_finds_a_misspelt_hyperparameter_and_knows_what_comes_back(command, tmp_path):
    script = tmp_path / "editor.py"
    script.write_text(EDITOR)
    here = {"MYPYPATH": f"{ROOT}:{ROOT / 'adapters'}"}
    run = subprocess.run(command(script), cwd=ROOT, capture_output=True, text=True, env=os.environ | here)
    told = re.findall(r"editor\.py:(\d+):[\d:]* (.*)", run.stdout)
    said = {int(line): text for line, text in reversed(told)}  # the first of each line
    wrong = {line: text for line, text in said.items() if "error" in text}
    assert sorted(wrong) == WRONG, run.stdout + run.stderr
    assert all("horizn" in text for text in wrong.values())
    forecast, backtest = (re.findall(r'is "([\w.]+)"', said[line])[0].split(".")[-1] for line in REVEALED)
    assert (forecast, backtest) == ("DataFrame", "Dataset")
