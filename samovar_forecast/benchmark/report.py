"""The report of a store: Markdown tables and figures, beside the published results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samovar_forecast.benchmark.figures import draw_errors, draw_time
from samovar_forecast.benchmark.published import AVERAGE, QUOTED, published_results
from samovar_forecast.benchmark.store import DONE
from samovar_forecast.benchmark.summary import Result, ranks, summarise
from samovar_forecast.files import datasets
from samovar_forecast.files.atomic_files import replace_file

LARGE_DIFFERENCE = 3  # percent

_HEAD = """# Benchmark results

You can look up here how accurate the models are on public data, beside other models and published numbers.

Written by `samovar-forecast benchmark report` from a store of results; do not edit.

MSE and MAE are means over every test window, step and series, in standard deviations of the training rows; then over
the seeds named, ± the standard deviation of the MSE between them. The validation windows chose the epoch of every run.
A recipe is `default` (the hyperparameters and lengths of this package: one training for all horizons, on the longest,
whose seconds stand at each) or `published` (those of the paper, a training for each horizon), followed by what was
changed of it. The difference is by how much the MSE is above the published one; it is left out where the two look-backs
are known to differ.
"""
_OVERVIEW = """## Averages over the horizons 96, 192, 336 and 720; of ILI 24, 36, 48 and 60

MSE (published; difference). The models marked as quoted were not run here: theirs are the numbers of Lu & Yang.
"""

_NOT_REPRODUCED = (
    "The accuracy published for SAMoVAR on ETTh1 cannot be reproduced with the published recipe, neither here nor\n"
    "with the authors' own released network in an exact copy of their training loop.\n"
)


def write_report(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the report of records as a Markdown file, and its pictures into the folder `figures` beside it.

    Raises
    ------
    ValueError
        If no run has succeeded.
    """
    results = summarise(records)
    if not results:
        raise ValueError("no run has succeeded yet, so there is nothing to report")
    figures = path.parent / "figures"
    figures.mkdir(exist_ok=True)
    known, found = datasets.names(), {one.data for one in results}
    every = [name for name in known if name in found] + sorted(found - set(known))
    parts = [_HEAD, _overview(results, every), _ranking(results), _gaps(results)]
    draw_time(results, figures / f"{path.stem}-time.png")
    parts.append(f"## Accuracy against time\n\n![Accuracy against time](figures/{path.stem}-time.png)\n")
    for data in every:
        picture = f"{path.stem}-{data}.png"
        own = [one for one in results if one.data == data]
        parts.append(f"## {data}\n")
        for heading, of_protocol in _by_protocol(own):
            parts += [f"### {heading}\n", _errors(of_protocol)]
        if draw_errors(results, data, figures / picture):
            parts.append(f"![{data}](figures/{picture})\n")
        parts.append(_costs(own))
    parts += [_failures(records), _versions(records)]
    replace_file(path, "\n".join(part for part in parts if part).encode())


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; None is an empty cell.

    Examples
    --------
    >>> print(markdown_table(["model", "MSE"], [["naive", 0.5], ["SAMoVAR", None]]), end="")
    | model | MSE |
    |---|---|
    | naive | 0.5 |
    | SAMoVAR |  |
    """
    cells = [["" if cell is None else str(cell).replace("|", "\\|") for cell in row] for row in [columns, *rows]]
    head, *lines = [f"| {' | '.join(line)} |\n" for line in cells]
    return "".join([head, "|---" * len(columns), "|\n", *lines])


def _overview(results: Sequence[Result], every: Sequence[str]) -> str:
    averages = [one for one in results if one.horizon is None]
    columns = [data for data in every if any(one.data == data for one in averages)]
    if not columns:
        return ""
    cells: dict[str, dict[str, str]] = {}
    for one in averages:
        cells.setdefault(one.label, {})[one.data] = _beside_published(one)
    for found in published_results():
        if found.model in QUOTED and found.horizon == AVERAGE and found.data in columns:
            cells.setdefault(f"{found.model}, quoted", {})[found.data] = f"({found.mse:.3f})"
    rows = [[label, *(own.get(data) for data in columns)] for label, own in cells.items()]
    return f"{_OVERVIEW}\n{markdown_table(['model', *columns], rows)}"


def _beside_published(one: Result) -> str:
    if one.published is None:
        return f"{one.mse:.4f}"
    difference = "" if one.difference is None else f"; {one.difference:+.1f} %"
    return f"{one.mse:.4f} ({one.published.mse:.3f}{difference})"


def _ranking(results: Sequence[Result]) -> str:
    mean, n_cells = ranks(results)
    head = "## Average rank\n\n"
    if not mean:
        return f"{head}No two models have results for the same data set and horizon.\n"
    rows = markdown_table(["model", "rank"], [[label, f"{rank:.2f}"] for label, rank in mean.items()])
    others = sorted({one.label for one in results} - set(mean))
    left_out = f" Left out, with too few of these: {', '.join(others)}." if others else ""
    return (
        f"{head}By MSE, over the combinations of data set and horizon that all of these have: {n_cells}.{left_out}"
        f"\n\n{rows}"
    )


def _gaps(results: Sequence[Result]) -> str:
    far = [one for one in results if one.difference is not None and abs(one.difference) > LARGE_DIFFERENCE]
    head = f"## Differences of more than {LARGE_DIFFERENCE} % from published results\n\n"
    if not far:
        return f"{head}There are none.\n"
    rows = [
        [one.data, one.horizon or AVERAGE, one.label, f"{one.mse:.4f}",
         one.published and f"{one.published.mse:.3f}", f"{one.difference:+.1f} %"]
        for one in far
    ]  # fmt: skip
    table = markdown_table(["data", "horizon", "model", "MSE", "published", "difference"], rows)
    missed = any((one.data, one.model) == ("ETTh1", "SAMoVAR") and one.recipe.startswith("published") for one in far)
    return head + table + (f"\n{_NOT_REPRODUCED}" if missed else "")


def _by_protocol(own: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results that may be compared: one training or one for each horizon, own choices or those of the papers."""
    published = [one for one in own if one.recipe.startswith("published")]
    others = [one for one in own if one not in published]
    both = ("Defaults and baselines", others), ("Published recipes", published)
    return [(heading, rows) for heading, rows in both if rows]


def _errors(own: Sequence[Result]) -> str:
    errors = {horizon: [one.mse for one in own if one.horizon == horizon] for horizon in {one.horizon for one in own}}
    rows = []
    for one in own:
        mse = f"{one.mse:.4f}" + ("" if one.deviation is None else f" ± {one.deviation:.4f}")
        found = one.published
        rows.append(
            [
                one.horizon or AVERAGE,
                one.model,
                one.recipe,
                one.look_back,
                ", ".join(map(str, one.seeds)),
                f"**{mse}**" if one.mse == min(errors[one.horizon]) and len(errors[one.horizon]) > 1 else mse,
                f"{one.mae:.4f}",
                None if found is None else f"{found.mse:.3f}",
                None if found is None or found.mae is None else f"{found.mae:.3f}",
                None if one.difference is None else f"{one.difference:+.1f} %",
                None if found is None else found.look_back,
                None if found is None else found.source,
            ]
        )
    columns = ["horizon", "model", "recipe", "look-back", "seeds", "MSE", "MAE", "published MSE", "published MAE",
               "difference", "look-back there", "source"]  # fmt: skip
    return markdown_table(columns, rows)


def _costs(own: Sequence[Result]) -> str:
    rows = [
        [
            one.horizon,
            one.label,
            f"{one.parameters:,.0f}",
            f"{one.epochs:.3g}, {one.best_epoch:.3g}",
            f"{one.seconds_per_epoch:.3g}",
            f"{one.training_seconds:,.0f}",
            None if one.peak_memory_mb is None else f"{one.peak_memory_mb:,.0f}",
            one.computed_on,
        ]
        for one in own
        if one.horizon is not None
    ]
    columns = ["horizon", "model", "parameters", "epochs, kept", "seconds per epoch", "seconds of training",
               "peak memory, MB", "device, threads"]  # fmt: skip
    return markdown_table(columns, rows)


def _failures(records: Sequence[Mapping[str, Any]]) -> str:
    columns = ["model", "data", "horizon", "seed", "recipe", "error"]
    rows = [[record[column] for column in columns] for record in records if record["status"] != DONE]
    return f"## Runs that failed\n\n{markdown_table(columns, rows)}" if rows else ""


def _versions(records: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.get("versions", {}).items():
            found.setdefault(package, set()).add(version)
    rows = [[package, ", ".join(sorted(versions))] for package, versions in found.items()]
    return f"## Versions\n\n{markdown_table(['package', 'versions'], rows)}"
