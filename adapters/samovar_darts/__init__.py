"""SAMoVAR and its relatives as native darts models."""

try:
    from darts.utils.data.torch_datasets.utils import PLModuleInput  # noqa: F401  # darts 0.48, with PyTorch
except ImportError as _error:
    raise ImportError(
        'samovar_darts needs darts 0.48 and its PyTorch part: pip install "samovar-forecast[darts]"'
    ) from _error

from darts.utils.serialization import add_safe_globals

from samovar_darts.frames import series_from_frame
from samovar_darts.models import (
    ALL_MODELS,
    AutoformerModel,
    FixedVARModel,
    LinearAttentionModel,
    LinTransModel,
    PSFAttentionModel,
    SAMformerModel,
    SAMoVARModel,
)
from samovar_darts.network_module import NetworkModule
from samovar_darts.recipe import CalendarEncoder, Schedule

__all__ = [
    "AutoformerModel",
    "FixedVARModel",
    "LinTransModel",
    "LinearAttentionModel",
    "PSFAttentionModel",
    "SAMformerModel",
    "SAMoVARModel",
    "series_from_frame",
]

# darts unpickles a saved model only from classes that are registered
add_safe_globals(
    [NetworkModule, CalendarEncoder, Schedule, *ALL_MODELS, *(model.network_class for model in ALL_MODELS)]
)
