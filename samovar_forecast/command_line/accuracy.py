"""Rows to test on, and accuracy as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from samovar_forecast.command_line.telling import tell

if TYPE_CHECKING:
    import pandas as pd

    from samovar_forecast.estimator import Forecaster
    from samovar_forecast.evaluation.accuracy import Evaluation

Evaluations = Mapping[Hashable, "Evaluation"]  # by series; a single one has the name None


def first_test_row(n_rows: int, fraction: float, horizon: int = 1, name: str = "y") -> int:
    """The number of the first test row, where the newest rows are the test rows: a horizon at least."""
    if not 0 < fraction < 1:
        raise ValueError(f"--test-fraction must be between 0 and 1, got {fraction}")
    n_test = int(fraction * n_rows)
    if n_test < horizon:
        raise ValueError(
            f"{name} is too short: the newest {fraction:g} of its {n_rows} rows is {n_test}, less than the horizon of "
            f"{horizon} to test on; give more rows, or a larger --test-fraction"
        )
    return n_rows - n_test


def first_unseen_row(
    forecaster: Forecaster, frame: pd.DataFrame, fraction: float | None, key: Hashable = None, name: str = ""
) -> int:
    """The first row to test a trained forecaster on: after its training data and after one full context."""
    from samovar_forecast.data.lengths import season_length

    if key is not None and not forecaster.is_panel_:
        raise ValueError("the model was trained on a single series; leave --series out")
    if key not in forecaster.series_:
        raise ValueError(f"{name} is no series that the model was trained on; those are {list(forecaster.series_)[:9]}")
    newest = forecaster.series_[key].history.index[-1]
    if type(newest) is not type(frame.index[0]):
        raise ValueError(f"the model was trained up to {newest}, but the rows have labels such as {frame.index[0]}")
    unseen = int(frame.index.searchsorted(newest, side="right"))
    first = max(unseen, forecaster.context_length_, season_length(forecaster.frequency_) + 1)
    if first >= len(frame):
        raise ValueError(
            f"there is nothing to test on: the model was trained up to {newest}, which leaves {len(frame) - unseen} "
            f"new rows of {name}; give newer rows, or leave --model-file out to train on the first part"
        )
    if fraction is None:
        return first
    start = first_test_row(len(frame), fraction, forecaster.horizon, name)
    if start < first:
        raise ValueError(
            f"--test-fraction {fraction} reaches rows that the model was trained on or needs as context; "
            f"at most {(len(frame) - first) / len(frame):.2g} is possible, the rows from {frame.index[first]} on"
        )
    return start


def check_reports() -> None:
    """Refuse a report before any work is done where the package that draws it is missing."""
    if find_spec("plotly") is None:
        raise ImportError("--report needs plotly: pip install 'samovar-forecast[report]'")


def print_json(evaluations: Evaluations) -> None:
    """Print the errors as JSON, those of many series by their name and column."""
    written = [evaluation.to_dict() for evaluation in evaluations.values()]
    result = written[0]
    errors = joint_table(evaluations)
    if None not in evaluations:
        by_name = dict(zip(map(label_of, evaluations), written, strict=True))
        result |= {
            "cutoffs": sum(one["cutoffs"] for one in written),
            "series": {name: one["series"] for name, one in by_name.items()},
        }
        if "intervals" in result:
            result["intervals"] = {name: one["intervals"] for name, one in by_name.items()}
    mean = errors.iloc[-1]
    result["mean"] = {
        name: {
            measure: None if value != value else float(value)
            for measure, value in mean[name].items()
            if measure == "MASE" or len(errors) == 2  # of several series, only the errors without units have a mean
        }
        for name in mean.index.unique(0)
    }
    typer.echo(json.dumps(result, indent=2))


def joint_table(evaluations: Evaluations) -> pd.DataFrame:
    """The errors of all series and columns, and their mean."""
    import pandas as pd

    if None in evaluations:
        return evaluations[None].table
    tables = []
    for key, evaluation in evaluations.items():
        table = evaluation.table.iloc[:-1]
        names = [label_of(key)] if len(table) == 1 else [f"{label_of(key)} {column}" for column in table.index]
        tables.append(table.set_axis(names, axis=0))
    table = pd.concat(tables)
    return pd.concat([table, table.mean(skipna=False).to_frame("mean").T])


def print_table(evaluations: Evaluations) -> None:
    """Print the errors as a table."""
    from rich.table import Table

    one, errors = next(iter(evaluations.values())), joint_table(evaluations)
    n_forecasts = sum(evaluation.backtest.sizes["cutoff"] for evaluation in evaluations.values())
    table = Table(
        title=f"{n_forecasts:,} forecasts of {one.backtest.sizes['step']} steps; "
        f"seasonal naive repeats {one.season} rows",
        title_justify="left",
    )
    table.add_column("series")
    columns = errors.columns
    for forecast, measure in zip(columns.get_level_values(0), columns.get_level_values(1), strict=True):
        group = forecast.removesuffix("Forecaster") if measure == "MSE" else ""
        table.add_column(f"{group}\n{measure}", justify="right")
    measures, several = columns.get_level_values(1), len(errors) > 2
    for number, (series, row) in enumerate(errors.iterrows()):
        is_mean = number == len(errors) - 1
        # A mean over series says something only without their units.
        cells = [
            "" if is_mean and several and measure != "MASE" else f"{value:.4g}"
            for measure, value in zip(measures, row, strict=True)
        ]
        table.add_row(str(series), *cells, end_section=number == len(errors) - 2)
    Console().print(table)
    _print_intervals(evaluations)


def _print_intervals(evaluations: Evaluations) -> None:
    """Print coverage, width and pinball loss of the quantiles, where there are any."""
    from rich.table import Table

    found = {key: evaluation.intervals() for key, evaluation in evaluations.items()}
    first = next(iter(found.values()))
    if first is None:
        return
    nominal = f"{first['nominal'].iloc[0]:.0%} interval" if "nominal" in first else "quantiles"
    names = [name for name in first.columns if name != "nominal"]
    table = Table(title=f"{nominal}; width and pinball loss in units of the series", title_justify="left")
    table.add_column("series")
    for name in names:
        table.add_column(name, justify="right")
    for key, frame in found.items():
        assert frame is not None
        for column, row in frame.iterrows():
            name = str(column) if key is None else label_of(key) if len(frame) == 1 else f"{label_of(key)} {column}"
            table.add_row(name, *(f"{row[one]:.1%}" if one == "coverage" else f"{row[one]:.4g}" for one in names))
    Console().print(table)


def save_report(forecaster: Forecaster, frame: pd.DataFrame, result: Evaluation, path: Path) -> None:
    """Write the report of a backtest, with a reading of the model where one model made all forecasts."""
    from samovar_forecast.evaluation.report import write_report

    if hasattr(forecaster, "fitted_") and not forecaster.known_:
        forecaster.report(result.backtest, path, y=frame, reference=result.naive)
    else:
        write_report(path, frame, result.backtest, reference=result.naive)
    tell(f"saved {path}")


def label_of(key: Any) -> str:
    """The name of a series, or of several levels, in one line."""
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
