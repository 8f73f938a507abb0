"""Write docs/evidence/speed.md and its figures from the results that are there."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import data_of, draw_backtests, draw_fits, draw_steps, draw_wide, name_of

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "evidence" / "figures"
Rows = list[dict[str, Any]]


def main() -> None:
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "studies" / "results"
    page = ROOT / "docs" / "evidence" / "speed.md"
    measured = []
    for name, write in SECTIONS.items():
        path = results / f"speed_{name}.json"
        if path.exists():
            runs = json.loads(path.read_text())["runs"].items()
            measured += [
                write(run["rows"], f"{threads} thread{'s' * (threads != '1')}", run["machine"]) for threads, run in runs
            ]
    sections = by_heading(page.read_text() if page.exists() else "")  # what was measured elsewhere before stays
    sections.pop("## Again", None)
    for part in (_INTRODUCTION, *measured, _RERUN):
        sections |= by_heading("\n\n".join(map(wrapped, part.strip().split("\n\n"))))
    page.write_text("\n\n".join(sections.values()) + "\n")


def by_heading(page: str) -> dict[str, str]:
    """The sections of a page by the first line of each."""
    return {part.partition("\n")[0]: part for part in re.split(r"\n+(?=## )", page.strip()) if part}


def table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(written(cell) for cell in line) + " |" for line in lines)


def written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def percent(share: float) -> str:
    return f"{100 * share:.3g} %" if abs(share) >= 0.1 else f"{100 * share:.1f} %"


def not_measured(rows: Rows) -> str:
    """What was left out, as a sentence."""
    names = [f"{row['model']} ({row['left out']})" for row in rows if "left out" in row]
    return f" Left out: {', '.join(names)}." if names else ""


def wrapped(paragraph: str) -> str:
    if paragraph.startswith(("|", "#", "!", "```")):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def on(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']} ({machine['instructions']}), {machine['cores']} cores, {machine['gigabytes']} GB, "
        f"torch {machine['torch']}, samovar-forecast {machine['samovar_forecast']}"
    )


def training_step(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    forms = [name for name in rows[0]["milliseconds"] if name not in ("products alone", "floor")]
    instructions = machine["instructions"]  # what a processor can multiply at once sets the ratios as well
    figure = draw_steps(rows, FIGURES / f"speed_training_step_{instructions.lower()}_{machine['threads']}.png")
    bfloat16 = (
        "*bfloat16* is mixed precision, as the published training has it, against floors in float32."
        if any("bfloat16" in form for form in forms)
        else "There is no bfloat16, which this processor emulates."
    )
    parts = [
        f"## The training step, {instructions}, {threads}",
        "SAMoVAR, batch 32, 1024 -> 96 by segments of 96 where nothing else is said, 3 layers, 8 heads: gather, "
        "forward, loss, backward, clipping, AdamW, averaged "
        "weights. *Running sum* is the published form of attention, one state `k v^T` per token; *plain masked* is "
        "`tril(Q K^T) V` with maps layer by layer; both are written in the benchmark from the formulas and have the "
        f"same weights and the same forecasts. {bfloat16} *Floor* is the time of all matrix products of the step at "
        "the rate of a 2048 x 2048 one; *products alone* runs the very products of the step, small heads and all, with "
        f"nothing between them. {on(machine)}.",
    ]
    steps = []
    for row in rows:
        for form in forms:
            steps.append([data_of(row), form, row["milliseconds"][form],
                          row["times ours"].get(form, 1.0), row["times the products alone"][form],
                          row["times the floor"][form]])  # fmt: skip
        for floor in ("products alone", "floor"):
            steps.append([data_of(row), f"*{floor}*", row["milliseconds"][floor],
                          "", "", ""])  # fmt: skip
    header = ["data", "form", "ms a step", "times ours", "times its products alone", "times the floor"]
    parts += [table(header, steps), f"![Milliseconds of a step]({figure})"]
    rates = ", ".join(
        f"{row['gigaflops']:.3g} GFLOP a step at {row['gigaflops_per_second']:.0f} GFLOP/s ({row['n_series']} series)"
        for row in rows
    )
    groups = list(dict.fromkeys(group for row in rows for group in row["profile"]["groups"]))
    shares = [[group, *(percent(row["profile"]["groups"].get(group, 0.0)) for row in rows)] for group in groups]
    parts += [
        f"The floor: {rates}. Where the processor's time of a step of ours goes, backward passes counted with what "
        "they belong to:",
        table(["operations", *(f"{row['n_series']} series" for row in rows)], shares),
    ]
    return "\n\n".join(parts)


def wide_data(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    figure = draw_wide([row for row in rows if "series_at_once" not in row], FIGURES / "speed_wide_data.png")
    quantities = ["megabytes of data", "gigabytes at the peak", "milliseconds of a step", "windows per second",
                  "series of windows per second"]  # fmt: skip
    return "\n\n".join(
        [
            f"## Wide data, {threads}",
            "SAMoVAR, width 128, 3 layers, 8 heads, 1024 -> 96, batch 8, on synthetic series of 17,544 rows: whole "
            "fits of a few steps. Memory is the peak of the process beyond the libraries. The last column counts the "
            "series of every window. *At once*: `series_at_once`, whose activations are computed again in the backward "
            f"pass. {on(machine)}.",
            table(["series", "at once", *quantities],
                  [[row["n_series"], row.get("series_at_once", "all"), *(row[name] for name in quantities)]
                   for row in rows]),
            f"![Memory and time against the number of series]({figure})",
        ]
    )  # fmt: skip


def fit_throughput(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    left_out, rows = not_measured(rows), [row for row in rows if "left out" not in row]
    figure = draw_fits(rows, FIGURES / "speed_fits.png")
    quantities = ["windows per second of a fit", "windows per second of the data path", "milliseconds of a step",
                  "milliseconds of a bare step", "seconds of a fit beside its steps"]  # fmt: skip
    lines = [
        [name_of(row), row["n_parameters"], *(row[name] for name in quantities),
         percent(row["share of the engine"])]
        for row in rows
    ]  # fmt: skip
    chosen = "; ".join(
        f"{name_of(row, 'of {}')} {', '.join(f'{k}={v}' for k, v in row['settings'].items())}"
        for row in rows
        if row["settings"]
    )
    few = ", ".join(
        f"{row['n_steps']} of {name_of(row, 'of {}')}" for row in rows if row["n_steps"] != rows[0]["n_steps"]
    )
    header = ["model", "parameters", "windows/s, fit", "windows/s, data path", "ms a step", "ms a bare step",
              "s beside the steps", "engine's share of a step"]  # fmt: skip
    return "\n\n".join(
        [
            f"## Fits beside other libraries, {threads}",
            "512 -> 96 on 7 series, batch 32, float32, no validation; whole fits "
            f"of {rows[0]['n_steps']} steps{f' ({few})' if few else ''}, "
            "from a DataFrame to a fitted model. A *bare step* is the same network, loss and optimizer on a prepared "
            "batch; the engine's share is what a step of the fit takes beyond the bare step before it, by the "
            "median of all pairs, in time of the processor. *Data path*: the batches of a fit gathered "
            "without training on them. A batch of neuralforecast's univariate PatchTST has 224 windows of one series. "
            f"Ours fit without intervals here (`quantiles=(0.5,)`), which no peer has. {on(machine)}.",
            table(header, lines),
            f"![Windows per second of a fit]({figure})",
            f"Settings beside the defaults: {chosen}. All others at their defaults.{left_out}",
        ]
    )


def backtest(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    measured = [row for row in rows if "left out" not in row]
    ours = measured[0]
    figure = draw_backtests(measured, FIGURES / "speed_backtests.png")
    lines = [
        [name_of(row), row["seconds"], row["seconds of bare forward passes"],
         percent(row["share of the network"]), row["seconds beside the network"],
         row["seconds beside the network"] / ours["seconds beside the network"]]
        for row in measured
    ]  # fmt: skip
    header = ["model", "s", "s of bare forward passes", "share of the network", "s beside the network", "times ours"]
    return "\n\n".join(
        [
            f"## Backtests, {threads}",
            "All 2,785 test windows of ETTh1, 512 -> 96, 7 series, in batches of 64: `backtest` here, darts' optimised "
            "`historical_forecasts(retrain=False, last_points_only=False)` and neuralforecast's "
            "`cross_validation(use_fitted=True, refit=False)`. Time inside the network is taken by hooks on its "
            "forward pass; the last columns are what is left when it is taken out, and how many times that of the "
            f"first row it is. {on(machine)}.{not_measured(rows)}",
            table(header, lines),
            f"![Seconds inside and beside the network]({figure})",
        ]
    )


def update_predict(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    counts = list(rows[0]["milliseconds per cutoff"])
    lines = [
        [row["window"], *(row["milliseconds per cutoff"][count] for count in counts), row["1000 cutoffs / 50 cutoffs"]]
        for row in rows
    ]
    return "\n\n".join(
        [
            f"## sktime's `update_predict`, {threads}",
            f"Milliseconds per cutoff with `update_params=False`: 96 -> 24, 7 series, a small network. {on(machine)}.",
            table(["splitter", *(f"{count} cutoffs" for count in counts), "1,000 / 50"], lines),
        ]
    )


def memory(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    quantities = [
        "megabytes of data",
        "megabytes returned",
        "megabytes at the peak",
        "megabytes beside data and output",
    ]
    return "\n\n".join(
        [
            "## Memory",
            "Peak of the process beyond what it held before the call, as the rows grow tenfold: 7 series, 512 -> 96, "
            "width 16. Windows are gathered from the rows and never stored; a backtest returns forecasts and actual "
            f"values of every cutoff. {on(machine)}.",
            table(["call", "rows", *quantities],
                  [[row["call"], row["n_rows"], *(row[name] for name in quantities)] for row in rows]),
        ]
    )  # fmt: skip


def short_fits(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    quantities = ["milliseconds of a fit", "milliseconds of its steps", "windows forecast",
                  "milliseconds of its forecasts", "milliseconds beside both"]  # fmt: skip
    stages = list(dict.fromkeys(stage for row in rows for stage in row["profile"]))
    return "\n\n".join(
        [
            f"## Short fits, {threads}",
            "One `fit` of ten steps on 1,000 rows of 7 series, 96 -> 24, beside ten bare steps of its network and bare "
            "forward passes over the windows that it forecasts for validation and intervals; medians of "
            f"{min(row['fits'] for row in rows)} fits or more. {on(machine)}.",
            table(["fit", *quantities], [[row["name"], *(row[name] for name in quantities)] for row in rows]),
            "Its stages, in milliseconds under a profiler that slows Python down:",
            table(
                ["stage", *(row["name"] for row in rows)],
                [[stage, *(row["profile"].get(stage, "") for row in rows)] for stage in stages],
            ),
        ]
    )


def imports(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    (row,) = rows
    lines = [
        [name, spent, row["modules"][name], row["times torch and pandas"].get(name, 1.0),
         ", ".join(row["beyond torch and pandas"].get(name, {}))]
        for name, spent in row["milliseconds"].items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Imports",
            f"Fresh interpreters, medians. Lightning comes with the first `fit`. {on(machine)}.",
            table(["import", "ms", "modules", "times torch and pandas", "packages beyond them"], lines),
        ]
    )


def gpu(rows: Rows, threads: str, machine: dict[str, Any]) -> str:
    if all("left out" in row for row in rows):
        return "## GPU\n\nNot measured: " + rows[0]["left out"] + ". `studies/speed/gpu.py` has not been run yet."
    lines = [
        [row["what"], name, f"`{value}`" if isinstance(value, dict) else value]
        for row in rows
        for name, value in row.items()
        if name != "what"
    ]
    return "\n\n".join(["## GPU", table(["part", "quantity", "value"], lines)])


SECTIONS: dict[str, Callable[[Rows, str, dict[str, Any]], str]] = {
    "training_step": training_step,
    "wide_data": wide_data,
    "fit_throughput": fit_throughput,
    "backtest": backtest,
    "update_predict": update_predict,
    "memory": memory,
    "short_fits": short_fits,
    "imports": imports,
    "gpu": gpu,
}

_INTRODUCTION = """
# Speed

You can look up here what a fit and a backtest cost, beside other libraries and beside what the machine can do at all.
Calls that are compared took turns in the same run; figures are medians, ratios are medians of the ratios of pairs.
Absolute times hold for the machine that is named, a virtual one whose speed varies with its neighbours; the ratios
carry further. Figures of a processor stay as they are until there is one of its kind again, and may be of an earlier
version of the code.
"""

_RERUN = """
## Again

```
pip install "samovar-forecast[benchmark]"
export SAMOVAR_FORECAST_DATA=...                    # a folder with ETTh1.csv
python studies/speed.py                          # everything, about half an hour
python studies/speed.py training_step --threads 1
python studies/speed.py --report                 # this page and its figures
```

Each part is a script of its own in `studies/speed/`, each case runs in a fresh process with the number of threads
set by `OMP_NUM_THREADS` and `torch.set_num_threads`, and peak memory is `VmHWM` of that process. Large tensors cost
page faults where the C library gives them back to the system at once; a training on a CPU has glibc keep up to 64 MB of
what its steps free. Parts that are not measured again stay on this page as they are.
"""

if __name__ == "__main__":
    main()
