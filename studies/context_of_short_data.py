"""How long a context should be where there are few rows: ``python studies/context_of_short_data.py``.

Small data that come with statsmodels. The newest fifth of each set is left out; of the rest the newest fifth is
forecast from every cutoff by a model that was trained, with its own validation rows, on what lies before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import statsmodels.api as sm

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.files.datasets import load_demo

Data = tuple[str, pd.DataFrame, int]  # name, rows, horizon


def data_sets() -> Iterator[Data]:
    """Quarterly, monthly and yearly series of a hundred to seven hundred rows."""
    macro = sm.datasets.macrodata.load_pandas().data
    quarters = pd.period_range("1959Q1", periods=len(macro), freq="Q").to_timestamp()
    growth = 100 * np.log(macro[["realgdp", "realcons", "realinv", "cpi"]]).diff()
    yield "macro, quarterly", growth.join(macro[["unemp", "tbilrate"]]).set_index(quarters).iloc[1:], 4
    yield "demo, monthly", load_demo(), 12
    yield "demo, its last 15 years", load_demo().iloc[-180:], 12
    spots = sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_frame()
    yield "sunspots, yearly", spots.set_index(pd.period_range("1700", periods=len(spots), freq="Y").to_timestamp()), 8
    nile = sm.datasets.nile.load_pandas().data["volume"].to_frame()
    yield "Nile, yearly", nile.set_index(pd.period_range("1871", periods=len(nile), freq="Y").to_timestamp()), 4
    inflation = sm.datasets.interest_inflation.load_pandas().data[["Dp", "R"]]
    quarters = pd.period_range("1972Q2", periods=len(inflation), freq="Q").to_timestamp()
    yield "German interest, quarterly", inflation.set_index(quarters), 4


def error(rows: pd.DataFrame, horizon: int, context: int | None, seed: int) -> tuple[float, int]:
    """The squared error in training deviations over every cutoff of the newest fifth, and the context taken."""
    first = round(0.8 * len(rows))
    forecaster = SAMoVARForecaster(
        horizon=horizon, context_length=context, random_state=seed, device="cpu", verbose=0
    ).fit(rows.iloc[:first])
    history = rows.iloc[first - forecaster.context_length_ :]
    backtest = forecaster.backtest(history)
    deviation = rows.iloc[:first].std().to_numpy()
    errors = ((backtest["forecast"] - backtest["actual"]) / deviation) ** 2
    return float(errors.mean()), forecaster.context_length_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--outputs", type=float, nargs="+", default=[2, 3, 4, 6])
    arguments = parser.parse_args()
    print("| data | rows | default | " + " | ".join(f"{outputs:g} outputs" for outputs in arguments.outputs) + " |")
    print("|---|---|---" + "|---" * len(arguments.outputs) + "|")
    for name, rows, horizon in data_sets():
        rows = rows.iloc[: round(0.8 * len(rows))]
        cells = []
        for context in (None, *(round(outputs * horizon) for outputs in arguments.outputs)):
            found = [error(rows, horizon, context, seed) for seed in arguments.seeds]
            cells.append(f"{np.mean([one for one, _ in found]):.3f} ({found[0][1]})")
        print(f"| {name} | {round(0.8 * len(rows))} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
