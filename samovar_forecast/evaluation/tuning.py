"""The search for hyperparameters by Optuna, judged on the newest rows of the training data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone

from samovar_forecast.data.lengths import season_length
from samovar_forecast.data.panel import PandasPanel, Panel, read_panel
from samovar_forecast.evaluation.metrics import mase
from samovar_forecast.training.progress import Screen, progress_shown, time_left

if TYPE_CHECKING:
    import optuna

    from samovar_forecast.estimator import Forecaster

Space = Mapping[str, Any]
Found = TypeVar("Found", bound="Forecaster")


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search for hyperparameters found.

    Attributes
    ----------
    best : Forecaster
        With the best hyperparameters, trained on all rows; not trained where ``refit=False``.
    best_parameters : dict
        Those that were searched.
    best_error, default_error : float
        Mean MASE over the folds, of the best trial and of the hyperparameters as they were given.
    trials : DataFrame
        A row for each trial: its parameters, error, state and seconds.
    study : optuna.Study
        For Optuna's own pictures and statistics.
    """

    best: Any
    best_parameters: dict[str, Any]
    best_error: float
    default_error: float
    trials: pd.DataFrame
    study: optuna.Study


def tune(
    forecaster: Forecaster,
    y: PandasPanel,
    X: PandasPanel | None = None,
    *,
    space: Space | None = None,
    n_trials: int | None = 20,
    timeout: float | None = None,
    n_folds: int = 2,
    validation_fraction: float = 0.2,
    sampler: optuna.samplers.BaseSampler | None = None,
    storage: str | None = None,
    study_name: str = "samovar-forecast",
    n_jobs: int | None = None,
    random_state: int | None = None,
    refit: bool = True,
    static: pd.DataFrame | None = None,
) -> Tuning:
    """Search for hyperparameters; hand over training rows only, and test the result on later ones.

    A trial trains on the rows before each fold and is judged by its forecasts of the fold. The folds are the newest
    `validation_fraction` of the rows, cut into `n_folds` that follow one another. A trial that is worse than the median
    of the others after a fold is not trained for the next one. The first trial has the hyperparameters as they are.

    Parameters
    ----------
    forecaster : Forecaster
        What is not searched keeps its value.
    y, X, static
        As in `Forecaster.fit`.
    space : mapping or None
        Hyperparameters to search: a list of values, a tuple (low, high) of numbers, or a distribution of Optuna. None:
        `default_space`.
    n_trials : int or None, default 20
        Trials of this call. None: until `timeout`.
    timeout : float or None
        Seconds after which no further trial begins.
    n_folds : int, default 2
    validation_fraction : float, default 0.2
        Share of the newest rows that judge. Early stopping holds out a part of the rows before them.
    sampler : optuna.samplers.BaseSampler or None
        None: Optuna's TPE, with the seed `random_state`.
    storage : str or None
        File in which the trials are kept, and from which a search with the same `study_name` goes on. None: in memory.
    study_name : str
    n_jobs : int or None
        Trials side by side, as joblib counts them.
    random_state : int or None
        Seed of the sampler.
    refit : bool, default True
        Train the best hyperparameters on all rows.

    Raises
    ------
    ImportError
        If Optuna is not installed: ``samovar-forecast[tune]``.
    ValueError
        If the space is not right, the series is too short for the folds, or no trial could be trained.

    Examples
    --------
    >>> from samovar_forecast import LinTransForecaster
    >>> y = pd.DataFrame({"load": np.sin(np.arange(200) / 4)})
    >>> model = LinTransForecaster(horizon=4, context_length=16, max_steps=5, random_state=0, device="cpu")
    >>> found = tune(model, y, space={"learning_rate": (1e-4, 1e-2)}, n_trials=2, random_state=0)  # doctest: +SKIP

    References
    ----------
    Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
    """
    optuna = _optuna()
    if n_trials is None and timeout is None:
        raise ValueError("give n_trials or timeout, else the search has no end")
    panel = read_panel(y, missing=True)
    known = None if X is None else read_panel(X, "X", missing=True).beside(panel)
    folds = _folds(panel, n_folds, validation_fraction, int(forecaster.horizon))
    searched = default_space(forecaster, panel) if space is None else dict(space)
    distributions = _distributions(forecaster, searched)
    with tempfile.TemporaryDirectory() as folder:
        place = storage
        if place is None and n_jobs not in (None, 1):
            place = str(Path(folder, "trials.log"))  # processes share the trials by a file
        study = _study(optuna, place, study_name, sampler, random_state)
        if not study.trials:
            study.enqueue_trial(_as_they_are(forecaster, distributions))
        judge = _Judge(forecaster, panel, known, static, folds, distributions)
        if n_jobs in (None, 1):
            _search(study, judge, n_trials, timeout)
        else:
            n_workers = Parallel(n_jobs=n_jobs)._effective_n_jobs()
            shares = [None] * n_workers if n_trials is None else _shares(n_trials, n_workers)
            Parallel(n_jobs=n_jobs)(
                delayed(_work)(place, study_name, judge, share, timeout, random_state, number)
                for number, share in enumerate(shares)
            )
        study = _in_memory(optuna, study) if place is not None and storage is None else study
    return _result(study, forecaster, y, X, static, refit)


def default_space(forecaster: Forecaster, panel: Panel | None = None) -> dict[str, Any]:
    """What is searched of a model where nothing else is said: context, width, depth, rate, dropout and loss.

    Only hyperparameters that the model has; contexts that fit into half of the longest series.

    Examples
    --------
    >>> from samovar_forecast import SAMformerForecaster
    >>> sorted(default_space(SAMformerForecaster(horizon=12)))
    ['context_length', 'd_model', 'learning_rate', 'loss']
    """
    names = {field.name for field in fields(forecaster)}
    horizon, longest = int(forecaster.horizon), np.inf if panel is None else max(map(len, panel.frames.values())) / 2
    lengths = [length for length in (2 * horizon, 5 * horizon, 10 * horizon, 20 * horizon) if length <= longest]
    n_heads = int(getattr(forecaster, "n_heads", 1) or 1)
    space: dict[str, Any] = {
        "context_length": _with(lengths, forecaster.context_length),
        "d_model": _with(
            [width for width in (16, 32, 64, 128) if width % n_heads == 0], getattr(forecaster, "d_model", None)
        ),
        "n_layers": _with([1, 2, 3], getattr(forecaster, "n_layers", None)),
        "dropout": _with([0.0, 0.1, 0.2, 0.4], getattr(forecaster, "dropout", None)),
        "learning_rate": (1e-4, 1e-2),
        "loss": ["mae", "mse", "huber"],
    }
    if forecaster.quantiles is not None:
        del space["loss"]  # which has no effect then
    return {name: values for name, values in space.items() if name in names}


def _with(values: list[Any], own: Any) -> list[Any]:
    return values if own in values else [*values, own]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune needs Optuna: pip install 'samovar-forecast[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _folds(panel: Panel, n_folds: int, fraction: float, horizon: int) -> list[dict[Hashable, tuple[int, int]]]:
    """For each fold the first and the last but one row of every series that judges."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, got {fraction}")
    if n_folds < 1:
        raise ValueError(f"n_folds must be at least 1, got {n_folds}")
    folds: list[dict[Hashable, tuple[int, int]]] = [{} for _ in range(n_folds)]
    for key, frame in panel.frames.items():
        n_rows = int(fraction * len(frame))
        if n_rows < n_folds * horizon:
            if len(panel.frames) > 1:
                continue  # too short to judge; it is trained on all the same
            raise ValueError(
                f"{panel.name_of(key)} is too short: the newest {fraction:g} of its {len(frame)} rows is {n_rows}, and "
                f"{n_folds} folds need {n_folds * horizon}; give more rows, a larger validation_fraction or fewer folds"
            )
        edges = np.linspace(len(frame) - n_rows, len(frame), n_folds + 1).round().astype(int)
        for fold, start, stop in zip(folds, edges[:-1], edges[1:], strict=True):
            fold[key] = int(start), int(stop)
    if not folds[0]:
        raise ValueError(f"no series of {panel.name} has {n_folds * horizon} rows in its newest {fraction:g} to judge")
    return folds


def _distributions(forecaster: Forecaster, space: Space) -> dict[str, Any]:
    """The space as distributions of Optuna.

    Raises
    ------
    ValueError
        If a name is no hyperparameter, or its values are none.
    """
    import optuna

    known, found = {field.name for field in fields(forecaster)}, {}
    for name, values in space.items():
        if name not in known:
            raise ValueError(f"space has {name!r}, which is no hyperparameter of {type(forecaster).__name__}")
        if isinstance(values, optuna.distributions.BaseDistribution):
            found[name] = values
        elif isinstance(values, tuple) and len(values) == 2 and all(isinstance(one, int) for one in values):
            found[name] = optuna.distributions.IntDistribution(*values)
        elif isinstance(values, tuple) and len(values) == 2:
            low, high = map(float, values)
            found[name] = optuna.distributions.FloatDistribution(low, high, log=low > 0 and high / low >= 10)
        elif isinstance(values, list) and values:
            found[name] = optuna.distributions.CategoricalDistribution(values)
        else:
            raise ValueError(
                f"space[{name!r}] must be a list of values, a tuple (low, high) or a distribution of Optuna, got "
                f"{values!r}"
            )
    if not found:
        raise ValueError("space is empty: there is nothing to search")
    return found


def _as_they_are(forecaster: Forecaster, distributions: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters as they were given, as far as they lie in the space."""
    inside = {}
    for name, one in distributions.items():
        value = getattr(forecaster, name)
        if hasattr(one, "choices"):
            is_inside = value in one.choices
        else:
            is_inside = isinstance(value, (int, float)) and one.low <= value <= one.high
        if is_inside:
            inside[name] = value
    return inside


def _study(
    optuna: Any, storage: str | None, name: str, sampler: Any, random_state: int | None, number: int = 0
) -> optuna.Study:
    kept = None
    if storage is not None:
        backend = optuna.storages.journal.JournalFileBackend(storage)
        kept = optuna.storages.JournalStorage(backend)
    seed = None if random_state is None else random_state + number
    return optuna.create_study(
        study_name=name,
        storage=kept,
        sampler=sampler or optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        direction="minimize",
        load_if_exists=True,
    )


class _Judge:
    """The error of hyperparameters: mean MASE over the folds."""

    def __init__(
        self,
        forecaster: Forecaster,
        panel: Panel,
        known: Panel | None,
        static: pd.DataFrame | None,
        folds: Sequence[Mapping[Hashable, tuple[int, int]]],
        distributions: Mapping[str, Any],
    ) -> None:
        self.forecaster, self.panel, self.known, self.static = forecaster, panel, known, static
        self.folds, self.distributions = folds, distributions
        self.season = season_length(panel.frequency())

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        chosen = {name: _suggested(trial, name, one) for name, one in self.distributions.items()}
        errors: list[float] = []
        for number, fold in enumerate(self.folds):
            errors.append(self.error(chosen, fold))
            mean = float(np.mean(errors))
            if not isfinite(mean):
                raise ValueError("the error of the forecasts is not finite")
            trial.report(mean, number)
            if number + 1 < len(self.folds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(errors))

    def error(self, chosen: Mapping[str, Any], fold: Mapping[Hashable, tuple[int, int]]) -> float:
        """Mean MASE of forecasts of the rows of a fold, after a training on the rows before them."""
        first = {key: fold[key][0] if key in fold else len(frame) for key, frame in self.panel.frames.items()}
        training = {key: frame.iloc[: first[key]] for key, frame in self.panel.frames.items()}
        known = None if self.known is None else self.known.layout.assemble(self.known.frames)
        fitted = clone(self.forecaster).set_params(**chosen)
        fitted.fit(self.panel.layout.assemble(training), known, static=self.static)
        errors = []
        for key, (start, stop) in fold.items():
            frame = self.panel.frames[key].iloc[:stop]
            stride = max(1, (stop - start - fitted.horizon) // 50)
            label = frame.index[start]
            if key is None:
                backtest = fitted.backtest(frame, known, label, stride)
            else:
                one = None if self.known is None else {key: self.known.frames[key]}
                backtest = fitted.backtest({key: frame}, one, label, stride)[key]
            targets = frame[fitted.targets_].iloc[:start]
            errors.append(float(mase(backtest, targets, season=min(self.season, len(targets) - 1)).mean(skipna=True)))
        return float(np.nanmean(errors))


def _suggested(trial: optuna.Trial, name: str, distribution: Any) -> Any:
    import optuna

    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    low, high, log, step = distribution.low, distribution.high, distribution.log, distribution.step
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, low, high, log=log, step=step)
    return trial.suggest_float(name, low, high, log=log, step=step)


def _search(study: optuna.Study, judge: _Judge, n_trials: int | None, timeout: float | None) -> None:
    # A context that is too long for the rows, or a rate at which the loss diverges, ends its trial only.
    screen = Screen("auto")
    counted = count(1)

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        done = next(counted)
        of_all = "" if n_trials is None else f" of {n_trials}"
        found = [one.value for one in study.trials if one.state.name == "COMPLETE" and one.value is not None]
        error = trial.state.name.lower() if trial.state.name != "COMPLETE" else f"error {trial.value:.4g}"
        best = f", best {min(found):.4g}" if found else ""
        seconds = time.monotonic() - screen.began
        left = "" if n_trials is None else f", about {time_left(seconds / done * (n_trials - done))} left"
        screen.show(f"trial {done}{of_all}: {error}{best}{left}", is_mark=True)

    try:
        with progress_shown(0):  # of the trainings, which are many
            study.optimize(judge, n_trials=n_trials, timeout=timeout, catch=(ValueError, MemoryError), callbacks=[tell])
    finally:
        screen.close()


def _work(
    storage: str,
    name: str,
    judge: _Judge,
    n_trials: int | None,
    timeout: float | None,
    random_state: int | None,
    number: int,
) -> None:
    """The share of one process in the trials."""
    if n_trials != 0:
        _search(_study(_optuna(), storage, name, None, random_state, number), judge, n_trials, timeout)


def _shares(n_trials: int, n_workers: int) -> list[int]:
    return [n_trials // n_workers + (number < n_trials % n_workers) for number in range(n_workers)]


def _in_memory(optuna: Any, study: optuna.Study) -> optuna.Study:
    """A copy of a study whose file will be removed."""
    copy = optuna.create_study(direction="minimize", study_name=study.study_name)
    copy.add_trials(study.trials)
    return copy


def _result(study: optuna.Study, forecaster: Forecaster, y: Any, X: Any, static: Any, refit: bool) -> Tuning:
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not done:
        failed = [trial.system_attrs.get("fail_reason") or trial.state.name for trial in study.trials]
        raise ValueError(
            f"no trial could be trained and judged; {failed[-1] if failed else 'there was no time for one'}"
        )
    best = clone(forecaster).set_params(**study.best_params)
    if refit:
        best.fit(y, X, static=static)
    trials = study.trials_dataframe(attrs=("number", "value", "state", "duration", "params"))
    trials["duration"] = trials["duration"].dt.total_seconds()
    trials = trials.rename(columns={"value": "error", "duration": "seconds"})
    trials = trials.rename(columns={name: name.removeprefix("params_") for name in trials.columns})
    first = study.trials[0]
    default = first.value if first.state.name == "COMPLETE" and first.value is not None else float("nan")
    return Tuning(best, dict(study.best_params), float(study.best_value), default, trials, study)
