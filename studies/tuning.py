"""What `tune` earns on ETTh1 at 96 steps, beside the defaults and beside a random search of the same budget.

    export SAMOVAR_FORECAST_DATA=folder
    OMP_NUM_THREADS=1 python studies/tuning.py --trials 20 --seeds 0 1 2 --out studies/results/tuning
    OMP_NUM_THREADS=1 python studies/tuning.py --rows 1200 --max-steps 5 --trials 2 --stride 200 --out /tmp/tuning

The searches see the training and validation months of the published split, and are judged on folds of them as `tune`
always is. What they choose, and the defaults, are then trained on all of these rows and tested once, on the months
after them: no test error takes part in a choice. Errors are in deviations of the training months, as published ones
are. Both searches have the defaults as their first trial, the same space and the same number of trials.

Trials and results lie in files of the folder: killed, the same command goes on where it stopped. The second command
above is a trial run of a minute or two, whose errors say nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
import pandas as pd
import xarray as xr

from samovar_forecast import datasets
from samovar_forecast.benchmark.plan import FORECASTERS
from samovar_forecast.benchmark.report import markdown_table
from samovar_forecast.evaluation import tune
from samovar_forecast.files.atomic_files import replaced_file

HORIZON = 96
ARMS = ("defaults", "tune", "random search")


class Study:
    """The three arms with every seed, on one split."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        training, validation, test = datasets.split("ETTh1", 1)
        y = pd.concat([training, validation, test])
        self.y = y[~y.index.duplicated()]  # validation and test begin a row early
        self.first = test.index[1]
        self.deviation = xr.DataArray(training.std(ddof=0).to_numpy(), dims="series", coords={"series": list(training)})
        self.given = self.y[self.y.index < self.first]
        if options.rows is not None:
            self.given = self.given.iloc[-options.rows :]
        options.out.mkdir(parents=True, exist_ok=True)

    def forecaster(self, seed: int) -> Any:
        settings = {"max_epochs": self.options.max_epochs, "max_steps": self.options.max_steps}
        given = {name: value for name, value in settings.items() if value is not None}
        return FORECASTERS[self.options.model](horizon=HORIZON, device="cpu", random_state=seed, **given)

    def result(self, arm: str, seed: int) -> dict[str, Any]:
        """What an arm reaches with one seed, from its file where that is complete."""
        path = self.options.out / f"{self.options.model}-{arm.replace(' ', '-')}-{seed}.json"
        if not path.exists():
            found = self.run(arm, seed, path.with_suffix(".trials"))
            with replaced_file(path) as beside:
                beside.write_text(json.dumps(found, indent=1, default=str))
        return json.loads(path.read_text())

    def run(self, arm: str, seed: int, trials: Path) -> dict[str, Any]:
        began, found = time.perf_counter(), {}
        forecaster = self.forecaster(seed)
        if arm == "defaults":
            forecaster.fit(self.given)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed) if arm == "random search" else None
            left = max(0, self.options.trials - finished(trials))
            tuning = tune(
                forecaster, self.given, n_trials=left, timeout=self.options.timeout, n_folds=self.options.folds,
                sampler=sampler, storage=str(trials), random_state=seed,
            )  # fmt: skip
            forecaster = tuning.best
            states = {name: int(n) for name, n in tuning.trials["state"].value_counts().items()}
            found = {
                "best": tuning.best_parameters, "fold error": tuning.best_error, "of defaults": tuning.default_error,
                "states": states,
            }  # fmt: skip
        result = forecaster.backtest(self.y, start=self.first, stride=self.options.stride)
        errors = (result.forecast - result.actual) / self.deviation
        found["MSE"], found["MAE"] = float((errors**2).mean()), float(abs(errors).mean())
        return found | {"cutoffs": result.sizes["cutoff"], "minutes": (time.perf_counter() - began) / 60}


def finished(trials: Path) -> int:
    """Trials that an earlier call has ended; one that was killed is none."""
    if not trials.exists():
        return 0
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(trials)))
    study = optuna.load_study(study_name="samovar-forecast", storage=storage)
    return sum(trial.state.is_finished() for trial in study.trials)


def spread(values: list[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(FORECASTERS), default="SAMoVAR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--trials", type=int, default=20, help="of each search and seed")
    parser.add_argument("--timeout", type=float, help="seconds after which a search begins no further trial")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--max-epochs", type=int, help="of each training, the last ones too")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--rows", type=int, help="newest rows before the test to train on; default: all")
    parser.add_argument("--stride", type=int, default=1, help="rows between two cutoffs of the test")
    parser.add_argument("--out", type=Path, default=Path("studies/results/tuning"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, rows = Study(options), []
    for arm in options.arms:
        results = []
        for seed in options.seeds:
            results.append(study.result(arm, seed))
            print(f"{arm}, seed {seed}: {results[-1]}", flush=True)
        searched = "best" in results[0]
        rows.append([
            arm,
            spread([one["fold error"] for one in results]) if searched else "",
            spread([one["of defaults"] for one in results]) if searched else "",
            spread([one["MSE"] for one in results]),
            spread([one["MAE"] for one in results]),
            f"{fmean(one['minutes'] for one in results):.1f}",
        ])  # fmt: skip
    columns = ["", "MASE on the folds", "that of the defaults", "test MSE", "test MAE", "minutes"]
    print("\n" + markdown_table(columns, rows))


if __name__ == "__main__":
    main()
