"""What a model file holds, what writing one leaves, and what reading one refuses."""

import errno
import json
import os
import pickle
import resource
import signal
import stat
import sys
import warnings
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load as from_bytes

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.estimator import Forecaster
from samovar_forecast.files import model_content
from samovar_forecast.files.model_file import FORMAT_VERSION, LONGEST_HEADER, ModelFileError
from samovar_forecast.forecasters import ALL_FORECASTERS, AutoformerForecaster
from tests.conftest import TINY, suited, waves
from tests.files.test_model_content import DATA, change_header, header_of, panel_data, write_signed
from tests.peak_memory import numbers_printed_by


@pytest.fixture(scope="module")
def model():
    return SAMoVARForecaster(**TINY).fit(waves())


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def change_tensors(path, change):
    """Another set of tensors under a digest that fits."""
    tensors = from_bytes(path.read_bytes())
    change(tensors)
    write_signed(path, tensors, json.dumps(header_of(path)))


@pytest.mark.parametrize("kind", ["panel", "frame"])
def test_files_of_the_second_format_are_read(kind, tmp_path):
    file = DATA / f"model-format-2-{kind}.safetensors"
    assert header_of(file)["format"] == 2
    loaded = Forecaster.load(file)
    if kind == "panel":
        _, X, _ = panel_data()
        forecast = loaded.predict(X=X, horizon=8)
        assert loaded.context_length == 24
        assert loaded.calendar == ("hour", "dayofweek")
    else:
        X = None
        forecast = loaded.predict(horizon=8)
        assert loaded.columns_ == [("a", 1), ("a", 2), ("b", 1)]
        assert loaded.quantiles == (0.1, 0.5, 0.9)
    expected = pd.read_csv(file.with_suffix(".csv"))[-len(forecast) :].select_dtypes("float")
    np.testing.assert_allclose(forecast, expected, rtol=1e-6)
    loaded.save(tmp_path / "model")
    assert header_of(tmp_path / "model")["format"] == FORMAT_VERSION
    assert np.array_equal(Forecaster.load(tmp_path / "model").predict(X=X, horizon=8), forecast)


def test_wide_networks_of_format_5_had_the_published_width(tmp_path):
    y = waves(100, 16)
    wide = SAMoVARForecaster(**TINY | {"max_steps": 1, "d_model": 128}).fit(y)
    wide.save(tmp_path / "model")
    hyperparameters = header_of(tmp_path / "model")["hyperparameters"] | {"d_model": None}
    change_header(tmp_path / "model", format=5, hyperparameters=hyperparameters)
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "model").predict(), wide.predict())


def test_tuples_stay_tuples_and_lists_stay_lists(tmp_path):
    y = waves().set_axis([("a", 1), ("a", 2), "b"], axis=1)
    for targets in ([("a", 2), "b"], (("a", 2), "b"), None):
        settings = TINY | {"targets": targets, "calendar": ["hour"], "adam_betas": (0.9, 0.99), "max_steps": 1}
        settings |= {"quantiles": [0.2, 0.5, 0.8]}
        SAMoVARForecaster(**settings).fit(y).save(tmp_path / "model")
        loaded = SAMoVARForecaster.load(tmp_path / "model").get_params()
        assert {name: loaded[name] for name in settings} == settings
        assert [type(loaded[name]) for name in settings] == [type(value) for value in settings.values()]


def test_folders_of_the_machine_are_not_stored(tmp_path):
    settings = TINY | {"max_steps": 1, "logger": "csv", "log_dir": str(tmp_path / "logs")}
    fitted = SAMoVARForecaster(**settings, checkpoint_dir=str(tmp_path / "state")).fit(waves())
    fitted.save(tmp_path / "model")
    assert str(tmp_path).encode() not in (tmp_path / "model").read_bytes()
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    assert (loaded.logger, loaded.log_dir, loaded.checkpoint_dir) == (None, "logs", None)
    # Nor taken from a file that names them.
    hyperparameters = header_of(tmp_path / "model")["hyperparameters"]
    change_header(tmp_path / "model", hyperparameters=hyperparameters | {"checkpoint_dir": "/", "logger": "csv"})
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    assert (loaded.logger, loaded.log_dir, loaded.checkpoint_dir) == (None, "logs", None)


def test_versions_are_stored(path):
    versions = header_of(path)["versions"]
    assert {"samovar-forecast", "torch", "numpy", "pandas", "python", "safetensors"} == set(versions)
    assert versions["numpy"] == np.__version__


@pytest.mark.parametrize("number", [FORMAT_VERSION + 1, 10**30])
def test_newer_formats_are_refused_with_what_to_do(path, number):
    change_header(path, format=number)
    with pytest.raises(ModelFileError, match=rf"has format {number}, and samovar-forecast .* update samovar-forecast"):
        Forecaster.load(path)


def test_a_digest_covers_the_header_too(path):
    """Not the weights alone: a context, a scale or a column's name that changed would go unnoticed."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    for text in (b'"horizon\\": 8', b"s1", b"SAMoVARForecaster", b'"n_rows\\": 3', b'"format\\": 6'):
        at = content.index(text) + len(text) - 1
        assert at < length
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="damaged"):
            Forecaster.load(path)


def test_a_file_without_a_digest_is_refused(path):
    write_signed(path, from_bytes(path.read_bytes()), json.dumps(header_of(path)), signed=False)
    with pytest.raises(ModelFileError, match="damaged"):
        Forecaster.load(path)


@pytest.mark.parametrize("cls", ALL_FORECASTERS, ids=lambda cls: cls.__name__)
def test_networks_larger_than_their_file_are_not_built(cls, tmp_path):
    """Every hyperparameter that is a number, far too large: refused in no time and no memory, or of no effect."""
    fitted = cls(**suited(TINY, cls)).fit(waves())
    fitted.save(tmp_path / "model")
    content, header = (tmp_path / "model").read_bytes(), header_of(tmp_path / "model")
    numbers = [name for name, value in header["hyperparameters"].items() if type(value) is int]
    assert {"horizon", "context_length"} < set(numbers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in (*numbers, "output"):
        for huge in (10**5, 10**9, 10**18, 10**40, -1):
            changes = {"hyperparameters": header["hyperparameters"] | {name: huge}}
            if name == "output":
                changes = {"lengths": header["lengths"] | {"output": huge}}
            if name == "context_length":
                changes["lengths"] = header["lengths"] | {"context": huge}
            (tmp_path / "model").write_bytes(content)
            change_header(tmp_path / "model", **changes)
            try:
                loaded = Forecaster.load(tmp_path / "model")
            except ModelFileError:
                assert torch.is_grad_enabled()
                continue
            assert name not in ("d_model", "n_layers", "n_heads")
            # Autoformer's weights depend neither on the context nor on the output; to a long horizon, forecasts roll.
            if name in ("context_length", "output", "horizon"):
                assert huge == 10**5
                assert cls is AutoformerForecaster or name == "horizon"
                continue
            weights = loaded.network_.state_dict()
            assert all(torch.equal(weights[key], value) for key, value in fitted.network_.state_dict().items())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def replaced(tensors, name, by):
    del tensors[name]
    if by is not None:
        tensors[name] = by


def test_giving_up_at_any_call_leaves_pytorch_as_it_was(path, monkeypatch):
    """The bound may be reached while a block inside the network's constructor is being left."""
    refused = 0
    for calls in range(8):
        monkeypatch.setattr(model_content, "_CALLS_PER_TENSOR", calls)
        try:
            Forecaster.load(path)
        except ModelFileError:
            refused += 1
        assert torch.is_grad_enabled()
        assert torch.get_default_device() == torch.device("cpu")
    assert 4 < refused < 8


def test_tensors_must_have_their_sizes(path):
    content = path.read_bytes()
    for name, tensor in from_bytes(path.read_bytes()).items():
        if name == "sha256":
            continue
        wrong = [tensor.reshape(*tensor.shape, 1), tensor.to(torch.int32), tensor.to(torch.bfloat16)]
        for replacement in [*wrong, None]:
            path.write_bytes(content)
            change_tensors(path, partial(replaced, name=name, by=replacement))
            with pytest.raises(ModelFileError, match="is not a complete model file"):
                Forecaster.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_refused(path, value):
    def change(tensors):
        name = next(name for name in tensors if name.startswith("network."))
        tensors[name].view(-1)[0] = value

    change_tensors(path, change)
    with pytest.raises(ModelFileError, match="are not finite"):
        Forecaster.load(path)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", ZoneInfo("UTC"), timezone(timedelta(hours=5, minutes=30))])
def test_time_zones_survive(tmp_path, zone):
    index = pd.date_range("2024-03-29", periods=60, freq="h", tz=zone)
    fitted = SAMoVARForecaster(**TINY | {"max_steps": 1}).fit(waves(60, index=index))
    fitted.save(tmp_path / "model")
    forecast = SAMoVARForecaster.load(tmp_path / "model").predict()
    assert list(forecast.index) == list(fitted.predict().index)
    assert forecast.index[0].utcoffset() == fitted.predict().index[0].utcoffset()


@pytest.mark.parametrize("zone", ["dateutil//etc/passwd", "../../etc/passwd", "/etc/localtime", "tzlocal()", "Nowhere"])
def test_time_zones_are_no_paths(path, zone):
    described = header_of(path)["series"]
    described[0]["index"]["zone"] = zone
    change_header(path, series=described)
    with pytest.raises(ModelFileError, match="names no time zone"):
        Forecaster.load(path)


def test_headers_of_any_shape_are_refused(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    texts = {
        "nested": b'{"__metadata__":{"samovar_forecast":"' + b"[" * 100_000 + b'"}}',
        "outside": b"[" * 100_000,
        "twice": b'{"__metadata__":{"samovar_forecast":"{\\"format\\": 3, \\"format\\": 3}"}}',
        "no text": b'{"__metadata__":{"samovar_forecast":3}}',
        "utf-8": b'{"__metadata__":{"samovar_forecast":"\xff\xfe"}}',
        "a number": b'{"__metadata__":{"samovar_forecast":"3"}}',
        "long number": b'{"__metadata__":{"samovar_forecast":"{\\"format\\": ' + b"9" * 10_000 + b'}"}}',
    }
    for text in texts.values():
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        with pytest.raises(ModelFileError):
            Forecaster.load(path)
    for claimed in (LONGEST_HEADER + 1, 2**63, 2**64 - 1, len(content), 0):
        path.write_bytes(claimed.to_bytes(8, "little") + content[8:])
        with pytest.raises(ModelFileError):
            Forecaster.load(path)


@pytest.mark.parametrize("recursion_limit", [1_000, 5_000])  # a compiled network raises it in its process
def test_deeply_nested_names_are_refused(path, request, recursion_limit):
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(recursion_limit)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + length])
    for opening, closing in (('{"tuple": [', "]}"), ("[", "]")):
        header = outer["__metadata__"]["samovar_forecast"]
        header = header.replace('"columns": ["s0"', f'"columns": [{opening * 900}"s0"{closing * 900}')
        write_signed(path, from_bytes(content), header)
        with pytest.raises(ModelFileError):
            Forecaster.load(path)


def test_names_too_deep_for_a_file_are_not_saved(tmp_path):
    name = "s0"
    for _ in range(20):
        name = (name,)
    forecaster = SAMoVARForecaster(**TINY).fit({name: waves(), "other": waves()})
    with pytest.raises(TypeError, match="nested more than 16 deep; rename"):
        forecaster.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_pickle_is_not_opened(tmp_path):
    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "broken_in"),))

    (tmp_path / "model").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ModelFileError, match="is not a model file"):
        Forecaster.load(tmp_path / "model")
    torch.save(Payload(), tmp_path / "model")
    with pytest.raises(ModelFileError, match="is not a model file"):
        Forecaster.load(tmp_path / "model")
    assert not (tmp_path / "broken_in").exists()


def test_reading_takes_no_more_than_twice_the_file(tmp_path):
    sizes = []
    for name, d_model in (("small", 512), ("large", 1024)):
        settings = TINY | {"d_model": d_model, "n_heads": 8, "n_layers": 4, "max_steps": 1, "batch_size": 2}
        SAMoVARForecaster(**settings).fit(waves()).save(tmp_path / name)
        sizes.append((tmp_path / name).stat().st_size)
    # Each in a process of its own, whose heap gives back what is freed: what it keeps would count as held.
    small, large = (
        numbers_printed_by(
            f"""
from samovar_forecast import SAMoVARForecaster
SAMoVARForecaster.load({str(tmp_path / name)!r})
print(peak())
""",
            MALLOC_MMAP_THRESHOLD_="65536",
        )[0]
        for name in ("small", "large")
    )
    # What libraries take for themselves differs by machine and is in both.
    assert sizes[1] - sizes[0] > 1e8
    assert large - small < 2.1 * (sizes[1] - sizes[0])


def test_the_same_model_gives_the_same_file(model, path):
    content = path.read_bytes()
    for _ in range(5):
        model.save(path)
        assert path.read_bytes() == content


def test_links_stay_and_lead_to_the_new_file(model, path, tmp_path):
    (tmp_path / "versions").mkdir()
    target, link = tmp_path / "versions" / "1", tmp_path / "current"
    link.symlink_to(target)
    model.save(link)  # it may point to nothing yet
    assert link.is_symlink()
    assert target.read_bytes() == path.read_bytes() == link.read_bytes()
    target.write_bytes(b"old")
    model.save(link)
    assert link.is_symlink()
    assert np.array_equal(Forecaster.load(target).predict(), model.predict())
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["1", "current", "model", "versions"]


def test_permissions_stay(model, path):
    for mode in (0o600, 0o640, 0o444):
        path.chmod(mode)
        model.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_any_other(model, tmp_path):
    before = os.umask(0o027)
    try:
        model.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


def test_what_is_no_file_is_refused(model, path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="is no regular file"):
            Forecaster.load(place)
        with pytest.raises(OSError, match="is no regular file"):
            model.save(place)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.save(tmp_path / "missing" / "model")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model", "pipe"]


def test_long_names_of_files(model, tmp_path):
    model.save(tmp_path / ("m" * 255))
    assert np.array_equal(Forecaster.load(tmp_path / ("m" * 255)).predict(), model.predict())


def test_a_full_disk_leaves_the_old_model(path):
    """The system refuses to write more than half of the new file; see also studies/kill_test.py."""
    content = path.read_bytes()
    newer = SAMoVARForecaster(**TINY | {"random_state": 1}).fit(waves())
    child = os.fork()
    if not child:
        outcome = 0
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, resource.RLIM_INFINITY))
            newer.save(path)
        except OSError as error:
            outcome = error.errno
        finally:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EFBIG
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_loading_warns_of_nothing_and_draws_no_numbers(path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Forecaster.load(path)
    assert torch.equal(torch.rand(2), expected)
