"""The protocol of the benchmark, held against a slicing of the files that uses none of the package."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.benchmark.protocol import borders, load_task, score, scores
from samovar_forecast.files import datasets
from tests.conftest import waves

FOLDER = Path(os.environ.get("SAMOVAR_FORECAST_DATA", "no-folder-named"))
# File, look-back, horizon, test windows, and the first rows of validation and test and the row after it.
PROTOCOLS = {
    "ETTh1": ("ETTh1.csv", 96, 96, 2785, (8640, 11520, 14400)),
    "ETTh2": ("ETTh2.csv", 512, 720, 2161, (8640, 11520, 14400)),
    "ETTm1": ("ETTm1.csv", 96, 96, 11425, (34560, 46080, 57600)),
    "ETTm2": ("ETTm2.csv", 96, 720, 10801, (34560, 46080, 57600)),
    "Weather": ("weather.csv", 512, 96, 10444, (36887, 42157, 52696)),
    "Exchange": ("exchange_rate.csv", 96, 96, 1422, (5311, 6071, 7588)),
    "ILI": ("national_illness.csv", 36, 24, 170, (676, 773, 966)),
}
PRESENT = [name for name, (file, *_) in PROTOCOLS.items() if (FOLDER / file).is_file()]


def sliced_by_hand(name):
    """Scaled rows and the published borders, from the file alone."""
    file, *_, (train, validation, test) = PROTOCOLS[name]
    raw = pd.read_csv(FOLDER / file, encoding="latin-1").iloc[:, 1:].to_numpy(dtype=np.float64)
    mean, deviation = raw[:train].mean(axis=0), raw[:train].std(axis=0)
    return mean, deviation, ((raw - mean) / deviation).astype(np.float32), train, validation, test


@pytest.mark.parametrize("name", PRESENT)
def test_rows_scaler_and_windows_are_those_of_the_protocol(name, monkeypatch):
    monkeypatch.setenv("SAMOVAR_FORECAST_DATA", str(FOLDER))
    _, context, horizon, n_windows, _ = PROTOCOLS[name]
    mean, deviation, scaled, train, validation, test = sliced_by_hand(name)
    task = load_task(name, context, horizon)
    np.testing.assert_allclose(task.scaler.center, mean, rtol=1e-12)
    np.testing.assert_allclose(task.scaler.scale, deviation, rtol=1e-12)
    np.testing.assert_allclose(task.train, scaled[:train], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(task.validation, scaled[train:validation], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(task.validation_windows, scaled[train - context : validation], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(task.test, scaled[validation - context : test], rtol=1e-6, atol=1e-6)
    assert len(task.rows_to_fit) == validation
    assert task.rows_to_fit.index.is_unique

    first_targets, last_targets = [], []

    def forecast(rows):
        values = rows.to_numpy()
        first_targets.append(values[context])
        last_targets.append(values[-1])
        return np.zeros((len(rows) - context - horizon + 1, horizon, rows.shape[1]))

    result = score(forecast, task.test, context, horizon)
    np.testing.assert_allclose(first_targets[0], scaled[validation], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(last_targets[-1], scaled[test - 1], rtol=1e-6, atol=1e-6)
    windows = [scaled[row : row + horizon].astype(np.float64) for row in range(validation, test - horizon + 1)]
    assert result.windows == len(windows) == n_windows
    assert result.mse == pytest.approx(np.mean([(window**2).mean() for window in windows]), rel=1e-6)
    assert result.mae == pytest.approx(np.mean([np.abs(window).mean() for window in windows]), rel=1e-6)


def test_every_file_that_is_there_has_its_protocol_checked():
    there = [
        name for name in datasets.names() if any((FOLDER / file).exists() for file in datasets._DATA_SETS[name].files)
    ]
    assert sorted(there) == sorted(PRESENT)


def test_pems_tests_without_early_rows(monkeypatch, tmp_path):
    flow = np.random.default_rng(0).normal(5, 2, size=(100, 4, 3))
    np.savez(tmp_path / "tiny.npz", data=flow)
    digest = hashlib.sha256((tmp_path / "tiny.npz").read_bytes()).hexdigest()
    made = datasets._DataSet("", {"tiny.npz": digest}, 100, 4, "5min", "2020-01-01", shares=(0.6, 0.2), overlap=False)
    monkeypatch.setitem(datasets._DATA_SETS, "PEMS", made)
    monkeypatch.setenv("SAMOVAR_FORECAST_DATA", str(tmp_path))
    task = load_task("PEMS", 8, 4)
    expected = (flow[..., 0] - flow[:60, :, 0].mean(0)) / flow[:60, :, 0].std(0)
    np.testing.assert_allclose(task.test, expected[80:], rtol=1e-5)
    np.testing.assert_allclose(task.validation, expected[60:80], rtol=1e-5)
    windows = score(lambda rows: np.zeros((len(rows) - 11, 4, 4)), task.test, 8, 4).windows
    assert windows == 20 - 8 - 4 + 1
    with pytest.raises(ValueError, match="PEMS has 20 test rows, and a window with a context of 20"):
        load_task("PEMS", 20, 4)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_own_file_is_split_by_shares(tmp_path, ending):
    frame = waves(101)
    path = tmp_path / f"load.{ending}"
    frame.to_csv(path) if ending == "csv" else frame.to_parquet(path)
    task = load_task("load", 12, 4, str(path), (0.5, 0.2, 0.3))
    assert (len(task.train), len(task.validation), len(task.test)) == (50, 21, 30 + 12)
    np.testing.assert_allclose(task.train.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(task.train.std(ddof=0), 1, atol=1e-6)
    np.testing.assert_allclose(task.scaler.inverse(task.test.to_numpy(), 3), frame.iloc[59:], rtol=1e-5)
    assert list(task.test.index) == list(frame.index[59:])


@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.7, 0.1, 0.1), (1.0, 0.0, 0.0), (1.2, -0.4, 0.2)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="three numbers that add up to 1"):
        borders(100, shares)


def test_shorter_horizons_have_all_of_their_windows():
    rows, context, horizon = waves(60, 2), 10, 6
    rows.iloc[30, 1] = np.nan
    values = rows.to_numpy()

    def forecast(piece):  # in every series the newest value and the step
        newest = np.nan_to_num(piece.to_numpy())[context - 1 : len(piece) - horizon]
        return newest[:, None] + np.arange(horizon)[:, None]

    found = scores(forecast, rows, context, horizon, (2, 5))
    assert list(found) == [2, 5, 6]
    for steps, one in found.items():
        cutoffs = range(context, 60 - steps + 1)
        newest = np.nan_to_num(values)[[cutoff - 1 for cutoff in cutoffs]]
        errors = newest[:, None] + np.arange(steps)[:, None] - np.stack([values[c : c + steps] for c in cutoffs])
        assert one.windows == len(cutoffs)
        assert one.mse == pytest.approx(np.nanmean(errors**2))
        assert one.mae == pytest.approx(np.nanmean(np.abs(errors)))
    assert found[6] == score(forecast, rows, context, horizon)


def test_score_is_the_same_in_pieces_and_leaves_out_what_is_missing(monkeypatch):
    rows = waves(90, 2)
    rows.iloc[40:45, 0] = np.nan
    values = rows.to_numpy()

    steps = np.arange(5)[:, None]

    def forecast(piece):
        return np.stack([piece.to_numpy()[end - 1] + steps for end in range(10, len(piece) - 4)])

    errors = np.stack([values[end : end + 5] - np.nan_to_num(values[end - 1] + steps) for end in range(10, 86)])

    def filled(piece):
        return np.nan_to_num(forecast(piece))

    whole = score(filled, rows, 10, 5)
    assert whole.windows == 76
    assert whole.mse == pytest.approx(np.nanmean(errors**2))
    assert whole.mae == pytest.approx(np.nanmean(np.abs(errors)))
    monkeypatch.setattr("samovar_forecast.benchmark.protocol._NUMBERS_AT_ONCE", 70)  # seven windows
    parts = score(filled, rows, 10, 5)
    assert (parts.windows, parts.mse, parts.mae) == pytest.approx((whole.windows, whole.mse, whole.mae))
    with pytest.raises(ValueError, match="no finite numbers"):
        score(forecast, rows, 10, 5)
    with pytest.raises(ValueError, match=r"shape \(1, 5, 2\), not \(7, 5, 2\)"):
        score(lambda piece: forecast(piece)[:1], rows, 10, 5)
