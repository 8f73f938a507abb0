"""Readings of a vector autoregression: what each past segment adds to a forecast."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.var_weights import read_weights, segment_influence


def explain(fitted: Fitted, windows: Windows, scaler: Scaler, *, influence: bool) -> xr.Dataset:
    """The forecast after one window, as far as the network forecasts at once, taken apart; see `Forecaster.explain`.

    Raises
    ------
    TypeError
        If the network has no autoregressive weights.
    """
    data, network = fitted.data, fitted.network
    device = next(network.parameters()).device
    windows = windows.to(device)
    past = windows.past(windows.starts)
    effect = past.new_zeros(data.output_length, len(data.targets))
    if isinstance(network, CovariateNetwork):
        with torch.no_grad():
            past, added = network.take_out_effects(past, windows.covariates(windows.starts))
        network, effect = network.network, added[0]
    if not isinstance(network, SAMoVAR):
        raise TypeError(
            f"{type(network).__name__} has no autoregressive weights to read; SAMoVARForecaster and "
            "FixedVARForecaster have"
        )
    reading = read_weights(network, past)

    n_targets = len(data.targets)
    scale, center = scaler.scale[-n_targets:], scaler.center[-n_targets:]
    scale, center = scale[:, None], center[:, None]  # (series, 1)
    contribution = reading.contribution.double().cpu().numpy() * scale[:, None, None]
    own = reading.own.double().cpu().numpy() * scale
    baseline = (reading.baseline + effect.T).double().cpu().numpy() * scale + center
    by_feature = {
        "weights": (("series", "layer", "head", "lag", "token", "feature_in", "feature_out"), reading.weights),
        "tokens": (("series", "lag", "token", "feature"), reading.tokens),
        "token_contribution": (("series", "lag", "token", "feature"), reading.added),
        "forecast_token": (("series", "feature"), reading.forecast_token),
    }
    if influence:
        by_feature["influence"] = (("series", "source", "lag"), segment_influence(network, past))
    return xr.Dataset(
        {
            "contribution": (("series", "lag", "token", "step"), contribution),
            "own": (("series", "step"), own),
            "baseline": (("series", "step"), baseline),
            "forecast": (("series", "step"), baseline + own + contribution.sum((1, 2))),
            **{name: (dims, tensor.detach().cpu().numpy()) for name, (dims, tensor) in by_feature.items()},
        },
        coords={
            "series": data.targets,
            "lag": np.arange(1, network.n_segments + 1),
            "token": ["context", "main"],
            "step": np.arange(1, data.output_length + 1),
            **({"source": data.columns} if influence else {}),
        },
    )
