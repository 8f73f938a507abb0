"""The public sktime forecasters: each is a network's hyperparameters joined with the sktime contract."""

from __future__ import annotations

import samovar_forecast
from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.networks.fixedvar import FixedVARConfig
from samovar_forecast.networks.lintrans import LinTransConfig
from samovar_forecast.networks.samovar import SAMoVARConfig
from samovar_sktime.base import SktimeForecaster

__all__ = ["FixedVARForecaster", "LinTransForecaster", "SAMoVARForecaster"]


@hyperparameters
class SAMoVARForecaster(SAMoVARConfig, SktimeForecaster):
    """SAMoVAR for sktime: linear attention realigned as an exact, readable vector autoregression.

    References
    ----------
    Lu & Yang, "Linear Transformers as VAR Models", ICML 2025, arXiv 2502.07244.

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

    References
    ----------
    Lu & Yang, "Linear Transformers as VAR Models", ICML 2025, arXiv 2502.07244.

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

    References
    ----------
    Lu & Yang, "Linear Transformers as VAR Models", ICML 2025, arXiv 2502.07244.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from samovar_sktime import FixedVARForecaster
    >>> forecaster = FixedVARForecaster(horizon=12, context_length=36, max_epochs=1, random_state=0)
    >>> len(forecaster.fit_predict(load_airline(), fh=range(1, 13)))
    12
    """

    core_class = samovar_forecast.FixedVARForecaster
