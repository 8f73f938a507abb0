"""ETTh1, horizon 96, by the long-horizon protocol: one row of results per model and seed.

Everything but the context length, the seed and the split of the protocol is the package's default. Results are
appended to benchmarks/results/etth1.jsonl as runs end; runs that are there already are not repeated.

    SAMOVAR_FORECAST_DATA=folder python benchmarks/etth1.py --models SAMoVAR --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path

import pandas as pd
import torch

from samovar_forecast.datasets import split
from samovar_forecast.forecasters import ALL_FORECASTERS

RESULTS = Path(__file__).parent / "results" / "etth1.jsonl"
HORIZON = 96


def run(name: str, context_length: int, seed: int) -> dict[str, object]:
    """Fit on training and validation rows, test on every window; errors in training standard deviations."""
    train, validation, test = split("ETTh1", context_length)
    y = pd.concat([train, validation.iloc[context_length:]])
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{name}Forecaster"]
    forecaster = forecaster_class(
        horizon=HORIZON,
        context_length=context_length,
        validation_fraction=1 - len(train) / len(y),
        random_state=seed,
    ).fit(y)
    result = forecaster.backtest(test)
    errors = (result.forecast - result.actual) / forecaster.scaler_.scale
    summary = forecaster.training_summary_
    return {
        "model": name,
        "seed": seed,
        "context_length": context_length,
        "windows": result.sizes["cutoff"],
        "mse": round(float((errors**2).mean()), 4),
        "mae": round(float(abs(errors).mean()), 4),
        "validation_loss": round(summary.validation_loss or float("nan"), 4),
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
        "seconds": round(summary.seconds),
        "seconds_per_epoch": round(summary.seconds / summary.epochs, 1),
        "parameters": summary.n_parameters,
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "threads": torch.get_num_threads(),
        "device": str(next(forecaster.network_.parameters()).device),
        "hyperparameters": {key: value for key, value in forecaster.get_params().items() if value is not None},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["SAMoVAR"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--context-length", type=int, default=1024)
    chosen = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    stored = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    done = {(row["model"], row["seed"], row["context_length"]) for row in stored}
    for name in chosen.models:
        for seed in chosen.seeds:
            if (name, seed, chosen.context_length) in done:
                continue
            row = run(name, chosen.context_length, seed)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({key: value for key, value in row.items() if key != "hyperparameters"}, flush=True)


if __name__ == "__main__":
    main()
