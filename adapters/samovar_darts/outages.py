"""Components without a value in their input chunk: their last known level stands in for a forecast, as in the core."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import QuantileRegression, TorchLikelihood
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ChunkOutages:
    """Which components of which input chunks have no value, and what stands in for their forecasts.

    Attributes
    ----------
    dead : ndarray
        Whether a component has no value in an input chunk.
    level : ndarray
        Its last value before, in the units of the series; NaN where there is none.
    center, deviation : ndarray
        Of each component in training, on the scale of the network: what stands in where no level is known, and how
        far off it may be.

    Shape
    -----
    dead, level : (n_chunks, n_components)
    center, deviation : (n_components,)
    """

    dead: NDArray[np.bool_]
    level: NDArray[np.float64]
    center: NDArray[np.float64]
    deviation: NDArray[np.float64]


def find_outages(
    series: Sequence[TimeSeries], cutoffs: Sequence[NDArray[np.int64]], input_chunk_length: int, training: Any
) -> ChunkOutages | None:
    """The outages of input chunks that end before given rows of each series; None where there is none.

    Parameters
    ----------
    series : sequence of TimeSeries
    cutoffs : sequence of ndarray
        For each series the row numbers of the first steps to forecast.
    input_chunk_length : int
    training : dict
        What was seen in training; see `seen_of`.

    Warns
    -----
    UserWarning
        Names every such component.
    """
    parts = []
    for number, (one, ends) in enumerate(zip(series, cutoffs, strict=True)):
        values = one.all_values(copy=False)[:, :, 0].astype(np.float64)
        rows = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
        newest = np.maximum.accumulate(rows)[ends - 1]  # the newest observed row up to each cutoff
        dead = newest < (ends - input_chunk_length)[:, None].clip(0)
        level = np.where(newest >= 0, np.take_along_axis(values, newest.clip(0), axis=0), np.nan)
        parts.append((dead, level))
        for component in np.flatnonzero(dead.any(0)):
            count = int(dead[:, component].sum())
            of_all = "" if len(ends) == 1 else f" {count} of {len(ends)} times"
            warnings.warn(
                f"series[{number}] component {one.components[component]!r} has no value in the {input_chunk_length} "
                f"rows before the forecast{of_all}: its last known level stands in, with intervals as wide as the "
                "series",
                stacklevel=4,
            )
    dead, level = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not dead.any():
        return None
    n_components = dead.shape[1]
    center, deviation = (
        np.broadcast_to(np.asarray(training.get(name, default), dtype=np.float64), n_components)
        for name, default in (("center", 0.0), ("deviation", 1.0))
    )
    return ChunkOutages(dead, level, center, deviation)


def stand_in(
    prediction: Tensor, outages: ChunkOutages, scaler: Any, likelihood: TorchLikelihood | None, parameters: bool
) -> Tensor:
    """A batch of forecasts with the last known level in place of those of dead components.

    Samples and quantiles are those of a normal distribution around it, as far off as two rows of the series are from
    one another.

    Parameters
    ----------
    prediction : Tensor
        Samples, or with `parameters` what describes a distribution.
    outages : ChunkOutages
        Those of the batch.
    scaler : SeriesScaler
        From the units of the series to the scale of the network, and back.
    likelihood : TorchLikelihood or None
    parameters : bool

    Raises
    ------
    ValueError
        If parameters of a likelihood are requested that has no normal distribution.

    Shape
    -----
    prediction, output : (n_samples, n_chunks, n_steps, n_components), or with parameters as many for each component
    """
    n_components = outages.dead.shape[1]
    center, deviation = (torch.from_numpy(part.copy()).to(prediction) for part in (outages.center, outages.deviation))
    level = scaler(torch.from_numpy(outages.level).to(prediction))
    level = torch.where(level.isnan(), center, level).reshape(1, -1, 1, n_components, 1)
    wide = deviation.reshape(n_components, 1) * 2**0.5
    n_outputs = prediction.shape[-1] // n_components
    found = prediction.unflatten(-1, (n_components, n_outputs))
    dead = torch.from_numpy(outages.dead).to(prediction.device).reshape(1, -1, 1, n_components, 1)
    if parameters and isinstance(likelihood, QuantileRegression):
        offsets = torch.tensor([NormalDist().inv_cdf(level) for level in likelihood.quantiles]).to(prediction)
    elif parameters:
        if likelihood is None or likelihood.type is not LikelihoodType.Gaussian:
            raise ValueError(
                "a component without a value in its input chunk is forecast by a normal distribution, which has no "
                f"parameters of {type(likelihood).__name__}: ask for samples, predict(num_samples=...)"
            )
        normal = torch.stack(
            [scaler.inverse(level.squeeze(-1).unsqueeze(-1))[..., 0], wide.expand(level.shape)[..., 0]], -1
        )
        return torch.where(dead, normal, found).flatten(-2)
    else:
        offsets = torch.randn_like(found) if likelihood is not None else torch.zeros_like(found)
    instead = scaler.inverse((level + offsets * wide).expand_as(found))
    return torch.where(dead, instead, found).flatten(-2)
