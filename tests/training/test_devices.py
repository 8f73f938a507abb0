"""Which arithmetic a device is given."""

import warnings

import pytest
import torch

from samovar_forecast.training.devices import resolve_precision

CPU = torch.device("cpu")


def test_a_processor_that_emulates_bfloat16_says_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match="emulates bfloat16"):
        assert resolve_precision("bf16-mixed", CPU) == "bf16-mixed"


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [("auto", "AVX2", "32-true"), ("32-true", "AVX2", "32-true"), ("bf16-mixed", "AVX512", "bf16-mixed")],
)
def test_all_else_is_silent(monkeypatch, name, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_precision(name, CPU) == expected
