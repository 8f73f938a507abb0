"""The public sktime forecasters, and the list of them: each is a network's hyperparameters joined with the contract."""

from __future__ import annotations

from typing import Any

from skbase.lookup import all_objects

import samovar_forecast
from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.networks.autoformer import AutoformerConfig
from samovar_forecast.networks.fixedvar import FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig
from samovar_forecast.networks.lintrans import LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVARConfig
from samovar_forecast.training.recipes import AutoformerRecipe, SAMformerRecipe, SmallNetworkRecipe
from samovar_sktime.base import SktimeForecaster


@hyperparameters
class SAMoVARForecaster(SAMoVARConfig, SktimeForecaster):
    """SAMoVAR for sktime: linear attention realigned as an exact, readable vector autoregression.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import SAMoVARForecaster
    >>> y = load_airline()
    >>> forecaster = SAMoVARForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> forecaster.fit(y).predict(fh=[1, 2, 12]).index.astype(str).tolist()
    ['1961-01', '1961-02', '1961-12']
    """

    core_class = samovar_forecast.SAMoVARForecaster


@hyperparameters
class LinTransForecaster(LinTransConfig, SktimeForecaster):
    """LinTrans for sktime: a transformer with plain linear attention on the tokens of SAMoVAR.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import LinTransForecaster
    >>> forecaster = LinTransForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.LinTransForecaster


@hyperparameters
class FixedVARForecaster(FixedVARConfig, SktimeForecaster):
    """FixedVAR for sktime: SAMoVAR with autoregressive weights that are the same for every window.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import FixedVARForecaster
    >>> forecaster = FixedVARForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.FixedVARForecaster


@hyperparameters
class SAMformerForecaster(SAMformerConfig, SAMformerRecipe, SktimeForecaster):
    """SAMformer for sktime: attention over the series, trained with sharpness-aware minimisation.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import SAMformerForecaster
    >>> forecaster = SAMformerForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.SAMformerForecaster


@hyperparameters
class LinearAttentionForecaster(LinearAttentionConfig, SmallNetworkRecipe, SktimeForecaster):
    """Linear Attention Transformer for sktime: patches as tokens, at a cost linear in the length of the context.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import LinearAttentionForecaster
    >>> forecaster = LinearAttentionForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.LinearAttentionForecaster


@hyperparameters
class AutoformerForecaster(AutoformerConfig, AutoformerRecipe, SktimeForecaster):
    """Autoformer for sktime: series taken apart into trend and season, and periods found by auto-correlation.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import AutoformerForecaster
    >>> forecaster = AutoformerForecaster(horizon=12, context_length=36, d_model=16, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.AutoformerForecaster


@hyperparameters
class PSFAttentionForecaster(PSFAttentionConfig, SmallNetworkRecipe, SktimeForecaster):
    """PSF-Attn for sktime: every step can reach every earlier one through a product of a few sparse factors.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import PSFAttentionForecaster
    >>> forecaster = PSFAttentionForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.PSFAttentionForecaster


def all_forecasters(
    filter_tags: str | list[str] | dict[str, Any] | None = None,
) -> list[tuple[str, type[SktimeForecaster]]]:
    """Names and classes of the forecasters of this package, as `sktime.registry.all_estimators` gives sktime's.

    Parameters
    ----------
    filter_tags : str, list of str, dict or None
        Only classes with these tags set, or with these values of tags.

    Examples
    --------
    >>> [name for name, _ in all_forecasters({"capability:multivariate": True})]
    ['AutoformerForecaster', ..., 'SAMoVARForecaster']
    """
    found: list[tuple[str, type[SktimeForecaster]]] = all_objects(
        object_types=SktimeForecaster,
        filter_tags=filter_tags,
        exclude_objects=[SktimeForecaster.__name__],
        package_name="samovar_sktime",
    )
    return found
