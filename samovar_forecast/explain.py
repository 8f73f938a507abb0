"""What each past segment adds to a forecast, as an xarray Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.panel import PandasPanel
from samovar_forecast.forecaster import Forecaster
from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.network import Covariates
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.var_weights import read_weights, segment_influence

if TYPE_CHECKING:
    import xarray as xr


class VARForecaster(Forecaster):
    """A forecaster whose network is a vector autoregression with readable weights."""

    def explain(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        influence: bool = True,
    ) -> xr.Dataset:
        """Take the forecast of the first segment apart into what each past segment adds to it.

        For fixed queries and values the attention stack is linear in its input tokens: the token that is
        decoded to the forecast is the newest main token plus a weighted sum over the tokens of all past
        segments. The weights are exact, so the parts add up to the network's own output.

        Parameters
        ----------
        y : Series, DataFrame or None
            The history to explain, as in `predict`; None: the newest training rows.
        X, static
            Covariates, as in `predict`.
        influence : bool, default True
            Also compute `influence`, which costs a backward pass per target and step.

        Returns
        -------
        xarray.Dataset
            Lag 1 is the newest segment; `token` is "context" (all series mixed) or "main" (the target).

            In the units of the data (with `log1p`, of their logarithms), adding up to `forecast` (series, step):

            - `contribution` (series, lag, token, step): what each token adds through the autoregression,
            - `own` (series, step): what the newest main token adds directly,
            - `baseline` (series, step): level of the window, bias of the decoder, effect of covariates.

            In the features of the network:

            - `weights` (series, layer, head, lag, token, feature_in, feature_out): the VAR weights,
            - `tokens` and `token_contribution` (series, lag, token, feature): what enters the stack, and that
              times the weights,
            - `forecast_token` (series, feature): the newest main token plus all token contributions.

            In training standard deviations:

            - `influence` (series, source, lag): norm of the derivative of the target's forecast with respect
              to the segment of the source, the weights' own dependence on the data included.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            If the history is too short, has other columns, or holds several series, or if `X` lacks rows.

        References
        ----------
        Lu & Yang, ICML 2025, temporal influence paths.
        """
        import xarray as xr

        check_is_fitted(self)
        contexts = self.contexts(y, X, self.horizon, static)
        if len(contexts.keys) > 1:
            raise ValueError(f"explain takes one series, and there are {len(contexts.keys)}; give one of them as y")
        scaler = contexts.scalers[0]
        device = next(self.network_.parameters()).device
        past, network = contexts.values[: self.context_length_].unsqueeze(0).to(device), self.network_
        effect = past.new_zeros(self.horizon, len(self.targets_))
        if isinstance(network, CovariateNetwork):
            covariates = Covariates(static=None if contexts.static is None else contexts.static.to(device))
            if contexts.known is not None:
                known = contexts.known.unsqueeze(0).to(device)
                known_past, known_future = known[:, : self.context_length_], known[:, self.context_length_ :]
                covariates = covariates._replace(known_past=known_past, known_future=known_future)
            with torch.no_grad():
                past, added = network.take_out_effects(past, covariates)
            network, effect = network.network, added[0]
        assert isinstance(network, SAMoVAR)
        reading = read_weights(network, past)

        n_targets, length = len(self.targets_), network.segment_length
        scale, center = scaler.scale[-n_targets:], scaler.center[-n_targets:]
        scale, center = scale[:, None], center[:, None]  # (series, 1)
        contribution = reading.contribution.double().cpu().numpy() * scale[:, None, None]
        own = reading.own.double().cpu().numpy() * scale
        baseline = (reading.baseline + effect[:length].T).double().cpu().numpy() * scale + center
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
                "series": self.targets_,
                "lag": np.arange(1, network.n_segments + 1),
                "token": ["context", "main"],
                "step": np.arange(1, length + 1),
                **({"source": self.columns_} if influence else {}),
            },
        )
