"""Folds of scikit-learn's cross-validation that no forecaster can be judged by."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

_CURE_OF_SCORING = (
    "scoring={name!r} compares predict(X) with y row by row, and predict(y) of a forecaster is what follows y: leave "
    "scoring out for `score`, or give a function, e.g. "
    "scoring=lambda forecaster, y, _=None: -(forecaster.predict(horizon=len(y)) - y).abs().mean(axis=None)"
)
_CURE_OF_FOLDS = (
    "cv gives folds whose training rows are not the rows right before those they are judged by: forecasters need "
    "cv=TimeSeriesSplit(...)"
)


def check_fold() -> None:
    """Refuse the fold that `fit` is called for, if it is called by scikit-learn's cross-validation.

    scikit-learn turns whatever fails in a fold into NaN and goes on to name a best candidate, unless all fits fail, and
    it calls nothing of an estimator but `fit` before it scores. So `fit` looks at who calls, and fails in every fold.

    Raises
    ------
    ValueError
        If the scoring is one of predictions row by row, or the training rows are not those right before the others.
    """
    fold = _fold(sys._getframe(1))
    if fold is None:
        return
    scorer = fold["scorer"]
    for one in getattr(scorer, "_scorers", {None: scorer}).values():
        if hasattr(one, "_score_func"):
            raise ValueError(_CURE_OF_SCORING.format(name=getattr(one._score_func, "__name__", str(one))))
    train, test = np.asarray(fold["train"]), np.asarray(fold["test"])
    if not len(train) or not len(test):
        return
    rows = np.concatenate([train, test])
    _, n_folds = fold.get("split_progress") or (0, 1)
    # Of folds that cover all rows, the first has none before it; the last alone would pass.
    covers_all = n_folds > 1 and len(test) * n_folds > len(rows) - n_folds
    if covers_all or (np.diff(rows) != 1).any():
        raise ValueError(_CURE_OF_FOLDS)


def _fold(frame: FrameType | None) -> dict[str, Any] | None:
    """What scikit-learn knows of the fold that it is about to fit."""
    while frame is not None:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__")
        if name == "_fit_and_score" and module == "sklearn.model_selection._validation":
            return dict(frame.f_locals)
        frame = frame.f_back
    return None
