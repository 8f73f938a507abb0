"""Windows of many series: cut from each alone, without those that say nothing, drawn as often as is chosen."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from samovar_forecast.data.windows import Windows, window_cutoffs
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.training.batches import WindowBatches
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.module import ForecastingModule
from samovar_forecast.training.split import split_windows
from tests.peak_memory import numbers_printed_by

CONTEXT, HORIZON = 12, 4


@dataclass
class Series:
    values: torch.Tensor
    n_training: int
    known: torch.Tensor | None = None
    static: torch.Tensor | None = None


def series(number, n_rows, n_training=None, **rest):
    """A series whose values tell the series and the row: 1000 * number + row, in two columns."""
    values = 1000 * number + torch.arange(float(n_rows))
    return Series(torch.stack([-values, values], dim=1), n_rows if n_training is None else n_training, **rest)


def split(*every, n_targets=1, n_new=None):
    parts = []
    for one in every:
        cutoffs = window_cutoffs(len(one.values), one.n_training, CONTEXT, HORIZON)
        parts.append(Windows.before(cutoffs, one.values, CONTEXT, HORIZON, n_targets, one.known, one.static))
    return split_windows(Windows.join(parts), [len(one.values) - one.n_training for one in every], n_new)


def rows_of(windows):
    """The values of the target in every window, context and future: (n_windows, CONTEXT + HORIZON)."""
    past, future, _ = windows.gather(windows.starts)
    return torch.cat([past[..., -1:], future[..., -1:]], dim=1)[..., 0].numpy()


def naive_slices(number, n_rows, first=0, fill=0):
    """Every window of a series by slicing, which begins with `fill` missing rows."""
    values = np.concatenate([np.full(fill, np.nan), 1000 * number + np.arange(float(n_rows))])
    last = len(values) - CONTEXT - HORIZON
    return [values[start : start + CONTEXT + HORIZON] for start in range(first, last + 1)]


def test_windows_are_those_of_each_series_alone():
    train, validation = split(series(1, 40, 30), series(2, 16), series(3, 27, 20))
    expected = naive_slices(1, 30) + naive_slices(2, 16) + naive_slices(3, 20)
    np.testing.assert_array_equal(rows_of(train), expected)
    held_out = naive_slices(1, 40, first=30 - CONTEXT) + naive_slices(3, 27, first=20 - CONTEXT)
    np.testing.assert_array_equal(rows_of(validation), held_out)


@pytest.mark.parametrize("seed", range(20))
def test_no_window_reaches_into_another_series(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 60, size=6)
    every = []
    for number, n_rows in enumerate(lengths, 1):
        held_out = int(rng.integers(HORIZON, n_rows)) if n_rows > HORIZON and rng.random() < 0.5 else 0
        every.append(series(number, int(n_rows), int(n_rows) - held_out))
    try:
        train, validation = split(*every)
    except ValueError:
        assert all(one.n_training <= HORIZON for one in every)
        return
    for windows, held_out in ((train, False), (validation, True)):
        for row in [] if windows is None else rows_of(windows):
            shown = row[~np.isnan(row)]
            assert len(set(shown // 1000)) == 1
            np.testing.assert_array_equal(np.diff(shown), 1)  # consecutive rows, missing ones only before them
            assert not np.isnan(row[CONTEXT:]).any()
            boundary = every[int(shown[0] // 1000) - 1].n_training
            assert (row[CONTEXT] % 1000 >= boundary) if held_out else (row[-1] % 1000 < boundary)


@pytest.mark.parametrize(
    ("n_rows", "fill", "n_windows"),
    [
        (CONTEXT + HORIZON, 0, 1),
        (CONTEXT + HORIZON - 1, CONTEXT - HORIZON, CONTEXT - HORIZON),
        (2 * HORIZON, CONTEXT - HORIZON, 1),
        (HORIZON + 1, CONTEXT - 1, 1),
        (HORIZON, CONTEXT, 0),  # a future without a past
        (HORIZON - 1, CONTEXT, 0),
        (1, CONTEXT, 0),
    ],
)
def test_short_series_are_filled_up_before_their_first_row(n_rows, fill, n_windows):
    train, _ = split(series(1, 16), series(2, n_rows))
    short = [row for row in rows_of(train) if row[-1] >= 2000]
    assert len(short) == n_windows
    if n_windows:
        np.testing.assert_array_equal(short, naive_slices(2, n_rows, fill=fill))


def test_covariates_go_with_their_series():
    every = [
        series(number, n_rows, known=torch.arange(float(n_rows)).unsqueeze(1) + 1000 * number,
              static=torch.tensor([float(number), -number]))
        for number, n_rows in ((1, 20), (2, 9), (3, 30))
    ]  # fmt: skip
    train, _ = split(*every)
    past, future, covariates = train.gather(train.starts)
    for values, known in ((past[..., -1], covariates.known_past), (future[..., -1], covariates.known_future)):
        torch.testing.assert_close(values.nan_to_num(0), known[..., 0])  # filled up with 0 where the values are missing
    number = future[:, 0, 0] // 1000
    torch.testing.assert_close(covariates.static, torch.stack([number, -number], dim=1))
    alone, _ = split(every[0])
    assert alone.block is None
    assert alone.gather(alone.starts)[2].static.tolist() == [[1, -1]] * 5


def test_windows_without_an_observed_context_or_future_are_left_out():
    one = series(1, 60)
    one.values[20:40, 1] = torch.nan  # 20 rows: contexts and futures
    train, _ = split(one)
    expected = [
        row for row in rows_of(Windows(one.values, torch.arange(45), CONTEXT, HORIZON, 1))
        if not np.isnan(row[:CONTEXT]).all() and not np.isnan(row[CONTEXT:]).all()
    ]  # fmt: skip
    assert 0 < len(expected) < 45
    np.testing.assert_array_equal(rows_of(train), expected)
    # With a second target that is always observed every window counts; a past covariate does not count.
    assert len(split(one, n_targets=2)[0]) == 45
    one.values[:, 1] = torch.nan
    with pytest.raises(ValueError, match="no target is observed in a context of 12 rows and in the horizon of 4"):
        split(one)


def test_validation_without_a_target_is_none():
    one = series(1, 60, 40)
    one.values[40:, 1] = torch.nan
    assert split(one)[1] is None


@pytest.mark.parametrize("n_new", [1, 3, 10, 100])
def test_only_windows_with_new_targets(n_new):
    train, _ = split(series(1, 30), series(2, 14), series(3, 19), n_new=[n_new, 0, n_new])
    rows = rows_of(train)
    expected = [
        row
        for number, n_rows, fill, new in ((1, 30, 0, n_new), (2, 14, CONTEXT - HORIZON, 0), (3, 19, 0, n_new))
        for row in naive_slices(number, n_rows, fill=fill)
        if row[-1] % 1000 >= n_rows - new
    ]
    np.testing.assert_array_equal(rows, expected)


def draws(train, weights, passes=400):
    batches = WindowBatches(train.starts, 7, torch.Generator().manual_seed(0), weights)
    drawn = torch.cat([part.starts for _ in range(passes) for part in batches])
    assert len(drawn) == passes * len(train)
    return drawn


def test_series_are_drawn_as_often_as_each_other():
    train, _ = split(series(1, 75), series(2, 16), series(3, 45), series(4, HORIZON))  # 60, 1, 30 and no windows
    weights = train.equal_weights()
    by_block = torch.zeros(4).index_add_(0, train.block[train.starts], weights)
    torch.testing.assert_close(by_block, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    drawn = draws(train, weights)
    share = train.block[drawn].bincount(minlength=4) / len(drawn)
    torch.testing.assert_close(share, torch.tensor([1, 1, 1, 0]) / 3, atol=0.01, rtol=0)
    assert set(drawn.tolist()) == set(train.starts.tolist())  # no window is never drawn
    of_first = drawn[train.block[drawn] == 0].bincount()[:60] / len(drawn)
    torch.testing.assert_close(of_first, torch.full((60,), 1 / 180), atol=0.002, rtol=0)


def test_windows_are_drawn_once_in_every_pass():
    train, _ = split(series(1, 75), series(2, 16), series(3, 45))
    drawn = draws(train, None, passes=3)
    for one in drawn.split(len(train)):
        assert sorted(one.tolist()) == train.starts.tolist()
    assert drawn[:91].tolist() != drawn[91:182].tolist()


def test_one_series_is_drawn_evenly():
    train, _ = split(series(1, 30))
    torch.testing.assert_close(train.equal_weights(), torch.full((15,), 1 / 15))


def test_windows_move_to_another_device_whole():
    train, _ = split(series(1, 20, static=torch.ones(1)), series(2, 20, static=torch.zeros(1)))
    moved = train.to(torch.device("meta"))
    for tensor in (moved.values, moved.starts, moved.static, moved.block):
        assert tensor.device.type == "meta"
    assert len(moved) == len(train)


@pytest.mark.parametrize(("sampling", "expected"), [("windows", [90, 10]), ("series", [50, 50])])
def test_training_draws_as_configured(sampling, expected):
    train, _ = split(series(1, 105), series(2, 25))  # 90 and 10 windows
    config = TrainingConfig(sampling=sampling, horizon=HORIZON)
    network = LinTrans(2, 1, CONTEXT, HORIZON, LinTransConfig(d_model=4, n_heads=1, n_layers=1))
    module = ForecastingModule(network, config, train, None, torch.Generator().manual_seed(0))
    drawn = torch.cat([part.starts for _ in range(50) for part in module.train_dataloader()])
    counts = train.block[drawn].bincount() / 50
    torch.testing.assert_close(counts, torch.tensor(expected).float(), atol=0 if sampling == "windows" else 2, rtol=0)


def test_many_windows_take_little_beside_their_starts():
    """Fifty million rows on disk are trained on in 2 GB: no more than a few numbers of 8 bytes for each."""
    (peak,) = numbers_printed_by("""
import resource
import torch
from samovar_forecast.data.windows import Windows, window_cutoffs
from samovar_forecast.training.batches import WindowBatches
from samovar_forecast.training.split import split_windows

def first_step(n, gap):
    values = torch.ones(1).expand(n, 1)
    if gap:
        values = values.clone()
        values[5] = torch.nan
    every = Windows.before(window_cutoffs(n, n, 4, 2), values, 4, 2, 1)
    windows, validation = split_windows(every, [100])
    assert len(validation) == 99
    del every
    step = next(iter(WindowBatches(windows.starts, 8, torch.Generator().manual_seed(0))))
    assert len(step.starts) == 8

first_step(1000, True)  # what is set up once
n = 2**23
resource.setrlimit(resource.RLIMIT_DATA, (int(held()) + 5 * 8 * n,) * 2)
first_step(n, False)
first_step(n, True)
print(peak())
""", OMP_NUM_THREADS="1")  # fmt: skip
    assert peak > 0
