"""Files that the commands read and write, checked; errors name them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar_forecast.command_line.telling import tell

if TYPE_CHECKING:
    import pandas as pd

    from samovar_forecast.data.panel import Panel
    from samovar_forecast.estimator import Forecaster
    from samovar_forecast.files.table_format import TableFormat

# pandas and torch are imported where they are needed: --help and a wrong option answer at once.


def read_series(
    path: Path, layout: TableFormat, names: Sequence[str] = (), forecaster: Forecaster | None = None
) -> Panel:
    """The series of a file, where `names` are the columns that tell them apart.

    Names are text, but for those that a fitted forecaster knows as something else, such as a number. For it, text in
    columns that it does not know is left out, and the columns that it knows as categories are encoded.
    """
    return _read(path, layout, names, forecaster, None if forecaster is None else forecaster.columns_)


def read_training(path: Path, layout: TableFormat, names: Sequence[str]) -> Panel:
    """The series of a file to train on, in which no column may be empty."""
    panel = read_series(path, layout, names)
    for column in panel.columns:
        if all(frame[column].isna().all() for frame in panel.frames.values()):
            raise ValueError(f"{path} column {column!r} has no value in any row; leave it out: drop=[{column!r}]")
    return panel


def read_known(
    path: Path | None, layout: TableFormat, names: Sequence[str], forecaster: Forecaster | None = None
) -> Panel | None:
    """The known covariates of a file."""
    if path is None:
        return None
    layout = replace(layout, columns=())
    return _read(path, layout, names, forecaster, None if forecaster is None else forecaster.known_, beside=True)


def _read(
    path: Path,
    layout: TableFormat,
    names: Sequence[str],
    forecaster: Forecaster | None,
    wanted: Collection[Any] | None,
    beside: bool = False,
) -> Panel:
    from samovar_forecast.data.panel import read_panel
    from samovar_forecast.files.tables import read_table

    table = read_table(path, names, layout, beside=beside, wanted=wanted)
    if names:
        table.index = _as_known(table.index, forecaster)
    return read_panel(table, str(path), missing=True)


def read_static(
    path: Path | None, layout: TableFormat, names: Sequence[str], forecaster: Forecaster | None = None
) -> pd.DataFrame | None:
    """The static covariates of a file: a row for each series, first its names."""
    from samovar_forecast.files.tables import read_names_table

    if path is None:
        return None
    if not names:
        raise ValueError("--static tells many series apart; give --series too, the columns that name them")
    wanted = None if forecaster is None else forecaster.static_
    table = read_names_table(path, len(names), layout, wanted)
    table.index = _as_known(table.index, forecaster)
    return table


def in_one(panel: Panel | None) -> Any:
    """The frame of a single series, or of all of them below one another, as a forecaster takes them."""
    return None if panel is None else panel.layout.assemble(panel.frames)


def names_of_training(forecaster: Forecaster, model_file: Path) -> list[str]:
    """The columns that told the series of the training data apart; none where there was one."""
    names = forecaster.layout_.names
    if forecaster.is_panel_ and not (names and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{model_file} was trained on many series; give --series, the columns that name them")
    return [str(name) for name in names]


def with_bounds(forecast: Any, intervals: Any) -> Any:
    """Forecasts and the bounds of their intervals in one table, those of a target beside it."""
    import pandas as pd

    table = flat(forecast)
    if intervals is None:
        return table
    bounds = flat(intervals)
    names = [name for column in table.columns for name in (column, f"{column} lower", f"{column} upper")]
    if set(names) == {*table.columns, *bounds.columns}:
        return pd.concat([table, bounds], axis=1)[names]
    return pd.concat([table, bounds], axis=1)


def flat(forecast: Any) -> pd.DataFrame:
    """A forecast as one frame, its columns with a single level: a target, or a target and a level."""
    import pandas as pd

    if isinstance(forecast, Mapping):
        forecast = pd.concat(forecast)
    table = pd.DataFrame(forecast)
    if isinstance(table.columns, pd.MultiIndex):  # (series, level or bound)
        table = table.set_axis([f"{series} {level}" for series, level in table.columns], axis=1)
    return table


def write_forecast(table: pd.DataFrame, path: Path | None, forecaster: Forecaster) -> None:
    """Write a forecast of one series or of many as a table, or print it as CSV.

    CSV files get the digits that a forecast can have: four beyond the spread of its series.
    """
    import pandas as pd

    from samovar_forecast.files.tables import check_ending, write_table

    if isinstance(table.index, pd.MultiIndex):
        table.index = table.index.set_names(_level_names(table.index))
    if path is None or check_ending(path) == "csv":
        table = rounded(table, forecaster)
    if path is None:
        table.to_csv(sys.stdout)
        return
    write_table(table, path)
    tell(f"saved {path}")


def rounded(table: pd.DataFrame, forecaster: Forecaster) -> pd.DataFrame:
    """The table with four digits beyond the smallest spread of a series in training, for each target."""
    import numpy as np

    columns, targets = forecaster.columns_, forecaster.targets_
    scalers = [one.scaler for one in forecaster.series_.values()]
    # Of a logarithm, the spread is one in units at its center.
    levels = np.stack([np.where(one.logarithmic, np.exp(np.minimum(one.center, 700)), 1.0) for one in scalers])
    spreads = (np.stack([one.scale for one in scalers]) * levels).min(axis=0)
    digits = {}
    for column in table.columns:
        target = next((one for one in targets if column == one or str(column).startswith(f"{one} ")), None)
        spread = 1.0 if target is None else float(spreads[columns.index(target)])
        digits[column] = 4 - int(np.floor(np.log10(spread))) if 0 < spread < np.inf else 6
    made = {column: table[column].round(max(0, digits[column])) for column in table.columns}
    return type(table)(made, index=table.index)


def _level_names(index: pd.MultiIndex) -> list[str]:
    """Names for all levels, so that the table can be read again."""
    n_names = index.nlevels - 1
    spare = ["series"] if n_names == 1 else [f"series {number}" for number in range(1, n_names + 1)]
    return [str(given or other) for given, other in zip(index.names, [*spare, "time"], strict=True)]


def _as_known(index: pd.Index, forecaster: Forecaster | None) -> pd.Index:
    """The names of series, read as text, in the type in which a forecaster knows them."""
    import pandas as pd

    if forecaster is None or not forecaster.is_panel_:
        return index
    parts = [key if isinstance(key, tuple) else (key,) for key in forecaster.series_]
    for level, known in enumerate(zip(*parts, strict=True)):
        by_text = {str(name): name for name in known}
        names = index.levels[level] if isinstance(index, pd.MultiIndex) else index
        typed = [by_text.get(name, name) for name in names]
        index = index.set_levels(typed, level=level) if isinstance(index, pd.MultiIndex) else pd.Index(typed)
    return index
