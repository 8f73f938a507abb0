"""What a command understood of its files, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_forecast.data.panel import Panel
    from samovar_forecast.data.time_axis import Frequency
    from samovar_forecast.files.table_format import TableFormat

_EVERY = {
    "h": "hourly", "D": "daily", "B": "every business day", "W": "weekly", "MS": "monthly", "ME": "monthly",
    "QS": "quarterly", "QE": "quarterly", "YS": "yearly", "YE": "yearly", "s": "every second", "min": "every minute",
    "M": "monthly", "Q": "quarterly", "Y": "yearly",
}  # fmt: skip
_UNITS = {"h": "hours", "D": "days", "min": "minutes", "s": "seconds", "W": "weeks", "MS": "months", "ME": "months"}


def understood(
    panel: Panel, layout: TableFormat, series: Sequence[str], targets: Sequence[Any] | None, known: Panel | None
) -> str:
    """Rows, time, step, series, covariates and the share of missing cells.

    Examples
    --------
    >>> import pandas as pd
    >>> from samovar_forecast.data.panel import read_panel
    >>> from samovar_forecast.files.table_format import TableFormat
    >>> index = pd.date_range("2024-01-01", periods=3, freq="h", name="time")
    >>> panel = read_panel(pd.DataFrame({"load": [1.0, 2.0, None], "heat": 3.0}, index=index), missing=True)
    >>> understood(panel, TableFormat(), (), ["load"], None)
    '3 rows from 2024-01-01 00:00, hourly, time from time; 2 series, 1 of them a covariate; 16.7 % missing'
    """
    frames = list(panel.frames.values())
    n_rows, n_columns = sum(map(len, frames)), len(panel.columns)
    first = min((frame.index[0] for frame in frames), default=None)
    step = panel.frequency()
    described = [f"{n_rows:,} rows from {_label(first)}", _step(step), _source(layout, frames[0].index.name, series)]
    zone = getattr(frames[0].index, "tz", None)
    if zone is not None:
        described.append(f"in {zone}")
    covariates = 0 if targets is None else n_columns - len(set(targets) & set(panel.columns))
    of_them = f", {covariates} of them {'a covariate' if covariates == 1 else 'covariates'}" if covariates else ""
    columns = f"{n_columns} series{of_them}"
    if panel.layout.kind != "single":
        shortest, longest = min(map(len, frames)), max(map(len, frames))
        lengths = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        kind = "columns" if n_columns > 1 else "column"
        columns = f"{len(frames):,} series of {lengths} rows, by {' '.join(series)}, {n_columns} {kind} each{of_them}"
    if known is not None:
        columns += f", {len(known.columns)} known in the future"
    missing = sum(int(frame.isna().to_numpy().sum()) for frame in frames) / max(1, n_rows * n_columns)
    share = "nothing" if missing == 0 else f"{100 * missing:.1f} %" if missing >= 0.001 else "less than 0.1 %"
    return f"{', '.join(described)}; {columns}; {share} missing"


def _label(label: Any) -> str:
    if hasattr(label, "strftime") and hasattr(label, "hour"):
        return str(label.strftime("%Y-%m-%d %H:%M")) if not getattr(label, "second", 0) else str(label)
    return str(label)


def _step(step: Frequency) -> str:
    if isinstance(step, int):
        return f"in whole numbers with a step of {step}" if step != 1 else "in whole numbers"
    try:
        code = step.rule_code.partition("-")[0]
    except NotImplementedError:
        return f"every {step}"
    if step.n == 1:
        return _EVERY.get(code, f"every {step}")
    return f"every {step.n} {_UNITS[code]}" if code in _UNITS else f"every {step}"


def _source(layout: TableFormat, name: Any, series: Sequence[str]) -> str:
    if layout.start is not None:
        return f"counted from {layout.start}"
    return f"time from {' '.join(layout.time) or name}"
