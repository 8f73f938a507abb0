"""What a fitted forecaster keeps of a series, and the contexts that it forecasts from."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.panel import Layout
from samovar_forecast.data.scaling import Scaler


@dataclass
class FittedSeries:
    """What is kept of one series of the training data.

    Attributes
    ----------
    history : DataFrame
        The newest rows, from which `predict` continues, as many as an update needs.
    known : DataFrame or None
        The known covariates of those rows.
    scaler : Scaler
        Scaling of the columns.
    static : ndarray or None
        Covariates constant in time, scaled: (n_static,).
    """

    history: pd.DataFrame
    known: pd.DataFrame | None
    scaler: Scaler
    static: NDArray[np.float32] | None = None


class Contexts(NamedTuple):
    """The newest context of every series, block behind block, each with the known covariates up to the last step.

    Shape
    -----
    values : (n_series * (context_length + steps), n_columns), NaN behind the cutoffs
    known : the same number of rows, n_known; or None
    static : (n_series, n_static) or None
    cutoffs : (n_series,)
    """

    keys: list[Hashable]
    values: Tensor
    known: Tensor | None
    static: Tensor | None
    cutoffs: Tensor
    futures: list[pd.Index]
    scalers: list[Scaler]
    layout: Layout
