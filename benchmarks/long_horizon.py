"""The long-horizon protocol: one row of results per model and seed.

Everything but the context length, the seed, the split of the protocol and the settings given is the package's
default. Results are appended to benchmarks/results/long_horizon.jsonl as runs end; runs that are there already are
not repeated.

    export SAMOVAR_FORECAST_DATA=folder
    python benchmarks/long_horizon.py --models SAMoVAR --seeds 0 1 2
    python benchmarks/long_horizon.py --models Autoformer --data Exchange --context-length 96
    python benchmarks/long_horizon.py --models SAMoVAR --settings '{"sharpness_rho": 0.05}'
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from samovar_forecast.datasets import split
from samovar_forecast.forecasters import ALL_FORECASTERS

RESULTS = Path(__file__).parent / "results" / "long_horizon.jsonl"


def run(
    data: str, name: str, context_length: int, horizon: int, seed: int, settings: dict[str, Any]
) -> dict[str, object]:
    """Fit on training and validation rows, test on every window; errors in training standard deviations."""
    train, validation, test = split(data, context_length)
    y = pd.concat([train, validation.iloc[context_length:]])
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{name}Forecaster"]
    forecaster = forecaster_class(
        horizon=horizon,
        context_length=context_length,
        validation_fraction=1 - len(train) / len(y),
        random_state=seed,
        **settings,
    ).fit(y)
    result = forecaster.backtest(test)
    errors = (result.forecast - result.actual) / forecaster.scaler_.scale
    summary = forecaster.training_summary_
    return {
        "data": data,
        "model": name,
        "seed": seed,
        "context_length": context_length,
        "horizon": horizon,
        "settings": settings,
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
    parser.add_argument("--data", default="ETTh1")
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--settings", type=json.loads, default={}, help="other hyperparameters, as JSON")
    chosen = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    stored = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for name in chosen.models:
        for seed in chosen.seeds:
            case = {
                "data": chosen.data, "model": name, "seed": seed, "context_length": chosen.context_length,
                "horizon": chosen.horizon, "settings": chosen.settings,
            }  # fmt: skip
            if any(case == {key: row[key] for key in case} for row in stored):
                continue
            row = run(chosen.data, name, chosen.context_length, chosen.horizon, seed, chosen.settings)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({key: value for key, value in row.items() if key != "hyperparameters"}, flush=True)


if __name__ == "__main__":
    main()
