"""Peak memory of a fit and of a backtest as the rows grow tenfold: the data grow, nothing else should.

7 series, 512 -> 96, a network of width 16; each point in a process of its own. Memory is the peak beyond what the
process held before, the libraries loaded and warmed up by a tiny fit. A backtest returns two arrays that grow with the
number of its cutoffs (forecasts and actual values); its peak is given beside those and the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from candidates import quiet
from measuring import Case, held_bytes, peak_bytes, rounded, run_part
from steps import synthetic_series

from samovar_forecast import SAMoVARForecaster

CASES: list[Case] = [
    {"call": "fit", "n_rows": 10_000},
    {"call": "fit", "n_rows": 100_000},
    {"call": "fit", "n_rows": 1_000_000},
    {"call": "backtest", "n_rows": 5_000},
    {"call": "backtest", "n_rows": 50_000},
]


def measure(call: str, n_rows: int) -> dict[str, Any]:
    quiet()
    forecaster = SAMoVARForecaster(
        horizon=96, context_length=512, d_model=16, max_steps=5, validation_fraction=0.01, device="cpu"
    )
    forecaster.fit(synthetic_series(9_600, 7))
    forecaster.backtest(synthetic_series(700, 7))
    frame = repeated(n_rows)
    before = held_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    if call == "fit":
        forecaster.fit(frame)
        returned = 0
    else:
        returned = forecaster.backtest(frame).nbytes
    beyond = peak_bytes() - before
    data = frame.to_numpy().nbytes
    return {
        "megabytes of data": rounded(data / 1e6),
        "megabytes returned": rounded(returned / 1e6),
        "megabytes at the peak": rounded(beyond / 1e6),
        "megabytes beside data and output": rounded((beyond - data - returned) / 1e6),
    }


def repeated(n_rows: int) -> pd.DataFrame:
    """As many rows of noisy seasons; one small block again and again, so that making them leaves no peak."""
    values = np.resize(synthetic_series(1_680, 7).to_numpy(), (n_rows, 7))
    index = pd.date_range("1970-01-01", periods=n_rows, freq="h")
    return pd.DataFrame(values, index=index, columns=[f"s{i}" for i in range(7)])


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
