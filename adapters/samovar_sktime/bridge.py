"""From a forecaster of samovar-forecast to its sktime twin."""

from __future__ import annotations

import copy
from dataclasses import fields, is_dataclass
from typing import Any

from samovar_forecast.estimator import Forecaster
from samovar_forecast.hyperparameters import description_of, hyperparameters
from samovar_forecast.training.config import TrainingConfig
from samovar_sktime.base import SktimeForecaster


def from_core(core: Forecaster) -> SktimeForecaster:
    """The native sktime forecaster with the same hyperparameters and, when fitted, the same weights.

    The weights come along as pretrained state: they survive `clone`, and `fit(y)` takes in `y` as history and
    keeps them, so that every tool of sktime that refits forecasts zero-shot. `reset` drops them.

    Parameters
    ----------
    core : Forecaster
        Fitted or not; it is copied. A class of your own gets its sktime class by `forecaster_class_for`.

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
    fitted = hasattr(core, "fitted_")
    values = core.fitted_.hyperparameters if fitted else core.get_params(deep=False)
    forecaster = forecaster_class_for(type(core))(**copy.deepcopy(dict(values)))
    if fitted:
        forecaster._carry_weights(core)
    return forecaster


def forecaster_class_for(core_class: type[Forecaster]) -> type[SktimeForecaster]:
    """The sktime class of a forecaster class: the one that names it as its `core_class`, else one made from it.

    Parameters
    ----------
    core_class : type
        A forecaster of this package, or a subclass of `Forecaster` of your own.
    """
    waiting = list(SktimeForecaster.__subclasses__())
    while waiting:
        cls = waiting.pop()
        if vars(cls).get("core_class") is core_class:
            return cls
        waiting += cls.__subclasses__()
    configs = [cls for cls in core_class.__mro__ if is_dataclass(cls) and not issubclass(cls, Forecaster)]
    bases = tuple(cls for cls in configs if cls is not TrainingConfig)
    inherited = {field.name for cls in bases for field in fields(cls)}
    own = [field for field in fields(core_class) if field.name not in inherited or _default_differs(field, bases)]
    namespace: dict[str, Any] = {
        "__doc__": description_of(core_class),
        "__module__": core_class.__module__,
        "__annotations__": {field.name: field.type for field in own},
        "__reduce__": _reduce,  # the class can be found again by the class that it was made from, and by no name
        "core_class": core_class,
        **{field.name: field.default for field in own},
    }
    return hyperparameters(type(core_class.__name__, (*bases, SktimeForecaster), namespace))


def _default_differs(field: Any, bases: tuple[type, ...]) -> bool:
    defaults = [one.default for cls in bases for one in fields(cls) if one.name == field.name]
    return bool(defaults) and defaults[0] != field.default


def _reduce(self: SktimeForecaster) -> tuple[Any, ...]:
    return _restored, (self.core_class, self.__dict__)


def _restored(core_class: type[Forecaster], state: dict[str, Any]) -> SktimeForecaster:
    cls = forecaster_class_for(core_class)
    forecaster = cls.__new__(cls)
    forecaster.__dict__.update(state)
    return forecaster
