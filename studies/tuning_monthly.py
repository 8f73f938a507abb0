"""What `tune` earns on a small monthly series, beside the defaults and the automatic models of statsforecast.

    OMP_NUM_THREADS=1 python studies/tuning_monthly.py --models SAMoVAR SAMformer --trials 20 --seeds 0 1 2

The airline passengers of Box and Jenkins: 144 months, horizon 12. The newest 48 months are the test rows, forecast from
each of their 37 cutoffs; searches see the 96 months before them and are judged on folds of those. The tuned model and
the defaults are then trained on all 96 months, and everything meets on the same cutoffs in `compare`. Prints a Markdown
table: the MASE of the test rows, by seed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import fmean
from typing import Any

import optuna
from sktime.datasets import load_airline

from samovar_forecast.benchmark.plan import FORECASTERS
from samovar_forecast.benchmark.report import markdown_table
from samovar_forecast.evaluation import compare, tune

HORIZON, TEST_ROWS = 12, 48
BASELINES = ("seasonal naive", "AutoETS", "AutoARIMA", "AutoTheta")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(FORECASTERS), default=["SAMoVAR"])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    y = load_airline()
    given = y.iloc[:-TEST_ROWS]
    errors: dict[str, list[float]] = {}
    minutes: dict[str, list[float]] = {}
    for seed in options.seeds:
        models: dict[str, Any] = {}
        for name in options.models:
            # Passengers grow by a factor: errors are relative, as a logarithm makes them.
            forecaster = FORECASTERS[name](horizon=HORIZON, log1p=True, device="cpu", random_state=seed)
            began = time.process_time()
            found = tune(
                forecaster, given, n_trials=options.trials, n_folds=options.folds, validation_fraction=0.25,
                random_state=seed,
            )  # fmt: skip
            minutes.setdefault(f"{name}, tuned", []).append((time.process_time() - began) / 60)
            print(f"seed {seed}, {name}: {found.best_parameters}, {found.best_error:.3f} of {found.default_error:.3f}")
            models |= {name: forecaster, f"{name}, tuned": found.best}
        # Nothing of the baselines is drawn at random.
        baselines = BASELINES if seed == options.seeds[0] else BASELINES[:1]
        table = compare(models, y, test_fraction=TEST_ROWS / len(y), baselines=baselines).table
        for name, error in table["MASE"].items():
            errors.setdefault(str(name), []).append(float(error))
    rows = []
    for name, of in sorted(errors.items(), key=lambda one: fmean(one[1])):
        search = f"{fmean(minutes[name]):.1f}" if name in minutes else None
        rows.append([name, f"{fmean(of):.3f}", " ".join(f"{one:.3f}" for one in of), search])
    print(markdown_table(["model", "MASE", "by seed", "minutes of the search"], rows))


if __name__ == "__main__":
    main()
