"""Benchmark data sets of long-horizon forecasting with their published splits, and a small one for demos."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from samovar_forecast.files.downloads import download

FOLDER_VARIABLE = "SAMOVAR_FORECAST_DATA"
URL_VARIABLE = "SAMOVAR_FORECAST_URL"

_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"
_LTSF = "https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/"
_PEMS = "https://huggingface.co/datasets/pkr7098/time-series-forecasting-datasets/resolve/main/"
_SOLAR = "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/master/solar-energy/"


@dataclass(frozen=True)
class _DataSet:
    """Source, shape and split of a data set.

    `files` maps the accepted file names to their SHA-256; the first is what the URL gives.
    """

    url: str
    files: dict[str, str]
    n_rows: int
    n_series: int
    frequency: str
    start: str
    months: bool = False  # ETT: 12, 4 and 4 months of 30 days
    shares: tuple[float, float] = (0.7, 0.2)  # of training and test rows
    overlap: bool = True  # validation and test begin one context early

    def borders(self) -> tuple[int, int, int]:
        """End of the training, validation and test rows."""
        if self.months:
            month = 30 * (pd.Timedelta("1D") // pd.Timedelta(self.frequency))
            return 12 * month, 16 * month, 20 * month
        train, test = (int(share * self.n_rows) for share in self.shares)
        return train, self.n_rows - test, self.n_rows


def _ett(name: str, frequency: str, n_rows: int, sha256: str) -> _DataSet:
    files = {f"{name}.csv": sha256}
    return _DataSet(f"{_ETT}{name}.csv", files, n_rows, 7, frequency, "2016-07-01", months=True)


def _pems(name: str, n_rows: int, n_series: int, start: str, sha256: str) -> _DataSet:
    files = {f"{name}.npz": sha256}
    return _DataSet(
        f"{_PEMS}{name}.npz", files, n_rows, n_series, "5min", start, shares=(0.6, 0.2), overlap=False
    )  # fmt: skip


_DATA_SETS = {
    "ETTh1": _ett("ETTh1", "1h", 17_420, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
    "ETTh2": _ett("ETTh2", "1h", 17_420, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
    "ETTm1": _ett("ETTm1", "15min", 69_680, "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e"),
    "ETTm2": _ett("ETTm2", "15min", 69_680, "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd"),
    "Weather": _DataSet(
        f"{_LTSF}weather/weather.csv",
        {"weather.csv": "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63"},
        52_696, 21, "10min", "2020-01-01 00:10",
    ),
    "Exchange": _DataSet(
        f"{_LTSF}exchange_rate/exchange_rate.csv",
        {"exchange_rate.csv": "48b4d9d3d508f5104162e85b9a6042e3557fde11aa9f2944eba8c0d0efc89842"},
        7_588, 8, "D", "1990-01-01",
    ),
    "ILI": _DataSet(
        f"{_LTSF}illness/national_illness.csv",
        {"national_illness.csv": "93601f64d2566dc796ca4305adad8b8560c2db1a1ff04543c3bd813a7263570a"},
        966, 7, "W-TUE", "2002-01-01",
    ),
    "Solar": _DataSet(
        f"{_SOLAR}solar_AL.txt.gz",
        {
            "solar_AL.txt.gz": "1ae9329c3e1032acbb8dd080bfc397c44507006812a715d2788f172820489a1c",
            "solar_AL.txt": "230327ef72d2abb387939d4a35d6fd34f1066071bc7c40ce7ecf5531a0122ac2",
        },
        52_560, 137, "10min", "2006-01-01",
    ),
    "ECL": _DataSet(
        f"{_LTSF}electricity/electricity.csv",
        {"electricity.csv": "7e45845d54c5219bad0ae6bc1b5316cf8ff9cead5d33fa998a5a51c2e4a497ad"},
        26_304, 321, "h", "2016-07-01 02:00",
    ),
    "Traffic": _DataSet(
        f"{_LTSF}traffic/traffic.csv",
        {"traffic.csv": "cb06463d56fa17d87f47027cd9389ceae82a69eddee51cdb61480e120dab0b16"},
        17_544, 862, "h", "2016-07-01 02:00",
    ),
    "PEMS03": _pems(
        "PEMS03", 26_208, 358, "2018-09-01", "34859517425eded66a0014db63de54b95d0428c38890741a1710ed4d3b043de8"
    ),
    "PEMS04": _pems(
        "PEMS04", 16_992, 307, "2018-01-01", "95a3c9b720fffdb85f0330d09bfab41b0b3cad0ca86c0d7d5f3accacb4ac999a"
    ),
    "PEMS07": _pems(
        "PEMS07", 28_224, 883, "2017-05-01", "a07887e610aa986276209bc9384d14ed7858fdcad1ded67f53dca19eb828600b"
    ),
    "PEMS08": _pems(
        "PEMS08", 17_856, 170, "2016-07-01", "e1d03ce74e9fb79149e6e7c37c680214822c4a285baa2f42278cacabcd25c075"
    ),
}  # fmt: skip


def names() -> list[str]:
    """The names that `load` knows.

    Examples
    --------
    >>> names()[:3]
    ['ETTh1', 'ETTh2', 'ETTm1']
    """
    return list(_DATA_SETS)


def load(
    name: str, *, folder: str | os.PathLike[str] | None = None, base_url: str | None = None, verify: bool = True
) -> pd.DataFrame:
    """A benchmark data set, read from a folder or, once, from the internet.

    The file is taken from `folder` if one is given. Otherwise it is downloaded and kept in the user's cache
    (``pooch.os_cache("samovar-forecast")``). Its SHA-256 is compared with that of the published file.

    The published protocol counts rows as equally spaced, so the index is regular: it starts at the file's
    first date and continues at the file's step. This differs from the dates in the file for Weather, which
    has one date twice and a gap of 90 minutes; Solar and PEMS have no dates in their files. Weather keeps its
    81 values of -9999, which are part of the published benchmark; its three damaged column names are repaired.

    Parameters
    ----------
    name : str
        One of `names()`.
    folder : path or None
        The folder of the files. None: the environment variable ``SAMOVAR_FORECAST_DATA``; unset: download.
    base_url : str or None
        Download ``{base_url}/{file name}`` instead of the published address. None: the environment variable
        ``SAMOVAR_FORECAST_URL``; unset: the published address.
    verify : bool, default True
        False: accept a file in `folder` with another checksum. Its shape is checked all the same, and
        downloads are always compared.

    Shape
    -----
    output : (n_rows, n_series), all rows of the file; `split` takes those that the protocol uses

    Raises
    ------
    ValueError
        If the name is unknown, or the file is not the published one.
    OSError
        If the file is not in `folder`, or the download failed.

    Examples
    --------
    ``load("ETTh1")`` is a frame of 17,420 hours x 7 series.

    >>> load("ETTh3")
    Traceback (most recent call last):
    ValueError: there is no data set 'ETTh3'; there are ETTh1, ETTh2, ...
    """
    data_set = _data_set(name)
    folder = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    if folder:
        path = _find(name, data_set, Path(folder), verify)
    else:
        path = _download(name, data_set, base_url or os.environ.get(URL_VARIABLE))
    values, columns = _read(path)
    if values.shape != (data_set.n_rows, data_set.n_series):
        raise ValueError(
            f"{path} has {values.shape[0]} rows x {values.shape[1]} series; {name} has {data_set.n_rows} x "
            f"{data_set.n_series}"
        )
    index = pd.date_range(data_set.start, periods=data_set.n_rows, freq=data_set.frequency, name="date")
    return pd.DataFrame(values, index=index, columns=columns)


def split(
    name: str,
    context_length: int,
    *,
    folder: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    verify: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training, validation and test rows of the published protocol.

    Validation and test begin `context_length` rows early, so that every row of theirs is forecast. ETT uses
    its first 20 months of 30 days (12, 4 and 4); PEMS 60, 20 and 20 % without the early rows, as the
    published code has it; the others 70, 10 and 20 %.

    Parameters
    ----------
    name : str
        One of `names()`.
    context_length : int
        Rows of history before a forecast.
    folder, base_url, verify
        See `load`.

    Returns
    -------
    tuple of three DataFrames

    Raises
    ------
    ValueError
        If `context_length` is negative or longer than the training rows; and what `load` raises.
    """
    data_set = _data_set(name)
    train, validation, test = data_set.borders()
    if not 0 <= context_length <= train:
        raise ValueError(f"context_length must be between 0 and the {train} training rows, got {context_length}")
    frame = load(name, folder=folder, base_url=base_url, verify=verify)
    early = context_length if data_set.overlap else 0
    return frame.iloc[:train], frame.iloc[train - early : validation], frame.iloc[validation - early : test]


def load_demo() -> pd.DataFrame:
    """Monthly carbon dioxide at Mauna Loa and sea temperature off Peru, 1958 to 2001, without a download.

    `co2_ppm` is the mean of the weekly measurements of each month (Keeling & Whorf); five months without
    any, the last of them in 1964, are filled linearly in time. `sea_celsius` is the monthly sea surface
    temperature of the region Niño 1+2 (NOAA). Both are in the public domain and come with statsmodels.

    Shape
    -----
    output : (526, 2)

    Examples
    --------
    >>> load_demo().tail(2).round(1)
                co2_ppm  sea_celsius
    2001-11-01    369.4         20.7
    2001-12-01    371.0         21.7
    """
    from statsmodels.datasets import co2, elnino

    carbon = co2.load_pandas().data["co2"].resample("MS").mean().interpolate("time")
    by_year = elnino.load_pandas().data.set_index("YEAR")
    months = pd.date_range(f"{int(by_year.index[0])}-01-01", periods=by_year.size, freq="MS")
    sea = pd.Series(by_year.to_numpy().ravel(), index=months)
    return pd.DataFrame({"co2_ppm": carbon, "sea_celsius": sea.loc[carbon.index]})


def _data_set(name: str) -> _DataSet:
    if name not in _DATA_SETS:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(names())}")
    return _DATA_SETS[name]


def _find(name: str, data_set: _DataSet, folder: Path, verify: bool) -> Path:
    found = [folder / file for file in data_set.files if (folder / file).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{name} is not in the folder {folder}: put {' or '.join(data_set.files)} there (from {data_set.url}), "
            f"or unset {FOLDER_VARIABLE} to download it"
        )
    path, expected = found[0], data_set.files[found[0].name]
    if verify:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        if checksum != expected:
            raise ValueError(
                f"{path} is not the published file: its SHA-256 is {checksum}, not {expected}; get it from "
                f"{data_set.url}, or pass verify=False to use yours all the same"
            )
    return path


def _download(name: str, data_set: _DataSet, base_url: str | None) -> Path:
    file, checksum = next(iter(data_set.files.items()))
    url = data_set.url if base_url is None else f"{base_url.rstrip('/')}/{file}"
    elsewhere = f"put the file {file} into a folder and set {FOLDER_VARIABLE} to it"
    try:
        return download(url, file, checksum)
    except OSError as error:
        raise OSError(f"{name} could not be downloaded from {url} ({error}); try again, or {elsewhere}") from error
    except ValueError as error:
        raise ValueError(
            f"what {url} gives is not the published {name} (SHA-256 {checksum}); nothing was kept: {elsewhere}"
        ) from error


def _read(path: Path) -> tuple[np.ndarray, list[str]]:
    if path.suffix == ".npz":
        with np.load(path) as archive:
            flow = archive["data"][..., 0]  # the other channels are occupancy and speed
        return flow.astype(np.float64), [str(sensor) for sensor in range(flow.shape[1])]
    if path.suffix == ".csv":
        frame = pd.read_csv(path, encoding="latin-1", index_col=0)
        # The published file has a replacement character where Weather's units had a special one.
        lost = "\ufffd".encode().decode("latin-1")
        columns = [str(name).replace(f"m{lost}", "m²").replace(f"{lost}mol", "µmol") for name in frame.columns]
        return frame.to_numpy(dtype=np.float64), columns
    frame = pd.read_csv(path, header=None)
    return frame.to_numpy(dtype=np.float64), [str(plant) for plant in range(frame.shape[1])]
