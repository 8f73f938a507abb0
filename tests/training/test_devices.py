"""Which arithmetic a device is given."""

import warnings

import pytest
import torch

from samovar_forecast.training.devices import resolve_precision

CPU = torch.device("cpu")


def test_a_processor_that_emulates_bfloat16_says_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match="emulates bfloat16"):
        assert resolve_precision("bf16-mixed", CPU, 10) == "bf16-mixed"


@pytest.mark.parametrize(
    ("native", "steps", "expected"),
    [(True, 5_000, "bf16-mixed"), (True, 4_999, "32-true"), (False, 10**6, "32-true")],
)
def test_long_trainings_take_bfloat16_where_the_processor_multiplies_it(monkeypatch, native, steps, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: native)
    assert resolve_precision("auto", CPU, steps) == expected
    assert resolve_precision("32-true", CPU, steps) == "32-true"


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [("auto", "AVX2", "32-true"), ("32-true", "AVX2", "32-true"), ("bf16-mixed", "AVX512", "bf16-mixed")],
)
def test_all_else_is_silent(monkeypatch, name, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for asked in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, asked, lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_precision(name, CPU, 10_000) == expected
