"""The public models: each is a network's hyperparameters joined with darts' torch models."""

from __future__ import annotations

from samovar_darts.base import DartsModel
from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.recipes import AutoformerRecipe, SAMformerRecipe, SmallNetworkRecipe


class SAMoVARModel(DartsModel, SAMoVARConfig):
    """SAMoVAR as a darts model: linear attention realigned as an exact vector autoregression.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = SAMoVARModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class = SAMoVAR


class LinTransModel(DartsModel, LinTransConfig):
    """LinTrans as a darts model: a transformer with plain linear attention on the tokens of SAMoVAR.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = LinTransModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class = LinTrans


class FixedVARModel(DartsModel, FixedVARConfig):
    """FixedVAR as a darts model: SAMoVAR with autoregressive weights that are the same for every window.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = FixedVARModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class = FixedVAR


class SAMformerModel(DartsModel, SAMformerConfig):
    """SAMformer as a darts model: attention over the series, trained with sharpness-aware minimisation.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = SAMformerModel(48, 12, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class, recipe = SAMformer, SAMformerRecipe


class LinearAttentionModel(DartsModel, LinearAttentionConfig):
    """Linear Attention Transformer as a darts model: patches as tokens, at a cost linear in the input chunk's length.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = LinearAttentionModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class, recipe = LinearAttentionTransformer, SmallNetworkRecipe


class AutoformerModel(DartsModel, AutoformerConfig):
    """Autoformer as a darts model: series taken apart into trend and season, periods found by auto-correlation.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = AutoformerModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class, recipe = Autoformer, AutoformerRecipe


class PSFAttentionModel(DartsModel, PSFAttentionConfig):
    """PSF-Attn as a darts model: every step can reach every earlier one through a product of a few sparse factors.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    >>> model = PSFAttentionModel(48, 12, d_model=16, n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)
    >>> model.fit(sine_timeseries(length=200, value_frequency=1 / 24)).predict(24).shape
    (24, 1, 1)
    """

    network_class, recipe = PSFAttention, SmallNetworkRecipe


ALL_MODELS: tuple[type[DartsModel], ...] = (
    SAMoVARModel,
    LinTransModel,
    FixedVARModel,
    SAMformerModel,
    AutoformerModel,
    LinearAttentionModel,
    PSFAttentionModel,
)
