"""docs/evidence/faults.md: the table and what it says."""

from __future__ import annotations

from collections.abc import Mapping

from studies.faults.hosts import HOSTS
from studies.faults.judging import CLEAR, RIGHT, UNCLEAR, WRONG

Found = Mapping[str, Mapping[tuple[str, str], str]]

_HEAD = """# What happens when something is wrong

You can look up here what this package, its hosts and other libraries do with faulty data and settings.

Written by `python -m studies.faults`; do not edit by hand. Every library gets the same data and settings through the
calls that its documentation shows, in a process of its own, on a CPU, with a small model and as many training steps as
it needs to come near sound data: two, for the LTSF-Linear of sktime 30 epochs. Versions: {versions}.

The columns are `SAMoVARForecaster` of this package; the forecaster of the same name in `samovar_sktime`; `SAMoVARModel`
of `samovar_darts` with series made by `series_from_frame`; `NLinearModel` of darts with `TimeSeries.from_dataframe`;
`NLinear` of neuralforecast (`MLP` where there are covariates); `LTSFLinearForecaster` of sktime.

The rules are the same for all of them. **Clear error**: a `ValueError`, a `TypeError` or an `OSError`, or a subclass,
whose message names the column, the row, the step or the argument at fault. **Right result**: the forecast is finite,
goes on after the last row at the step and in the time zone of the data, has their columns, and stays within five times
their range; where the data have one obvious repair, it is the forecast of the repaired data. **Unclear
error**: any other. **Silent wrong**: a result that is not right; where no forecast can be right, any forecast.

"""

_TAIL = """
## What is not good on our side either

- sktime and darts save models as pickles, which run what is inside. Our classes there keep checksums with them and
  refuse what does not match, but an attacker can compute checksums too. The rows of our sktime forecaster are those of
  its own `load_from_path`: `sktime.base.load` opens a pickle that names the class before it asks the class, and so runs
  code inside and says `BadZipFile` of damage, as for every forecaster. Keep the model file of this package where a file
  comes from somewhere else; `to_sktime` and `to_darts` bring its weights along.
- darts knows no time zones: series with one are refused, not forecast.
- In darts nothing is scaled unless the weights came from `to_darts`, so values that are too large or too small for a
  network are refused there, and forecast by the other two.
- Values that are not numbers by their type (numbers as objects, decimals, categories) are refused, though some could be
  read.
- `scaler="none"` refuses columns that move by less than 1e-10. Above that, and up to about 1e-3, the networks still see
  them badly: they add small numbers to deviations. The default scaler has no such trouble.
- One outlier far beyond everything else in the training rows decides the scale of its column under
  `scaler="standard"`: what is forecast is finite and useless. `scaler="robust"` refuses the outlier by name.
"""


def write_page(found: Found, versions: Mapping[str, str]) -> str:
    """The page, from the verdicts on each library by row and the versions of the packages."""
    lines = [_HEAD.format(versions=", ".join(f"{name} {number}" for name, number in versions.items()))]
    lines.append("| | " + " | ".join(HOSTS[name].title for name in found) + " |\n|" + "---|" * (len(found) + 1) + "\n")
    for kind in (RIGHT, CLEAR, UNCLEAR, WRONG):
        counts = [sum(verdict.startswith(kind) for verdict in verdicts.values()) for verdicts in found.values()]
        lines.append(f"| {kind} | " + " | ".join(map(str, counts)) + " |\n")
    groups = dict.fromkeys(group for group, _ in next(iter(found.values())))
    for group in groups:
        lines.append(f"\n## {group}\n\n| fault | " + " | ".join(HOSTS[name].title for name in found) + " |\n")
        lines.append("|" + "---|" * (len(found) + 1) + "\n")
        for row in next(iter(found.values())):
            if row[0] == group:
                lines.append(f"| {row[1]} | " + " | ".join(_cell(found[name][row]) for name in found) + " |\n")
    return "".join([*lines, _TAIL])


def _cell(verdict: str) -> str:
    kind, _, detail = verdict.partition(": ")
    shown = f"**{kind}**" if kind == WRONG else kind
    return f"{shown}: {detail}" if detail else shown


def read_page(text: str) -> dict[str, dict[tuple[str, str], str]]:
    """The verdicts that a page holds, by the title of the library."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    group, titles = "", []
    for line in text.splitlines():
        if line.startswith("## "):
            group = line[3:]
        cells = (
            [cell.strip().replace("**", "") for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        )
        if cells and cells[0] == "fault":
            titles = cells[1:]
        elif cells and group:
            for title, cell in zip(titles, cells[1:], strict=True):
                found.setdefault(title, {})[group, cells[0]] = cell
    return found
