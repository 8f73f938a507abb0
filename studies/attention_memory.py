"""Memory and time of linear attention at the largest published data set: 8 windows of 862 series, width 928, 8 heads.

Each form runs in a process of its own; memory is the growth of the peak beyond inputs and output. The published form,
one state per token, would need (6896, 22, 8, 116, 116) floats. Writes studies/results/attention_memory.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from samovar_forecast.layers.linear_attention import Form, linear_attention

RESULTS = Path(__file__).parent / "results"
N_SEQUENCES, N_HEADS, N_TOKENS, D_HEAD = 6896, 8, 22, 116


def measure(form: Form) -> dict[str, float]:
    """Peak memory beside inputs and output in GB, and seconds of the second call."""
    torch.set_num_threads(1)
    shape = (N_SEQUENCES, N_HEADS, N_TOKENS, D_HEAD)
    linear_attention(*(torch.ones(1, *shape[1:], requires_grad=True) for _ in range(3)), form=form)
    inputs = [torch.ones(shape, requires_grad=True) for _ in range(3)]  # gradients: what backward needs is kept
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    output = linear_attention(*inputs, form=form)
    beside = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - output.nbytes
    began = time.perf_counter()
    linear_attention(*inputs, form=form)
    return {"gigabytes_beside": round(beside / 1e9, 3), "seconds": round(time.perf_counter() - began, 2)}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))  # type: ignore[arg-type]
        return
    rows: dict[str, object] = {
        "published form (computed)": {"gigabytes_beside": 4 * N_SEQUENCES * N_TOKENS * N_HEADS * D_HEAD**2 / 1e9}
    }
    for form in ("auto", "masked", "naive"):  # chunks of 116 tokens are no form for 22
        run = subprocess.run([sys.executable, __file__, form], capture_output=True, text=True, check=True)
        rows[form] = json.loads(run.stdout)
        print(form, rows[form], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "attention_memory.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
