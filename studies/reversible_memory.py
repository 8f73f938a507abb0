"""Memory and time of deep Linear Attention blocks in training: plain, with `torch.utils.checkpoint`, and reversible.

    OMP_NUM_THREADS=1 python studies/reversible_memory.py [--layers 2 8 32] [--turns 3]

A batch of 32 windows of 7 series (width and heads of the defaults), 43 tokens each; forward and backward. Each case
runs in a process of its own: memory is the growth of its peak beyond what a pass through one block has needed, seconds
are the processor's, the fastest of the turns. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from samovar_forecast.benchmark.report import markdown_table
from samovar_forecast.layers.reversible import ResidualSequence
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, attention_blocks

WINDOWS, SERIES, TOKENS = 32, 7, 43
FORMS = ("plain", "checkpoint", "reversible")


class Checkpointed(ResidualSequence):
    """The plain blocks, of which only the inputs are kept."""

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        for f, g in self.functions():
            x = x + checkpoint(f, x, *context, use_reentrant=False)
            x = x + checkpoint(g, x, use_reentrant=False)
        return x


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(form: str, n_layers: int, turns: int) -> dict[str, Any]:
    """Megabytes beyond those of a pass through one block, and seconds of a step."""
    torch.set_num_threads(1)
    config = LinearAttentionConfig(n_layers=n_layers, reversible=form == "reversible")
    blocks = attention_blocks(config, TOKENS)
    if form == "checkpoint":
        blocks.__class__ = Checkpointed
    tokens = torch.randn(WINDOWS, SERIES, TOKENS, config.d_model)
    attention_blocks(LinearAttentionConfig(n_layers=1), TOKENS)(tokens).sum().backward()
    for parameter in blocks.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before, seconds = peak(), []
    for _ in range(turns):
        began = time.process_time()
        blocks(tokens.requires_grad_()).square().mean().backward()
        seconds.append(time.process_time() - began)
    return {"megabytes": peak() - before, "seconds": min(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs=2, metavar=("FORM", "LAYERS"), help="one case in this process, as JSON")
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(options.only[0], int(options.only[1]), options.turns)))
        return
    rows = []
    for n_layers in options.layers:
        for form in FORMS:
            command = [sys.executable, __file__, "--only", form, str(n_layers), "--turns", str(options.turns)]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            rows.append([str(n_layers), form, f"{found['megabytes']:.0f}", f"{1e3 * found['seconds']:.0f}"])
    print(markdown_table(["layers", "form", "memory, MB", "step, ms of the processor"], rows))


if __name__ == "__main__":
    main()
