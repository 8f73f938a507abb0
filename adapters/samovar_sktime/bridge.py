"""From a forecaster of samovar-forecast to its sktime twin."""

from __future__ import annotations

import copy

from samovar_forecast.estimator import Forecaster
from samovar_sktime.base import SktimeForecaster
from samovar_sktime.registry import all_forecasters


def from_core(core: Forecaster) -> SktimeForecaster:
    """The native sktime forecaster with the same hyperparameters and, when fitted, the same weights.

    The weights come along as pretrained state: they survive `clone`, and `fit(y)` takes in `y` as history and
    keeps them, so that every tool of sktime that refits forecasts zero-shot. `reset` drops them.

    Parameters
    ----------
    core : Forecaster
        Fitted or not; it is copied.

    Raises
    ------
    TypeError
        If there is no sktime forecaster for the class.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from samovar_forecast import SAMoVARForecaster
    >>> y = pd.Series(np.sin(np.arange(400) / 24 * 6.28), name="load")
    >>> core = SAMoVARForecaster(horizon=12, context_length=48, max_epochs=1, random_state=0).fit(y)
    >>> forecaster = from_core(core)
    >>> forecaster.state
    'pretrained'
    >>> bool((forecaster.fit(y).predict(fh=range(1, 13)) == core.predict()).all())
    True
    """
    classes = {cls.core_class: cls for _, cls in all_forecasters()}
    if type(core) not in classes:
        known = sorted(core_class.__name__ for core_class in classes)
        raise TypeError(f"{type(core).__name__} has no sktime forecaster; these have one: {known}")
    fitted = hasattr(core, "fitted_")
    hyperparameters = core.fitted_.hyperparameters if fitted else core.get_params(deep=False)
    forecaster = classes[type(core)](**copy.deepcopy(dict(hyperparameters)))
    if fitted:
        forecaster._carry_weights(core)
    return forecaster
