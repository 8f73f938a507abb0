"""The public forecasters: each is a network's hyperparameters joined with the engine."""

from __future__ import annotations

from samovar_forecast.estimator import Forecaster
from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.recipes import AutoformerRecipe, SAMformerRecipe, SmallNetworkRecipe


@hyperparameters
class SAMoVARForecaster(SAMoVARConfig, Forecaster):
    """SAMoVAR: linear attention realigned as an exact, readable vector autoregression.

    The choice for multivariate series with long history, where you want to see which past segment of which
    series drives the forecast (`explain`).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=400, freq="h")
    >>> y = pd.DataFrame({"load": np.sin(np.arange(400) / 24 * 6.28)}, index=index)
    >>> forecaster = SAMoVARForecaster(horizon=24, context_length=96, max_epochs=1, random_state=0).fit(y)
    >>> forecaster.predict().shape
    (24, 1)
    """

    network_class = SAMoVAR


@hyperparameters
class LinTransForecaster(LinTransConfig, Forecaster):
    """LinTrans: a transformer with plain linear attention on the tokens of SAMoVAR.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> LinTransForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y).predict().shape
    (12,)
    """

    network_class = LinTrans


@hyperparameters
class FixedVARForecaster(FixedVARConfig, Forecaster):
    """FixedVAR: SAMoVAR with autoregressive weights that are the same for every window.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> FixedVARForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y).predict().shape
    (12,)
    """

    network_class = FixedVAR


@hyperparameters
class SAMformerForecaster(SAMformerConfig, SAMformerRecipe, Forecaster):
    """SAMformer: one small layer of attention over the series, trained with sharpness-aware minimisation.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> SAMformerForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y).predict().shape
    (12,)
    """

    network_class = SAMformer


@hyperparameters
class LinearAttentionForecaster(LinearAttentionConfig, SmallNetworkRecipe, Forecaster):
    """Linear Attention Transformer: patches of each series as tokens, at a cost linear in the length of the context.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> LinearAttentionForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y).predict().shape
    (12,)
    """

    network_class = LinearAttentionTransformer


@hyperparameters
class AutoformerForecaster(AutoformerConfig, AutoformerRecipe, Forecaster):
    """Autoformer: series taken apart into trend and season, and periods found by auto-correlation.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=400, freq="h")
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), index=index, name="load")
    >>> forecaster = AutoformerForecaster(horizon=12, context_length=48, d_model=16, max_epochs=1, random_state=0)
    >>> forecaster.fit(y).calendar_
    ['hour', 'dayofweek', 'day', 'dayofyear']
    """

    network_class = Autoformer


@hyperparameters
class PSFAttentionForecaster(PSFAttentionConfig, SmallNetworkRecipe, Forecaster):
    """PSF-Attn: every step can reach every earlier one through a product of a few sparse factors.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> PSFAttentionForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y).predict().shape
    (12,)
    """

    network_class = PSFAttention


ALL_FORECASTERS: tuple[type[Forecaster], ...] = (
    SAMoVARForecaster,
    LinTransForecaster,
    FixedVARForecaster,
    SAMformerForecaster,
    AutoformerForecaster,
    LinearAttentionForecaster,
    PSFAttentionForecaster,
)
