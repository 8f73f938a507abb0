"""A fitted forecaster as a header of plain values and a set of tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.fitted_data import FittedData, FittedSeries
from samovar_forecast.data.layout import LIBRARIES, Layout, LongTable
from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.files.stored_index import describe_index, index_numbers, restore_index
from samovar_forecast.forecasting.fit import network_for
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import Calibration
from samovar_forecast.networks.ensemble import averaged
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.config import TrainingConfig, check_training_config
from samovar_forecast.training.random_state import forked
from samovar_forecast.training.summary import TrainingSummary

_NETWORK = "network."
_MEMBER = "members."
_DEEPEST = 16  # tuples in a name; those of the levels of columns are one deep
_CALLS_PER_TENSOR = 100  # of PyTorch while a network is built; ours need 20 at most
_LONGEST_WINDOW = 2**20  # some networks have the same weights for every length, and tables that grow with it
# Where a machine keeps its files, how many devices it has, and who watches a training, is no part of a model.
_OF_THE_MACHINE = {"logger", "callbacks", "log_dir", "checkpoint_dir", "devices", "num_nodes", "strategy"}


def describe(fitted: Fitted) -> dict[str, Any]:
    """Everything about a fitted forecaster that is no array, as JSON takes it.

    A `random_state` object is described as None.

    Raises
    ------
    TypeError
        If the name of a column or of a series is no string, number, bool, None or tuple of those.
    """
    data, calibration = fitted.data, fitted.calibration
    return {
        "hyperparameters": _describe_hyperparameters(fitted.hyperparameters),
        **{
            name: [_encode(label) for label in getattr(data, name)]
            for name in ("columns", "targets", "known", "static")
        },
        "calendar": data.calendar,
        "lengths": data.lengths._asdict(),
        "embeds_known": data.embeds_known,
        "layout": asdict(data.layout)
        | {name: [_encode(label) for label in getattr(data.layout, name)] for name in ("names", "column_names")},
        "series": [
            {
                "name": _encode(key),
                "number": series.number,
                "n_rows": len(series.history),
                "index": describe_index(series.history.index, data.frequency)
                | {"name": _encode(series.history.index.name)},
            }
            for key, series in data.series.items()
        ],
        "calibration": None
        if calibration is None
        else {
            "horizon": calibration.scores.shape[2],
            "n_windows": calibration.n_windows,
            "held_out": calibration.held_out,
        },
        "training": asdict(fitted.summary),
    }


def tensors_of(fitted: Fitted) -> dict[str, Tensor]:
    """The weights, and everything else that is an array."""
    data = fitted.data
    weights = fitted.network.state_dict()
    tensors = {_NETWORK + name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    every = list(data.series.values())
    arrays = {
        "center": np.stack([series.scaler.center for series in every]),
        "scale": np.stack([series.scaler.scale for series in every]),
        "logarithmic": every[0].scaler.logarithmic,
        "history": np.concatenate([series.history.to_numpy() for series in every]),
        "index": np.concatenate([index_numbers(series.history.index) for series in every]),
    }
    if data.known_scaler is not None:
        arrays["known_center"], arrays["known_scale"] = data.known_scaler.center, data.known_scaler.scale
        arrays["known_history"] = np.concatenate(
            [series.known.to_numpy() for series in every if series.known is not None]
        )
    if data.static_scaler is not None:
        arrays["static_center"], arrays["static_scale"] = data.static_scaler.center, data.static_scaler.scale
        arrays["static"] = np.stack([series.static for series in every if series.static is not None])
    if fitted.calibration is not None:
        arrays |= {f"calibration_{name}": array for name, array in fitted.calibration.arrays().items()}
    return tensors | {name: torch.tensor(array).contiguous() for name, array in arrays.items()}


def rebuild(
    config_class: type[TrainingConfig],
    network_class: type[ForecastNetwork],
    header: dict[str, Any],
    tensors: dict[str, Tensor],
) -> Fitted:
    """What is fitted, from a header and tensors; the network lies on the CPU.

    Raises
    ------
    LookupError, TypeError, ValueError, RuntimeError, AttributeError
        If something is missing or does not fit together.
    """
    given = {name: _decode(value) for name, value in header["hyperparameters"].items() if name not in _OF_THE_MACHINE}
    config = config_class(**given)
    check_training_config(config)
    lengths = Lengths(**header["lengths"])
    for name, length in lengths._asdict().items():
        if getattr(config, f"{name}_length", None) not in (None, length):
            raise ValueError(f"it has the {name} lengths {getattr(config, f'{name}_length')} and {length}")
    if not (min(lengths) >= 1 and max(*lengths, config.horizon) <= _LONGEST_WINDOW):
        raise ValueError(f"its windows are longer than {_LONGEST_WINDOW} rows")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith(_NETWORK)}
    labels = {name: [_decode(label) for label in header[name]] for name in ("columns", "targets", "known", "static")}
    _check_shapes(labels, header, arrays)
    columns, known, static = labels["columns"], labels["known"], labels["static"]
    series: dict[Any, FittedSeries] = {}
    first = 0
    for number, described in enumerate(header["series"]):
        rows = slice(first, first + described["n_rows"])
        first = rows.stop
        index, frequency = restore_index(arrays["index"][rows], described["index"])
        index = index.rename(_decode(described["index"]["name"]))
        series[_decode(described["name"])] = FittedSeries(
            pd.DataFrame(arrays["history"][rows], index=index, columns=columns),
            pd.DataFrame(arrays["known_history"][rows], index=index, columns=known) if known else None,
            Scaler(arrays["center"][number], arrays["scale"][number], arrays["logarithmic"]),
            arrays["static"][number] if static else None,
            described.get("number", number),
        )
    data = FittedData(
        horizon=config.horizon,
        lengths=lengths,
        scaling=config.scaler,
        log1p=config.log1p,
        columns=columns,
        targets=labels["targets"],
        frequency=frequency,
        layout=_restore_layout(header["layout"]),
        series=series,
        calendar=header["calendar"],
        known=known,
        static=static,
        known_scaler=_affine(arrays["known_center"], arrays["known_scale"]) if known else None,
        static_scaler=_affine(arrays["static_center"], arrays["static_scale"]) if static else None,
        bounds=Bounds.of(config.lower, config.upper, len(labels["targets"])),
        embeds_known=bool(header["embeds_known"]),
    )
    calibration = None
    if header["calibration"] is not None:
        found = {name.removeprefix("calibration_"): array for name, array in arrays.items()}
        n_trained = max(1, len(found["curve"]) - 1) if "curve" in found else len(series)
        numbers = [one.number for one in series.values()]
        if not all(isinstance(number, int) and -1 <= number < max(n_trained, len(series)) for number in numbers):
            raise ValueError(f"its series have the numbers {numbers[:5]}, and {n_trained} were trained on")
        described = header["calibration"]
        calibration = Calibration.from_arrays(found, n_targets=len(labels["targets"]), n_series=n_trained, **described)
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    quantiles = None if config.quantiles is None else tuple(config.quantiles)
    summary = TrainingSummary(**header["training"])
    network = _network(network_class, config, data, weights)
    hyperparameters = {field.name: getattr(config, field.name) for field in fields(config)}
    return Fitted(network, data, quantiles, calibration, summary, hyperparameters)


def _check_shapes(labels: dict[str, list[Any]], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    n_rows = [described["n_rows"] for described in header["series"]]
    if min(n_rows) < 1 or sum(n_rows) != len(arrays["history"]):
        raise ValueError("its series do not have the rows that it holds")
    n_series, rows = len(n_rows), sum(n_rows)
    columns, known, static = (len(labels[name]) for name in ("columns", "known", "static"))
    shapes: dict[str, tuple[int, ...]] = {
        "center": (n_series, columns), "scale": (n_series, columns), "logarithmic": (columns,),
        "history": (rows, columns), "index": (rows,),
    }  # fmt: skip
    if known:
        shapes |= {"known_center": (known,), "known_scale": (known,), "known_history": (rows, known)}
    if static:
        shapes |= {"static_center": (static,), "static_scale": (static,), "static": (n_series, static)}
    kinds = {"index": "i", "logarithmic": "b"}
    wrong = [
        name
        for name, shape in shapes.items()
        if arrays[name].shape != shape or arrays[name].dtype.kind != kinds.get(name, "f")
    ]
    if wrong:
        raise ValueError(f"{wrong} are not of the size that its columns and series ask for")


def _network(
    network_class: type[ForecastNetwork], config: TrainingConfig, data: FittedData, weights: dict[str, Tensor]
) -> ForecastNetwork:
    """The network with its weights, built only where the hyperparameters ask for just these weights."""
    # The outermost block puts the mode of gradients back, also where the bound is reached inside of what would have.
    n_members = 1 + max((int(name.split(".")[1]) for name in weights if name.startswith(_MEMBER)), default=0)
    if n_members > config.n_members:  # fewer where Ctrl-C ended the training
        raise ValueError(f"it has {n_members} members, and n_members={config.n_members}")

    def made() -> ForecastNetwork:
        return averaged([network_for(network_class, config, data) for _ in range(n_members)])

    with torch.no_grad(), torch.device("meta"), _AtMost(_CALLS_PER_TENSOR * (1 + len(weights))):
        sketch = made().state_dict()
    sizes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    if {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in sketch.items()} != sizes:
        raise ValueError("its weights are not those of the network that its hyperparameters describe")
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"its weights {broken[:3]} are not finite")
    with forked(torch.device("cpu")):  # waits for a training in another thread, which draws too
        network = made()
    network.load_state_dict(weights)
    return network.eval()


class _AtMost(TorchFunctionMode):
    """Give up where more is done than a network of so many tensors needs, such as a billion layers."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls -= 1
        if self.calls < 0:
            raise ValueError("its hyperparameters describe a larger network than it holds")
        return function(*args, **(kwargs or {}))


def _affine(center: np.ndarray, scale: np.ndarray) -> Scaler:
    return Scaler(center, scale, np.zeros(len(center), dtype=bool))


def _describe_hyperparameters(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(hyperparameters)
    if isinstance(values["random_state"], np.random.RandomState):
        values["random_state"] = None  # the state of a generator is no part of a trained model
    if isinstance(values["targets"], (pd.Index, np.ndarray)):
        values["targets"] = list(values["targets"])
    return {name: _encode(value) for name, value in values.items() if name not in _OF_THE_MACHINE}


def _encode(value: Any, depth: int = 0) -> Any:
    """A name or a hyperparameter as JSON takes it, which knows no tuples."""
    if depth > _DEEPEST:
        raise TypeError(f"a name is a tuple nested more than {_DEEPEST} deep; rename it to a string to save the model")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_encode(part, depth + 1) for part in value]}
    if isinstance(value, list):
        return [_encode(part, depth + 1) for part in value]
    raise TypeError(f"the name {value!r} is a {type(value).__name__}; rename it to a string to save the model")


def _decode(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:  # whatever the interpreter would take: its limit of recursion is for anyone to set
        raise ValueError(f"it holds a name nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        return tuple(_decode(part, depth + 1) for part in value["tuple"])
    return [_decode(part, depth + 1) for part in value] if isinstance(value, list) else value


def _restore_layout(described: dict[str, Any]) -> Layout:
    kind, is_series, is_named = described["kind"], described["is_series"], described.get("is_named", True)
    names, column_names = (
        tuple(_decode(label) for label in described.get(name, default))
        for name, default in (("names", []), ("column_names", [None]))
    )
    if kind not in ("single", "dict", "multiindex") or not (isinstance(is_series, bool) and isinstance(is_named, bool)):
        raise ValueError(f"it knows no series of the kind {kind!r}")
    return Layout(kind, is_series, names, column_names, is_named, _restore_long(described.get("long")))


def _restore_long(described: dict[str, Any] | None) -> LongTable | None:
    if described is None:
        return None
    ids, time, library = tuple(described["ids"]), described["time"], described["library"]
    if not all(isinstance(name, str) for name in (*ids, time)) or library not in LIBRARIES:
        raise ValueError(f"it knows no long table of {library!r} with the columns {[*ids, time]}")
    return LongTable(ids, time, library)
