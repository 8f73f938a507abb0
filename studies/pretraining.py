"""M4 Hourly: trained on ten series and then used on an eleventh with 200 rows, against the eleventh alone.

The series are drawn at random several times. The scaled error (MASE, season 24) of 48 steps after the training rows
is averaged over the draws: trained on the 200 rows alone; on the ten series and used as it is; and fine-tuned on the
200 rows. Results go to studies/results/pretraining.json.

    python studies/pretraining.py folder/with/Hourly-train.csv
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from m4_hourly import HORIZON, SEASON, read, scaled_error

from samovar_forecast.forecasters import ALL_FORECASTERS

ROWS, N_SERIES = 200, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="SAMoVAR")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--context-length", type=int, default=96)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--fine-tuning-steps", type=int, default=50)
    parser.add_argument("--settings", type=json.loads, default={}, help="other hyperparameters, as JSON")
    chosen = parser.parse_args()
    train, test = read(chosen.folder, "train"), read(chosen.folder, "test")
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{chosen.model}Forecaster"]
    draw = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(chosen.draws):
        *ten, eleventh = draw.choice(list(train), N_SERIES + 1, replace=False)
        newest = pd.Series(train[eleventh][-ROWS:])
        settings: dict[str, Any] = {
            "horizon": HORIZON,
            "context_length": chosen.context_length,
            "validation_fraction": 0.0,
            "random_state": number,
            **chosen.settings,
        }
        alone = forecaster_class(**settings, max_steps=chosen.steps).fit(newest)
        pretrained = forecaster_class(**settings, max_steps=chosen.steps).fit(
            {name: pd.Series(train[name]) for name in ten}
        )
        tuned = forecaster_class(**settings, max_steps=chosen.fine_tuning_steps).fit(newest, init_from=pretrained)
        forecasts = {
            "alone": alone.predict(),
            "pretrained": pretrained.predict(newest),
            "fine-tuned": tuned.predict(),
            "naive": np.tile(train[eleventh][-SEASON:], HORIZON // SEASON),
        }
        rows.append(
            {name: scaled_error(train[eleventh], test[eleventh], np.asarray(one)) for name, one in forecasts.items()}
        )
        print(eleventh, {name: round(error, 3) for name, error in rows[-1].items()}, flush=True)
    table = pd.DataFrame(rows)
    result = {
        "settings": vars(chosen) | {"folder": ""},
        "mean": table.mean().round(4).to_dict(),
        "median": table.median().round(4).to_dict(),
        "pretrained better than alone": int((table["pretrained"] < table["alone"]).sum()),
        "fine-tuned better than alone": int((table["fine-tuned"] < table["alone"]).sum()),
        "draws": len(table),
    }
    print(json.dumps(result, indent=1))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "pretraining.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
