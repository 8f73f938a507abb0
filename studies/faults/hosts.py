"""The libraries under test, each with the same few methods, used as its documentation shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from studies.faults.faults import SEEN

CONTEXT, HORIZON, SEED = 24, 8, 0
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}


class Host(Protocol):
    """What every library is asked to do; `lacks` names the verbs it has no counterpart for."""

    title: str
    lacks: frozenset[str]

    def fit(self, y: Any, X: Any = None, **settings: Any) -> Any: ...
    def refit(self, model: Any, y: Any) -> Any: ...
    def forecast(self, model: Any, history: Any = None, X: Any = None) -> pd.DataFrame: ...
    def update(self, model: Any, rows: Any) -> Any: ...
    def first_steps(self, model: Any, n: int, X: Any) -> Any: ...
    def interval(self, y: Any, coverage: float, lower: float | None) -> tuple[Any, Any]: ...
    def save(self, model: Any, path: Path) -> None: ...
    def load(self, path: Path) -> Any: ...


class Core:
    """The estimator of samovar-forecast."""

    title, lacks = "samovar-forecast", frozenset()

    def fit(self, y, X=None, **settings):
        from samovar_forecast import SAMoVARForecaster

        self.new = lambda: SAMoVARForecaster(**_ours(settings))
        return self.new().fit(y, X)

    def refit(self, model, y):
        return model.fit(y)

    def forecast(self, model, history=None, X=None):
        return model.predict(history, X)

    def update(self, model, rows):
        return model.update(rows, retrain=False)

    def first_steps(self, model, n, X):
        return model.predict(X=X, horizon=n)

    def interval(self, y, coverage, lower):
        bounds = self.fit(y, lower=lower).predict_interval(coverage).to_numpy().reshape(HORIZON, -1, 2)
        return bounds[..., 0], bounds[..., 1]

    def save(self, model, path):
        model.save(path)

    def load(self, path):
        from samovar_forecast import SAMoVARForecaster

        return SAMoVARForecaster.load(path)


class Sktime(Core):
    """Its twin in sktime."""

    title, lacks = "its sktime forecaster", frozenset()

    def fit(self, y, X=None, **settings):
        from samovar_sktime import SAMoVARForecaster

        return SAMoVARForecaster(**_ours(settings)).fit(y, X=X, fh=range(1, HORIZON + 1))

    def refit(self, model, y):
        return model.fit(y, fh=range(1, HORIZON + 1))

    def forecast(self, model, history=None, X=None):
        if history is not None:
            model.update(history, update_params=False)
        return model.predict(X=X)

    def update(self, model, rows):
        return model.update(rows, update_params=False)

    def first_steps(self, model, n, X):
        return model.predict(fh=range(1, n + 1), X=X)

    def interval(self, y, coverage, lower):
        bounds = self.fit(y, lower=lower).predict_interval(coverage=coverage).to_numpy().reshape(HORIZON, -1, 2)
        return bounds[..., 0], bounds[..., 1]

    def save(self, model, path):
        model.save(path)

    def load(self, path):
        from samovar_sktime import SAMoVARForecaster

        return SAMoVARForecaster.load_from_path(path)


class Darts:
    """Its twin in darts, with series made by `series_from_frame`."""

    title, lacks = "its darts model", frozenset({"update"})

    def _model(self, settings):
        from samovar_darts import SAMoVARModel

        settings = {"d_model": 8, "n_heads": 2, "n_layers": 1} | settings
        return SAMoVARModel(**_darts(settings))

    def _series(self, data, name="y"):
        from samovar_darts import series_from_frame

        return series_from_frame(data, name)

    def fit(self, y, X=None, **settings):
        self.seen_X = X
        X = {} if X is None else {"future_covariates": self._series(X, "X")}
        return self._model(settings).fit(self._series(y), **X)

    def refit(self, model, y):
        return model.fit(self._series(y))

    def forecast(self, model, history=None, X=None):
        arguments = {} if history is None else {"series": self._series(history)}
        if X is not None:  # darts reads the covariates of the context too
            seen = SEEN if self.seen_X is None else self.seen_X
            X = pd.concat([seen.set_axis(X.columns, axis=1), X])
            arguments["future_covariates"] = self._series(X, "X")
        return model.predict(HORIZON, **arguments).to_dataframe()

    def first_steps(self, model, n, X):
        if X is not None:
            X = {"future_covariates": self._series(pd.concat([self.seen_X, X]), "X")}
        return model.predict(n, **(X or {}), show_warnings=False).to_dataframe()

    def interval(self, y, coverage, lower):
        from darts.utils.likelihood_models.torch import QuantileRegression

        levels = [round(0.5 - coverage / 2, 9), 0.5, round(0.5 + coverage / 2, 9)]
        settings = {"likelihood": QuantileRegression(levels)} | self._bounds(lower)
        found = self.fit(y, **settings).predict(HORIZON, predict_likelihood_parameters=True).values()
        bounds = found.reshape(HORIZON, -1, 3)
        return bounds[..., 0], bounds[..., 2]

    def _bounds(self, lower):
        return {} if lower is None else {"lower": lower}

    def save(self, model, path):
        model.save(str(path))

    def load(self, path):
        from samovar_darts import SAMoVARModel

        return SAMoVARModel.load(str(path))


class StockDarts(Darts):
    """A model of darts, with series made by `TimeSeries.from_dataframe`."""

    title = "darts"

    def _model(self, settings):
        from darts.models import NLinearModel

        return NLinearModel(**_darts(settings))

    def _bounds(self, lower):
        return {}  # it has none

    def _series(self, data, name="y"):
        from darts import TimeSeries

        return TimeSeries.from_dataframe(data)

    def load(self, path):
        from darts.models import NLinearModel

        return NLinearModel.load(str(path))


class NeuralForecast:
    """A model of neuralforecast: long frames with a row for each series and time; MLP where there are covariates."""

    title, lacks = "neuralforecast", frozenset({"update", "steps", "intervals"})

    def fit(self, y, X=None, **settings):
        from neuralforecast import NeuralForecast as Library
        from neuralforecast.models import MLP, NLinear

        names = {"horizon": "h", "context": "input_size", "steps": "max_steps"}
        chosen = {"horizon": HORIZON, "context": CONTEXT, "steps": 2} | settings
        chosen = {names.get(name, name): value for name, value in chosen.items()}
        chosen |= {"random_seed": SEED} | QUIET
        self.names, self.index_name = getattr(y, "columns", None), getattr(getattr(y, "index", None), "name", None)
        self.known = None if X is None else list(X.columns)
        model = (
            NLinear(**chosen) if X is None else MLP(**chosen, futr_exog_list=self.known, num_layers=1, hidden_size=8)
        )
        library = Library([model], freq=self._frequency(y))
        library.fit(self._long(y, X))
        return library

    def refit(self, model, y):
        model.fit(self._long(y))
        return model

    def forecast(self, model, history=None, X=None):
        arguments = {} if history is None else {"df": self._long(history)}
        if X is not None:
            arguments["futr_df"] = self._long(pd.DataFrame(0.0, X.index, self.names), X).drop(columns="y")
        long = model.predict(**arguments)
        values = next(name for name in long.columns if name not in ("unique_id", "ds"))
        names = [name for name in self.names if str(name) in set(long["unique_id"])]
        times = long.loc[long["unique_id"] == str(names[0]), "ds"]
        wide = {str(name): long.loc[long["unique_id"] == str(name), values].to_numpy() for name in names}
        result = pd.DataFrame(wide, index=pd.Index(times.to_numpy(), dtype=times.dtype))
        return result.set_axis(self.names if len(names) == len(self.names) else names, axis=1)

    def save(self, model, path):
        model.save(str(path), overwrite=True, save_dataset=True)

    def load(self, path):
        from neuralforecast import NeuralForecast as Library

        return Library.load(str(path))

    def _frequency(self, y):
        # The user says it; here the one that most steps of the index have.
        if not isinstance(y.index, pd.DatetimeIndex):
            return 1
        steps = pd.Series(y.index[1:] - y.index[:-1])
        usual = steps.mode()[0] if len(steps) else pd.Timedelta("1h")
        return "D" if usual == pd.Timedelta("1D") else pd.tseries.frequencies.to_offset(usual).freqstr

    def _long(self, y, X=None):
        parts = []
        for position, name in enumerate(y.columns):
            part = pd.DataFrame({"unique_id": str(name), "ds": y.index, "y": y.iloc[:, position].array})
            if X is not None:
                part = part.merge(X.rename_axis("ds").reset_index(), on="ds", how="left")
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


class StockSktime(Sktime):
    """The LTSF-Linear of sktime."""

    title, lacks = "sktime", frozenset({"covariates", "steps", "intervals"})

    def fit(self, y, X=None, **settings):
        import torch
        from sktime.forecasting.ltsf import LTSFLinearForecaster

        torch.manual_seed(SEED)  # it has no seed of its own
        names = {"horizon": "pred_len", "context": "seq_len", "learning_rate": "lr", "steps": "num_epochs"}
        # It does not normalise, and needs more steps than the others to come near sound data.
        chosen = {"horizon": HORIZON, "context": CONTEXT, "steps": 30, "learning_rate": 0.01} | settings
        n_channels = y.shape[1] if isinstance(y, (pd.DataFrame, np.ndarray)) else 1
        chosen = {names.get(name, name): value for name, value in chosen.items()} | {"in_channels": n_channels}
        return LTSFLinearForecaster(**chosen).fit(y, X=X, fh=range(1, HORIZON + 1))

    def refit(self, model, y):
        import torch

        torch.manual_seed(SEED)
        return super().refit(model, y)

    def load(self, path):
        from sktime.base import load

        return load(path.with_name(path.name + ".zip"))


def _ours(settings: dict[str, Any]) -> dict[str, Any]:
    names = {"context": "context_length", "steps": "max_steps"}
    chosen = {"horizon": HORIZON, "context": CONTEXT, "steps": 2, "d_model": 8, "n_heads": 2, "n_layers": 1}
    chosen |= {"max_epochs": 1, "random_state": SEED, "device": "cpu"} | settings
    return {names.get(name, name): value for name, value in chosen.items()}


def _darts(settings: dict[str, Any]) -> dict[str, Any]:
    names = {"horizon": "output_chunk_length", "context": "input_chunk_length"}
    chosen = {"horizon": HORIZON, "context": CONTEXT, "n_epochs": 1, "random_state": SEED} | settings
    trainer = QUIET | {"max_steps": chosen.pop("steps", 2)}
    if "learning_rate" in chosen:
        chosen["optimizer_kwargs"] = {"lr": chosen.pop("learning_rate")}
    return {names.get(name, name): value for name, value in chosen.items()} | {"pl_trainer_kwargs": trainer}


OURS = {"core": Core, "sktime-adapter": Sktime, "darts-adapter": Darts}
PEERS = {"darts": StockDarts, "neuralforecast": NeuralForecast, "sktime": StockSktime}
HOSTS: dict[str, type[Any]] = OURS | PEERS
