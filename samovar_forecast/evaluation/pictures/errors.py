"""Pictures of errors: by step, of intervals, and of the losses in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from samovar_forecast.evaluation import metrics
from samovar_forecast.evaluation.pictures.style import (
    COLORS,
    FAINT,
    OBSERVED,
    figure_of,
    integer_ticks,
    legend,
    new_figure,
    style,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from samovar_forecast.training.summary import TrainingSummary

Backtests = Any  # a Dataset, or a mapping of names to them
_METRICS: dict[str, tuple[Callable[..., Any], str]] = {
    "mae": (metrics.mae, "mean absolute error, units of the data"),
    "rmse": (metrics.rmse, "root mean squared error, units of the data"),
    "mse": (metrics.mse, "mean squared error, squared units of the data"),
    "bias": (metrics.bias, "mean of forecast minus actual, units of the data"),
    "smape": (metrics.smape, "symmetric mean absolute percentage error, %"),
}


def plot_errors_by_step(
    backtests: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    metric: str = "mae",
    series: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The error at each step of the horizon, a line for each backtest.

    Parameters
    ----------
    backtests : Dataset or mapping
        What `Forecaster.backtest` gives; several by the names of their models, at most eight.
    metric : {"mae", "rmse", "mse", "bias", "smape"}
        See `samovar_forecast.evaluation`.
    series : name or None
        Errors of one series. None: of all, averaged; series in different units are better drawn one by one.
    title : str or None
        None: the series.
    ax : matplotlib.axes.Axes or None
        Where to draw. None: a new figure.

    Raises
    ------
    ValueError
        If the metric or the series is not there, or there are more backtests than colors.

    Examples
    --------
    >>> import xarray as xr
    >>> dims = ("cutoff", "step", "series")
    >>> backtest = xr.Dataset({"forecast": (dims, np.zeros((2, 3, 1))), "actual": (dims, np.ones((2, 3, 1)))},
    ...                       coords={"step": [1, 2, 3], "series": ["load"]})
    >>> plot_errors_by_step(backtest).axes[0].get_xlabel()
    'step'
    """
    if metric not in _METRICS:
        raise ValueError(f"metric must be one of {list(_METRICS)}, got {metric!r}")
    compute, label = _METRICS[metric]
    axes = new_figure(7, 3.4).subplots() if ax is None else ax
    for color, (name, backtest) in zip(COLORS, _named(backtests).items(), strict=False):
        of_step = compute(_part(backtest, series), dim=("cutoff", "series"))
        marker = "o" if of_step.sizes["step"] < 25 else None
        axes.plot(of_step["step"], of_step, color=color, linewidth=1.8, marker=marker, markersize=3.5, label=name)
    style(axes, title if title is not None else f"Error by step, {_whose(series)}")
    axes.set(xlabel="step", ylabel=label)
    integer_ticks(axes)
    if metric != "bias":
        axes.set_ylim(bottom=0)
    if len(axes.lines) > 1:
        legend(axes)
    return figure_of(axes)


def plot_calibration(
    backtests: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    series: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Observed against nominal coverage of the intervals: on the diagonal they are as wide as they should be.

    Parameters
    ----------
    backtests : Dataset or mapping
        Backtests with quantiles in pairs around the median, such as 0.1 and 0.9; several by the names of their models.
    series, title, ax
        See `plot_errors_by_step`.

    Raises
    ------
    ValueError
        If a backtest has no pair of quantiles.
    """
    axes = new_figure(4.6, 4.2).subplots() if ax is None else ax
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    several = _named(backtests)
    for color, (name, backtest) in zip(COLORS, several.items(), strict=False):
        part = _part(backtest, series)
        levels = part["quantile"].to_numpy() if "quantiles" in part else np.empty(0)
        pairs = [1 - 2 * level for level in sorted(levels) if level < 0.5 and np.isclose(levels, 1 - level).any()]
        if not pairs:
            raise ValueError(
                "calibration needs quantiles in pairs; ask for them: "
                "forecaster.backtest(y, quantiles=[0.1, 0.25, 0.75, 0.9])"
            )
        observed = [float(metrics.coverage(part, nominal=one, dim=None)) for one in pairs]
        axes.plot(pairs, observed, "o-", color=color, linewidth=1.6, markersize=4.5, label=name, clip_on=False)
    style(axes, title if title is not None else f"Calibration, {_whose(series)}", grid="both")
    axes.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.text(0.97, 0.05, "too narrow", ha="right", fontsize=8.5, color=FAINT, transform=axes.transAxes)
    axes.text(0.03, 0.93, "too wide", fontsize=8.5, color=FAINT, transform=axes.transAxes)
    if len(several) > 1:
        legend(axes, loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure_of(axes)


def plot_losses(summary: TrainingSummary, *, title: str = "Loss by epoch", ax: Axes | None = None) -> Figure:
    """Training and validation loss of every epoch, and the epoch whose weights were kept.

    Parameters
    ----------
    summary : TrainingSummary
        ``forecaster.training_summary_``.
    title : str
    ax : matplotlib.axes.Axes or None
        Where to draw. None: a new figure.

    Raises
    ------
    ValueError
        If the summary has no history, as in model files of old versions.
    """
    if not summary.history:
        raise ValueError("this training kept no losses of its epochs: its model file is of an older version")
    axes = new_figure(7, 3.2).subplots() if ax is None else ax
    epochs = [one.epoch for one in summary.history]
    marker = "o" if len(epochs) < 40 else None
    axes.plot(epochs, [one.training_loss for one in summary.history], color=OBSERVED, marker=marker, markersize=3.5,
              linewidth=1.4, label="training")  # fmt: skip
    validation = [one.validation_loss for one in summary.history]
    if any(one is not None for one in validation):
        values = np.array([np.nan if one is None else one for one in validation])
        axes.plot(epochs, values, color=COLORS[1], marker=marker, markersize=3.5, linewidth=1.8, label="validation")
    axes.axvline(summary.best_epoch, color=FAINT, linewidth=1, linestyle=":", label="weights kept")
    style(axes, title)
    axes.set(xlabel="epoch", ylabel="loss, scaled series")
    integer_ticks(axes)
    legend(axes, loc="upper right")
    return figure_of(axes)


def _named(backtests: Backtests) -> dict[str, xr.Dataset]:
    several = dict(backtests) if isinstance(backtests, Mapping) and "forecast" not in backtests else None
    if several is None:
        return {str(backtests.attrs.get("model") or "forecast"): backtests}
    if len(several) > len(COLORS):
        raise ValueError(f"at most {len(COLORS)} backtests fit into one picture, got {len(several)}: choose some")
    return several


def _whose(series: Any) -> str:
    return "all series" if series is None else str(series)


def _part(backtest: xr.Dataset, series: Any) -> xr.Dataset:
    """The backtest of one series, which stays a dimension."""
    if series is None:
        return backtest
    known = backtest["series"].values.tolist()
    if series not in known:
        raise ValueError(f"series must be one of {known}, got {series!r}")
    return backtest.isel(series=[known.index(series)])
