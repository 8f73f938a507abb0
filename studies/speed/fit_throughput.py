"""Windows per second of whole fits and of their data paths, beside darts, neuralforecast and sktime.

Each model in a process of its own: whole fits of the same number of steps, the data path of those steps, and fits that
wait after every step for a bare one (network, loss and optimizer on a prepared batch). What a step of such a fit takes
beyond the bare step before it is the engine's; both are measured in time of the processor, which other work on the
machine disturbs least, and one after the other, because its speed changes within seconds. Steps of fits are counted by
a hook that torch calls after every optimizer step, for all libraries.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from candidates import BATCH_SIZE, CONTEXT_LENGTH, HORIZON, LIBRARIES, N_SERIES, installed, quiet
from measuring import Case, Times, milliseconds, ratio, rounded, run_part, seconds_of
from optimizer_steps import optimizer_steps
from steps import synthetic_series

N_STEPS, TURNS = 25, 5
FEW_STEPS, FEW_TURNS = 3, 2  # of models that take seconds for a step
SLOW = ("AutoformerForecaster", "LTSFTransformerForecaster")
CASES: list[Case] = [
    {"library": library, "model": name} for library, kind in LIBRARIES.items() for name in kind.settings
]


def measure(library: str, model: str) -> dict[str, Any]:
    if not installed(library):
        return {"left out": f"{library} is not installed"}
    quiet()
    n_steps, turns = (FEW_STEPS, FEW_TURNS) if model in SLOW else (N_STEPS, TURNS)
    frame = synthetic_series(CONTEXT_LENGTH + HORIZON - 1 + n_steps * BATCH_SIZE, N_SERIES)
    candidate = LIBRARIES[library](model, frame, n_steps)
    with optimizer_steps() as first:
        candidate.fit()
    assert first.optimizer is not None
    assert len(first.ends) == n_steps, f"{len(first.ends)} steps"
    bare = candidate.bare_step(first.optimizer)
    n_parameters = sum(parameter.numel() for parameter in candidate.network.parameters())
    bare()
    candidate.gather()
    times: Times = {"fit": [], "interval": [], "data path": [], "bare": [], "step": []}
    for _ in range(turns):
        with optimizer_steps() as steps:
            times["fit"].append(seconds_of(candidate.fit))
        times["interval"] += steps.of_fit
        times["data path"].append(seconds_of(candidate.gather))
        with optimizer_steps(time.process_time, between=bare) as steps:
            candidate.fit()
        times["step"] += steps.of_fit
        times["bare"] += steps.pauses
    n_windows = n_steps * BATCH_SIZE
    step = statistics.median(times["interval"])
    return {
        "n_parameters": n_parameters,
        "n_steps": n_steps,
        "settings": LIBRARIES[library].settings[model],
        "milliseconds of a step": milliseconds(times["step"]),
        "milliseconds of a bare step": milliseconds(times["bare"]),
        "share of the engine": rounded(1 - ratio(times["bare"], times["step"]), 3),
        "seconds of a fit": rounded(statistics.median(times["fit"])),
        "seconds of a fit beside its steps": rounded(
            statistics.median(fit - n_steps * step for fit in times["fit"]), 3
        ),
        "windows per second of a fit": rounded(statistics.median(n_windows / fit for fit in times["fit"])),
        "windows per second of the data path": rounded(statistics.median(n_windows / t for t in times["data path"])),
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
