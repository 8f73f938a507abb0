"""Time per cutoff of sktime's `update_predict`, without training, from 50 to 1,000 cutoffs.

A forecaster of 7 series, 96 -> 24, trained for two steps, updates and forecasts step by step over new rows that follow
its own. The network is small, so that what lies around it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from candidates import quiet
from measuring import Case, milliseconds, ratio, rounded, run_part, take_turns
from steps import synthetic_series

N_TRAINING, COUNTS = 500, (50, 200, 1_000)
CASES: list[Case] = [{"window": "sliding"}, {"window": "expanding"}]


def measure(window: str) -> dict[str, Any]:
    from sktime.split import ExpandingWindowSplitter, SlidingWindowSplitter

    from samovar_sktime import SAMoVARForecaster

    quiet()
    y = synthetic_series(N_TRAINING + max(COUNTS) + 24, n_series=7)
    steps = list(range(1, 25))
    forecaster = SAMoVARForecaster(
        horizon=24, context_length=96, d_model=16, n_layers=1, max_steps=2, quantiles=(0.5,), device="cpu"
    )
    forecaster.fit(y[:N_TRAINING], fh=steps)

    def over(n_cutoffs: int) -> Callable[[], None]:
        rows = y[N_TRAINING : N_TRAINING + n_cutoffs + len(steps)]
        if window == "sliding":
            cv: Any = SlidingWindowSplitter(fh=steps, window_length=1, step_length=1)
        else:
            cv = ExpandingWindowSplitter(fh=steps, initial_window=1, step_length=1)

        def run() -> None:
            forecasts = forecaster.update_predict(rows, cv, update_params=False)
            # One column for each cutoff and series: windows overlap.
            assert forecasts.shape[1] == 7 * n_cutoffs, forecasts.shape

        return run

    times = take_turns({str(count): over(count) for count in COUNTS}, seconds=20, most=15)
    per_cutoff = {count: [seconds / count for seconds in times[str(count)]] for count in COUNTS}
    return {
        "milliseconds per cutoff": {str(count): milliseconds(found) for count, found in per_cutoff.items()},
        "1000 cutoffs / 50 cutoffs": rounded(ratio(per_cutoff[1_000], per_cutoff[50])),
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
