"""Deep forecasters for multivariate time series, at home in pandas, sktime and darts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_forecast.forecasters import (
        AutoformerForecaster,
        FixedVARForecaster,
        LinearAttentionForecaster,
        LinTransForecaster,
        PSFAttentionForecaster,
        SAMformerForecaster,
        SAMoVARForecaster,
    )

__all__ = [
    "AutoformerForecaster",
    "FixedVARForecaster",
    "LinTransForecaster",
    "LinearAttentionForecaster",
    "PSFAttentionForecaster",
    "SAMformerForecaster",
    "SAMoVARForecaster",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import PyTorch with the first forecaster asked for: the command line and its help start without it."""
    if name in __all__:
        from samovar_forecast import forecasters

        return getattr(forecasters, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
