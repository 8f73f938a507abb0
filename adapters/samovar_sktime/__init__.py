"""The forecasters of samovar-forecast as native sktime forecasters."""

try:
    import sktime  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "sktime":
        raise
    raise ImportError('samovar_sktime needs sktime: pip install "samovar-forecast[sktime]"') from _error

from samovar_sktime.bridge import from_core
from samovar_sktime.forecasters import (
    AutoformerForecaster,
    FixedVARForecaster,
    LinearAttentionForecaster,
    LinTransForecaster,
    PSFAttentionForecaster,
    SAMformerForecaster,
    SAMoVARForecaster,
    all_forecasters,
)

__all__ = [
    "AutoformerForecaster",
    "FixedVARForecaster",
    "LinTransForecaster",
    "LinearAttentionForecaster",
    "PSFAttentionForecaster",
    "SAMformerForecaster",
    "SAMoVARForecaster",
    "all_forecasters",
    "from_core",
]
