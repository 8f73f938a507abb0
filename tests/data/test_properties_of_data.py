"""The gate, the time axis and the scaling, tried on data that hypothesis makes up; nothing is trained."""

import numpy as np
import pandas as pd
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from samovar_forecast.data.frames import LARGEST, read_frame
from samovar_forecast.data.panel import read_panel
from samovar_forecast.data.scaling import LARGEST_SCALED, Scaler
from samovar_forecast.data.time_axis import continue_index, frequency_of
from tests.data.test_irregular_axes import applied, framed
from tests.made_up_data import OFFSETS, any_frames, calendar_dates, frames, regular_indices, thinned, values

settings.register_profile("samovar", deadline=None, print_blob=True, database=None)
settings.load_profile("samovar")


@settings(max_examples=800)
@given(any_frames())
@example(pd.DataFrame({"a": [1.0]}, index=pd.date_range("2024", periods=1)[::-1]))  # its freq is -1 day
@example(pd.DataFrame({"a": [1.0]}, index=pd.Index([250], dtype="uint8")))  # 250 + 6 is 0 there
def test_the_gate_refuses_or_gives_clean_numbers(data):
    kept = data.copy()
    try:
        frame = read_frame(data, "sales", missing=True)
    except (ValueError, TypeError) as error:
        assert "sales" in str(error)  # noqa: PT017  # both ways are right
        return
    finally:
        assert data.equals(kept)  # the gate changes nothing of the caller's
    given_frame = data.to_frame() if isinstance(data, pd.Series) else data
    assert (frame.dtypes == np.float64).all()
    assert frame.shape == given_frame.shape
    assert list(frame.columns) == list(given_frame.columns)
    numbers = frame.to_numpy()
    assert not (np.abs(numbers) > LARGEST).any()
    expected = np.array(
        [[np.nan if pd.isna(one) else float(one) for one in row] for row in given_frame.to_numpy(object)]
    )
    np.testing.assert_array_equal(numbers, expected)
    steps = np.diff(frame.index.asi8 if isinstance(frame.index, pd.DatetimeIndex) else frame.index.view("int64"))
    assert (steps > 0).all()
    ahead = continue_index(frame.index, frequency_of(frame.index), 3)
    assert len(ahead) == 3
    assert (ahead > frame.index[-1]).all()
    assert isinstance(ahead, (type(frame.index), pd.RangeIndex))


@settings(max_examples=400)
@given(st.data(), st.integers(3, 80), st.integers(1, 20))
def test_every_time_axis_goes_on_as_it_was(data, n_rows, n_ahead):
    index = data.draw(regular_indices(n_rows + n_ahead))
    seen = index[:n_rows]
    if isinstance(index, pd.DatetimeIndex) and index.freq is None:
        seen = pd.DatetimeIndex(seen, freq=None)
    frequency = frequency_of(seen)
    ahead = continue_index(seen, frequency, n_ahead)
    # A short stretch of one calendar may be one of another: five days may be business days.
    if (continue_index(index[:1], frequency, len(index) - 1) == index[1:]).all():
        assert list(ahead) == list(index[n_rows:])
    assert frequency_of(seen.append(ahead), default=frequency) == frequency
    assert getattr(ahead, "tz", None) == getattr(index, "tz", None)


def test_every_offset_of_pandas_is_tried():
    kinds = {getattr(pd.offsets, name) for name in dir(pd.offsets) if name[0].isupper()}
    abstract = {pd.offsets.BaseOffset, pd.offsets.Tick} if hasattr(pd.offsets, "BaseOffset") else {pd.offsets.Tick}
    assert {type(step) for step in OFFSETS} >= {kind for kind in kinds - abstract if kind is not pd.offsets.DateOffset}


@settings(max_examples=300)
@given(calendar_dates(40))
def test_every_calendar_of_pandas_goes_on_or_is_refused(dates):
    seen = dates[:30]
    try:
        step = frequency_of(seen)
    except ValueError as error:
        assert dates.freq is None  # a calendar that is told is taken
        event(f"refused: {str(error)[-30:]}")
        return
    ahead = continue_index(seen, step, 10)
    if dates.freq is not None:
        assert list(ahead) == list(dates[30:])
    assert list(continue_index(seen[:1], step, 29)) == list(seen[1:])
    assert frequency_of(seen.append(ahead), default=step) == step


@settings(max_examples=300)
@given(thinned(calendar_dates(30) | regular_indices(30)))
@example(pd.date_range("2024-01-01", periods=48, freq="h").delete(range(16, 32)))  # business hours to pandas
@example(pd.date_range("2020-01-01", periods=9, freq="3WOM-3WED"))  # monthly to pandas
@example(pd.date_range("2000-01-01", periods=240, freq="MS").delete(100))
def test_a_time_axis_with_gaps_is_named_and_filled_without_loss(index):
    """Where a step is found it generates exactly the labels; else the advice leads to a frame that has one."""
    data = framed(index)
    advice = 0
    while True:
        try:
            frame = read_frame(data, missing=True)
            break
        except ValueError as error:
            data, advice = applied(data, str(error)), advice + 1
            assert advice < 3
    event(f"advice {advice}")
    numbers = frame.to_numpy()
    assert sorted(numbers[~np.isnan(numbers)]) == sorted(framed(index).to_numpy().ravel())
    step = frequency_of(frame.index)
    assert list(continue_index(frame.index[:1], step, len(frame) - 1)) == list(frame.index[1:])


@settings(max_examples=200)
@given(st.data(), st.integers(1, 6))
def test_panels_in_any_form_are_the_same(data, n_series):
    parts = {}
    for number in range(n_series):
        n_rows = data.draw(st.integers(1, 30))
        made = data.draw(values(n_rows, 2, largest_exponent=30))
        parts[f"shop {number}"] = pd.DataFrame(made, pd.RangeIndex(number, number + n_rows), columns=["a", "b"])
    as_dict, stacked = read_panel(parts, missing=True), read_panel(pd.concat(parts), missing=True)
    assert list(as_dict.frames) == list(stacked.frames) == list(parts)
    for key, part in parts.items():
        pd.testing.assert_frame_equal(as_dict.frames[key], part, check_index_type=False)
        pd.testing.assert_frame_equal(stacked.frames[key], part, check_index_type=False)
    back = read_panel(stacked.layout.assemble(stacked.frames), missing=True)
    assert all(back.frames[key].equals(frame) for key, frame in stacked.frames.items())


def test_constants_of_any_size_stay_constant():
    """Their mean is off by a rounding, which another scale than their size would blow up: found with 3e139."""
    constants = np.tile([3e139, 0.3e-200, 1e9 + 0.1, -7.7e15], (7, 1))
    scaled = Scaler.fit(constants, "standard").transform(constants)
    assert (np.abs(scaled) < 1e-15).all()


@settings(max_examples=500)
@given(st.data(), st.integers(1, 60), st.sampled_from(["standard", "robust"]), st.sampled_from([30, 150, 299]))
def test_scaling_is_undone_and_never_overflows(data, n_rows, kind, largest_exponent):
    made = data.draw(values(n_rows, 3, largest_exponent=largest_exponent - 10))
    scaler = Scaler.fit(made, kind)
    assert np.isfinite(scaler.center).all()
    assert (np.isfinite(scaler.scale) & (scaler.scale > 0)).all()
    scaled = scaler.transform(made)
    assert (np.isnan(scaled) == np.isnan(made)).all()
    if kind == "standard":
        assert np.nanmax(np.abs(scaled), initial=0) <= np.sqrt(n_rows) * 1.001
    undone = scaler.inverse(scaled, 3)
    # Single precision holds 24 bits of the distance from the center, double precision 53 of the values.
    room = 1e-7 * np.abs(made - scaler.center) + 4e-16 * np.abs(made) + 1e-45 * scaler.scale
    assert (np.isnan(made) | (np.abs(undone - made) <= room)).all()


@settings(max_examples=300)
@given(st.data(), st.integers(2, 60), st.sampled_from(["standard", "robust"]))
def test_no_column_decides_a_loss_on_held_out_rows(data, n_rows, kind):
    made = data.draw(values(n_rows, 3, largest_exponent=10))
    held_out = made[3 * n_rows // 4 :]
    scaler = Scaler.fit(made[: 3 * n_rows // 4], kind)
    held_out[np.abs(held_out - scaler.center) > LARGEST_SCALED * scaler.scale] = np.nan  # `scale_frame` refuses them
    bounded = scaler.bounded_by(np.array_split(held_out, 2))
    assert (bounded.scale >= scaler.scale).all()
    np.testing.assert_array_equal(bounded.center, scaler.center)
    scaled = np.nan_to_num(bounded.transform(held_out).astype(np.float64))
    counts = np.maximum((~np.isnan(held_out)).sum(axis=0), 1)
    mean, square = scaled.sum(axis=0) / counts, (scaled**2).sum(axis=0) / counts
    assert (square <= 25.001).all()  # 5 scales from the center of training
    assert (square - mean**2 <= 9.001).all()  # and 3 in movement


@settings(max_examples=300)
@given(frames(gaps=True), st.sampled_from(["standard", "robust"]), st.integers(-200, 200))
def test_powers_of_two_change_no_scaled_bit(frame, kind, exponent):
    plain = frame.to_numpy()
    other = np.ldexp(plain, exponent)
    one, two = Scaler.fit(plain, kind), Scaler.fit(other, kind)
    np.testing.assert_array_equal(one.transform(plain), two.transform(other))
