"""What moves the validation error on ETTh1 and ETTh2, and what the test error does then.

    export SAMOVAR_FORECAST_DATA=folder
    python studies/recipe_study.py --seeds 0 1 2 --workers 2 --out studies/results/recipe_study

One hyperparameter at a time is moved away from the defaults of a model, at a look-back of 512 rows. Then, for each
data set, the options of lowest validation error are taken together. The settings of lowest validation error of all are
the choice: in bold in the table. Errors are means over the seeds; those of validation are squared ones, whatever the
loss. Nothing is chosen by a test error: `choose` sees none.

The runs lie in a store of the benchmark: killed, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console

from samovar_forecast.benchmark.plan import FORECASTERS, plan
from samovar_forecast.benchmark.report import markdown_table
from samovar_forecast.benchmark.running import run_all
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.benchmark.store import Store
from samovar_forecast.command_line.benchmark import RunsDisplay

Settings = dict[str, Any]
HORIZON = 96
USUAL = "as it is"
# Hyperparameter: what it is set to, besides its default.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "context_length": (256, 1024),
    "univariate": (True,),  # no channel mixing
    "sharpness_rho": (0.05,),
    "learning_rate": (1e-4, 1e-3),
    "dropout": (0.0, 0.2),
    "loss": ("mse", "huber"),
    "average_weights": (None,),
}


def one_at_a_time(model: str, choices: Sequence[str]) -> dict[str, Settings]:
    """The defaults, and what differs from them in one hyperparameter that the model has."""
    usual = FORECASTERS[model]()
    single = {
        f"{name}={value}": {name: value}
        for name in choices
        for value in OPTIONS[name]
        if hasattr(usual, name) and getattr(usual, name) != value
    }
    return {USUAL: {}} | single


def choose(validation: Mapping[str, float], settings: Mapping[str, Settings]) -> Settings:
    """For each hyperparameter the option of lowest validation error, where that is below that of the default."""
    chosen: Settings = {}
    lowest = dict.fromkeys((name for changed in settings.values() for name in changed), validation[USUAL])
    for label, changed in settings.items():
        for name, value in changed.items():
            if validation[label] < lowest[name]:
                lowest[name], chosen[name] = validation[label], value
    return chosen


class Study:
    """The runs of one model, on one data set after the other, with all seeds."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.store = arguments, Store(arguments.out)

    def runs(self, data: str, settings: Settings) -> list[Run]:
        others = dict(settings)
        context_length = others.pop("context_length", self.arguments.context_length)
        if self.arguments.max_epochs is not None:
            others["max_epochs"] = self.arguments.max_epochs
        return plan([self.arguments.model], [data], [HORIZON], self.arguments.seeds, context_length=context_length,
                    settings=others, device=self.arguments.device, label="study")  # fmt: skip

    def train(self, wanted: Sequence[tuple[str, Settings]]) -> None:
        """Do what is not in the store yet."""
        runs = [run for data, settings in wanted for run in self.runs(data, settings)]
        with RunsDisplay(Console(), runs, self.store):
            failed = run_all(runs, self.store, self.arguments.workers)
        if failed:
            raise SystemExit(f"{len(failed)} runs failed; their errors are in {self.store.runs}")

    def errors(self, data: str, settings: Settings, name: str) -> list[float]:
        """An error of each seed, by its name in the records."""
        records = [self.store.record(run) for run in self.runs(data, settings)]
        return [record[name] for record in records if record is not None]


def report(study: Study, data: str, settings: Mapping[str, Settings], final: str) -> str:
    usual = {name: fmean(study.errors(data, {}, name)) for name in ("validation_mse", "mse")}
    rows = []
    for label, changed in sorted(
        settings.items(), key=lambda item: fmean(study.errors(data, item[1], "validation_mse"))
    ):
        row = [f"**{label}**" if label == final else label]
        for name in ("validation_mse", "mse"):
            errors = study.errors(data, changed, name)
            spread = f" ± {stdev(errors):.4f}" if len(errors) > 1 else ""
            row += [f"{fmean(errors):.4f}{spread}", f"{100 * (fmean(errors) / usual[name] - 1):+.1f} %"]
        rows.append([*row, f"{fmean(study.errors(data, changed, 'training_seconds')):,.0f}"])
    columns = ["settings", "validation MSE", "change", "test MSE", "change", "seconds of training"]
    return f"### {data}-{HORIZON}, {study.arguments.model}\n\n{markdown_table(columns, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SAMoVAR", choices=list(FORECASTERS))
    parser.add_argument("--datasets", nargs="+", default=["ETTh1", "ETTh2"])
    parser.add_argument("--choices", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--context-length", type=int, default=512)
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "recipe_study")
    study = Study(parser.parse_args())
    single = one_at_a_time(study.arguments.model, study.arguments.choices)
    study.train([(data, changed) for data in study.arguments.datasets for changed in single.values()])

    pages = []
    for data in study.arguments.datasets:
        settings = dict(single)
        validation = {label: fmean(study.errors(data, changed, "validation_mse")) for label, changed in single.items()}
        together = choose(validation, single)
        if len(together) > 1:
            label = ", ".join(f"{name}={value}" for name, value in together.items())
            settings[label] = together
            study.train([(data, together)])
            validation[label] = fmean(study.errors(data, together, "validation_mse"))
        pages.append(report(study, data, settings, final=min(validation, key=validation.__getitem__)))
    text = "\n".join(pages)
    (study.store.folder / "study.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
