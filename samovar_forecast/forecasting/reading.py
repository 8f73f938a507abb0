"""Readings of a fitted forecaster: what each part of the past does to a forecast, at one cutoff and at many."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.fitted_data import FittedData, OneSeries
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.backtest import cutoff_labels, cutoffs_inside
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.lag_matrices import (
    change_of_forecast,
    forecast_jacobian,
    of_windows,
    point_forecast,
    slopes,
)
from samovar_forecast.forecasting.outages import find_outages
from samovar_forecast.networks.attention_weights import read_attention
from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.ensemble import members_of
from samovar_forecast.networks.influence_paths import InfluencePath, influence_paths
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.var_weights import read_weights

_LARGEST_RESULT, _LARGEST_BATCH = 4 * 2**30, 2**28  # bytes
_SCALES = {"standard": "standard deviation", "robust": "robust standard deviation", "none": "unit"}


class Choice:
    """Which targets, sources and steps of a forecaster are read, by their positions.

    Parameters
    ----------
    data : FittedData
    series, sources : sequence of names or None
        Targets, and columns whose past is looked at. None: all.
    steps : sequence of int or None
        Steps, counted from 1, of those that the network forecasts at once. None: all.

    Raises
    ------
    ValueError
        If one of them is not there; the message names it.
    """

    def __init__(
        self,
        data: FittedData,
        series: Sequence[Hashable] | None = None,
        sources: Sequence[Hashable] | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        self.targets = _positions("series", data.targets, series)
        self.sources = _positions("sources", data.columns, sources)
        self.steps = _positions("steps", range(1, steps_read(data) + 1), steps)
        self.shape = (len(self.targets), len(self.sources), data.context_length, len(self.steps))

    def check_size(self, count: int = 1) -> None:
        """Refuse lag matrices, `count` times, that do not fit into memory."""
        size = 8 * count * int(np.prod(self.shape))
        if size > _LARGEST_RESULT:
            raise ValueError(
                f"the lag matrices of {self.shape[0]} series by {self.shape[1]} sources, {self.shape[2]} lags and "
                f"{self.shape[3]} steps take {size / 2**30:.0f} GiB: choose some of them, e.g. series=[...] "
                "or steps=[1], or leave them out by lag_matrices=False"
            )


def steps_read(data: FittedData) -> int:
    """Steps of a reading: those of the horizon that the network forecasts at once."""
    return min(data.horizon, data.output_length)


def explain(
    fitted: Fitted, windows: Windows, scaler: Scaler, choice: Choice, *, lag_matrices: bool, influence: bool
) -> xr.Dataset:
    """The reading of one window, without names of the model and the cutoff; see `Forecaster.explain`."""
    data, network = fitted.data, fitted.network
    if lag_matrices:
        choice.check_size()
    outages = find_outages(windows)
    past, covariates = _at_network(network, windows)
    with torch.no_grad():
        points = point_forecast(network, past, covariates).cpu().numpy()[:, : steps_read(data)]
    dead = np.zeros(len(data.targets), dtype=bool)
    if outages is not None:  # the last known level stands in for the forecast, whatever the window holds
        dead, points = outages.dead[0], np.where(outages.dead[:, None], outages.level[:, None], points)
    n_targets, scale = len(data.targets), scaler.scale
    size = _SCALES[data.scaling]

    variables: dict[str, Any] = {
        "forecast": (
            ("series", "step"),
            scaler.inverse(points[0], n_targets).T[choice.targets],
            {"units": "units of the series", "meaning": "what `predict` returns, before any bounds"},
        ),
        "scale": (
            ("source",),
            scale,
            {
                "units": "units of the source",
                "meaning": f"one {size} of the source in training, the change that `influence` looks at",
            },
        ),
    }
    labels: dict[str, Any] = {
        "series": pd.Index([data.targets[one] for one in choice.targets], tupleize_cols=False),
        "source": pd.Index(data.columns, tupleize_cols=False),
        "step": np.arange(1, steps_read(data) + 1),
    }
    for one in (
        _var_variables(network, past, covariates, scaler, dead, points, data.log1p, choice.targets),
        _attention_variables(network, past, covariates, choice.targets),
    ):
        variables |= one[0]
        labels |= one[1]
    if "contribution" in variables:  # the sum of the parts to the last digit
        total = variables["baseline"][1] + variables["own"][1] + variables["contribution"][1].sum((1, 2))
        dims, _, attrs = variables["forecast"]
        variables["forecast"] = (dims, np.expm1(total) if data.log1p else total, attrs)
    result = xr.Dataset(variables, labels).isel(source=choice.sources, step=choice.steps)
    result = result.assign_coords(lag=np.arange(1, data.context_length + 1))
    alive = ~dead[choice.targets]
    if lag_matrices:
        matrix = _lag_matrices(network, past, covariates, scaler, points, choice)[0]
        matrix *= alive[:, None, None, None]
        result["lag_matrix"] = (
            ("series", "source", "lag", "step"),
            matrix,
            {
                "units": "units of the series per unit of the source",
                "meaning": "derivative of the forecast by the past value; lag 1 is the newest row",
            },
        )
    if influence:
        change = change_of_forecast(
            network, past, covariates, scaler,
            targets=choice.targets, sources=choice.sources, steps=choice.steps,
        )  # fmt: skip
        change *= alive[:, None, None]
        of_log = " of log(1 + source)" if data.log1p else ""
        result["influence"] = (
            ("series", "source", "lag"),
            change,
            {
                "units": f"units of the series per {size}{of_log} of the source in training",
                "meaning": "change of the forecast, root mean square over the steps, if the past value were one "
                f"{size}{of_log} higher: a difference of two forecasts",
            },
        )
    return result


def explain_backtest(
    fitted: Fitted, series: OneSeries, start: Hashable | None, stride: int, choice: Choice, model: str = ""
) -> xr.Dataset:
    """Lag matrices of one series at every cutoff; see `Forecaster.explain_backtest`."""
    data, network, frame = fitted.data, fitted.network, series.frame
    choice.check_size(4)  # mean, squares and the batch at work
    cutoffs = cutoffs_inside(frame, data.context_length, steps_read(data), start, stride, series.key)
    scaler = data.scaler_of(series.key, frame.iloc[: cutoffs[0]])
    windows = data.windows(series, cutoffs, steps_read(data), scaler)
    past, covariates = _at_network(network, windows)
    mean, squares = np.zeros(choice.shape), np.zeros(choice.shape)
    course = np.empty((len(cutoffs), *choice.shape[:3]))
    at_once = max(1, _LARGEST_BATCH // (8 * int(np.prod(choice.shape))))
    for first in range(0, len(cutoffs), at_once):
        number = torch.arange(first, min(first + at_once, len(cutoffs)), device=past.device)
        some, beside = past[number], of_windows(covariates, number)
        with torch.no_grad():
            points = point_forecast(network, some, beside).cpu().numpy()
        matrices = _lag_matrices(network, some, beside, scaler, points, choice)
        course[first : first + at_once] = matrices.mean(-1)
        # Deviations from a running mean: squares of large derivatives would lose their digits.
        shift = matrices.mean(0) - mean
        squares += ((matrices - matrices.mean(0)) ** 2).sum(0) + shift**2 * first * len(number) / (first + len(number))
        mean += shift * len(number) / (first + len(number))
    units = {"units": "units of the series per unit of the source"}
    dims = ("series", "source", "lag", "step")
    return xr.Dataset(
        {
            "mean": (dims, mean, units | {"meaning": "mean of the lag matrices over all cutoffs"}),
            "spread": (
                dims,
                np.sqrt(squares / len(cutoffs)),
                units | {"meaning": "standard deviation of the lag matrices over all cutoffs; 0 for a classical VAR"},
            ),
            "course": (
                ("cutoff", *dims[:3]),
                course,
                units | {"meaning": "lag matrix at each cutoff, mean over the steps"},
            ),
        },
        {
            "series": pd.Index([data.targets[one] for one in choice.targets], tupleize_cols=False),
            "source": pd.Index([data.columns[one] for one in choice.sources], tupleize_cols=False),
            "lag": np.arange(1, data.context_length + 1),
            "step": np.array(choice.steps) + 1,
            "cutoff": cutoff_labels(frame.index, cutoffs),
        },
        {"model": model},
    )


def read_paths(
    fitted: Fitted, windows: Windows, scaler: Scaler, choice: Choice, n_paths: int, segment: int | None
) -> xr.Dataset:
    """The strongest influence paths of each target in one window; see `Forecaster.influence_paths`."""
    data, network = fitted.data, fitted.network
    past, covariates = _at_network(network, windows)
    members = _members(network, past, covariates)
    inner = members[0].network
    if not isinstance(inner, SAMoVAR):
        raise TypeError(
            f"{type(inner).__name__} has no influence paths: they belong to the autoregressive weights of "
            "SAMoVARForecaster and FixedVARForecaster; explain() reads every model"
        )
    n_segments = inner.n_segments
    if segment is not None and segment not in range(1, n_segments + 1):
        raise ValueError(f"segment must be from 1, the newest, to {n_segments}, got {segment!r}")
    source = None if segment is None else [2 * (n_segments - segment), 2 * (n_segments - segment) + 1]
    found = [_strongest_paths(members, target, n_paths, source) for target in choice.targets]
    shape = (len(found), max(map(len, found), default=0))
    n_steps = steps_read(data)
    passed = np.zeros(shape, dtype=np.int64)
    head, segments = np.zeros(shape, dtype=np.int64), np.zeros((*shape, inner.n_layers + 1), dtype=np.int64)
    of_member = np.zeros(shape, dtype=np.int64)
    tokens = np.full((*shape, inner.n_layers + 1), "", dtype=object)
    contribution = np.zeros((*shape, n_steps))
    for row, (target, paths) in enumerate(zip(choice.targets, found, strict=True)):
        for rank, (number, path) in enumerate(paths):
            of_member[row, rank] = number
            places, scale = np.array(path.tokens), scaler.scale[-len(data.targets) :][target]
            passed[row, rank], head[row, rank] = len(places) - 1, path.head + 1
            segments[row, rank, : len(places)] = n_segments - places // 2
            tokens[row, rank, : len(places)] = np.array(["context", "main"], dtype=object)[places % 2]
            contribution[row, rank] = path.contribution[:n_steps].double().cpu().numpy() * scale / len(members)
    series = "log(1 + series)" if data.log1p else "units of the series"
    dims = ("series", "path")
    meaning = {
        "strength": "root mean square over the steps of what the path adds to the forecast",
        "contribution": "what the path adds to the forecast",
        "layers": "attention layers that the path passes; 0 where there are fewer paths",
        "head": "attention head, counted from 1",
        "segment": "segment of the token before the first layer and after each; 1 is the newest, 0 is after the end",
        "token": "kind of that token: the target's own (main) or a mixture of all series (context)",
    }
    variables = {
        "strength": (dims, np.sqrt(np.square(contribution).mean(-1)), {"units": series}),
        "contribution": ((*dims, "step"), contribution, {"units": series}),
        "layers": (dims, passed, {"units": "1"}),
        "head": (dims, head, {"units": "1"}),
        "segment": ((*dims, "node"), segments, {"units": "segments"}),
        "token": ((*dims, "node"), tokens, {"units": "1"}),
    }
    labels = {
        "series": pd.Index([data.targets[one] for one in choice.targets], tupleize_cols=False),
        "path": np.arange(1, shape[1] + 1),
        "node": np.arange(inner.n_layers + 1),
        "step": np.arange(1, n_steps + 1),
    }
    if len(members) > 1:
        variables["member"] = (dims, of_member, {"units": "1"})
        meaning["member"] = "member of the ensemble, counted from 0; a path is one of its weights"
    result = xr.Dataset(variables, labels, {"n_segments": n_segments, "segment_length": inner.segment_length})
    for name, text in meaning.items():
        result[name].attrs["meaning"] = text
    return result


def _strongest_paths(
    members: list[_Member], target: int, n_paths: int, source: list[int] | None
) -> list[tuple[int, InfluencePath]]:
    """The strongest paths of all members, with the number of their member."""
    found = [
        (number, path)
        for number, member in enumerate(members)
        for path in influence_paths(cast(SAMoVAR, member.network), member.past, target, n_paths, source)
    ]
    return sorted(found, key=lambda one: -float(one[1].contribution.square().mean()))[:n_paths]


def _lag_matrices(
    network: ForecastNetwork,
    past: Tensor,
    covariates: Covariates | None,
    scaler: Scaler,
    points: NDArray[np.float32],
    choice: Choice,
) -> NDArray[np.float64]:
    """Lag matrices of windows in the units of the data: (n_windows, n_series, n_sources, n_lags, n_steps)."""
    jacobian = forecast_jacobian(
        network, past, covariates, targets=choice.targets, sources=choice.sources, steps=choice.steps
    )
    inner, outer = slopes(scaler, past.cpu().numpy(), points)
    by_source = inner[:, ::-1, choice.sources].swapaxes(1, 2)[:, None, :, :, None]
    by_step = outer[:, choice.steps][:, :, choice.targets].swapaxes(1, 2)[:, :, None, None, :]
    matrices: NDArray[np.float64] = jacobian.numpy()
    matrices *= by_source  # in place: they may be larger than anything else in memory
    matrices *= by_step
    return matrices


def _var_variables(
    network: ForecastNetwork,
    past: Tensor,
    covariates: Covariates | None,
    scaler: Scaler,
    dead: NDArray[np.bool_],
    points: NDArray[np.float32],
    logarithmic: bool,
    targets: list[int],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The forecast taken apart, of a network that has autoregressive weights."""
    members = _members(network, past, covariates)
    inner = members[0].network
    if not isinstance(inner, SAMoVAR):
        return {}, {}
    readings = [read_weights(cast(SAMoVAR, member.network), member.past, targets) for member in members]
    n_targets, n_steps = network.n_targets, points.shape[1]
    scale, center = (part[-n_targets:][targets, None] for part in (scaler.scale, scaler.center))  # (series, 1)

    def steps(parts: list[Tensor]) -> NDArray[np.float64]:  # the mean of all members, as their forecast is
        return np.mean([part.double().cpu().numpy()[..., :n_steps] for part in parts], axis=0)

    def features(name: str, *dims: str) -> tuple[tuple[str, ...], NDArray[Any]]:
        return _by_member([getattr(reading, name).cpu().numpy() for reading in readings], dims)

    alive = ~dead[targets, None]
    baseline = np.where(
        alive,
        steps(
            [reading.baseline + member.effect[0].T[targets] for reading, member in zip(readings, members, strict=True)]
        ),
        points[0].T[targets],
    )
    series = "log(1 + series)" if logarithmic else "units of the series"
    names = ("series", "segment", "token")
    variables = {
        "contribution": (
            (*names, "step"),
            steps([reading.contribution for reading in readings]) * (scale * alive)[:, :, None, None],
            {"units": series, "meaning": "what the past token adds to the forecast through the autoregression"},
        ),
        "own": (
            ("series", "step"),
            steps([reading.own for reading in readings]) * scale * alive,
            {"units": series, "meaning": "what the newest main token adds to the forecast directly"},
        ),
        "baseline": (
            ("series", "step"),
            baseline * scale + center,
            {"units": series, "meaning": "level of the window, bias of the decoder and effect of known covariates"},
        ),
        "weights": (
            *features("weights", "series", "layer", "head", "segment", "token", "feature_in", "feature_out"),
            {"units": "1", "meaning": "autoregressive weights, from features of a past token to the forecast token"},
        ),
        "tokens": (
            *features("tokens", *names, "feature"),
            {"units": "1", "meaning": "past tokens at the entrance of the attention stack"},
        ),
        "token_contribution": (
            *features("added", *names, "feature"),
            {"units": "1", "meaning": "past tokens times weights"},
        ),
        "forecast_token": (
            *features("forecast_token", "series", "feature"),
            {"units": "1", "meaning": "the newest main token plus all token contributions"},
        ),
    }
    labels = {
        "layer": np.arange(1, inner.n_layers + 1),
        "head": np.arange(1, inner.n_heads + 1),
        "segment": np.arange(1, inner.n_segments + 1),
        "token": ["context", "main"],
    }
    return variables, labels


def _attention_variables(
    network: ForecastNetwork, past: Tensor, covariates: Covariates | None, targets: list[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the network attends to, where it has attention."""
    readings = [read_attention(one.network, one.past, one.covariates) for one in _members(network, past, covariates)]
    variables = {}
    for name, part in readings[0].parts.items():
        values = [reading.parts[name].values.cpu().numpy() for reading in readings]
        if "series" in part.dims:
            values = [one.take(targets, part.dims.index("series")) for one in values]
        variables[name] = (*_by_member(values, part.dims), {"units": part.units, "meaning": part.meaning})
    labels = {name: label if isinstance(label, tuple) else list(label) for name, label in readings[0].labels.items()}
    return variables, labels


class _Member(NamedTuple):
    """A network without its wrapper for covariates, what it sees, and what is added to its forecast."""

    network: ForecastNetwork
    past: Tensor
    covariates: Covariates | None
    effect: Tensor


def _members(network: ForecastNetwork, past: Tensor, covariates: Covariates | None) -> list[_Member]:
    """The members of an ensemble, or the network alone."""
    found = []
    for member in members_of(network):
        if isinstance(member, CovariateNetwork):
            with torch.no_grad():
                rest, added = member.take_out_effects(past, covariates)
            found.append(_Member(member.network, rest, member.embedded(covariates), added))
        else:
            nothing = past.new_zeros(len(past), network.horizon, network.n_targets)
            found.append(_Member(member, past, covariates, nothing))
    return found


def _by_member(values: list[NDArray[Any]], dims: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Arrays of several members with a dimension of their own for these; that of a single one as it is."""
    return (dims, values[0]) if len(values) == 1 else (("member", *dims), np.stack(values))


def _at_network(network: ForecastNetwork, windows: Windows) -> tuple[Tensor, Covariates]:
    """Past and covariates of all windows, where the network is."""
    windows = windows.to(next(network.parameters()).device)
    return windows.past(windows.starts), windows.covariates(windows.starts)


def _positions(name: str, known: Sequence[Any], chosen: Sequence[Any] | None) -> list[int]:
    if chosen is None:
        return list(range(len(known)))
    if isinstance(chosen, str) or not isinstance(chosen, Sequence):
        raise ValueError(f"{name} must be a list, got {chosen!r}; for one of them give [{chosen!r}]")
    wrong = [one for one in chosen if one not in known]
    if wrong or not len(chosen):
        raise ValueError(f"{name} must name some of {list(known)}, got {list(chosen)}")
    return [list(known).index(one) for one in chosen]
