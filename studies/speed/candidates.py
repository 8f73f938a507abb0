"""Models of this package and of its peers, fitted each as its library does it, for 512 -> 96 on 7 series, batch 32.

A candidate has a whole fit, the data path of that fit by itself, and the bare step: network, loss, backward, clipping
where the library clips, and the very optimizer of the fit, on a prepared batch. Settings of the peers are chosen so
that their numbers of parameters are of the order of SAMoVAR's 151 thousand.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ClassVar

import pandas as pd
import torch
from steps import bare_step, windows_of
from torch import nn
from torch.optim.optimizer import Optimizer

import samovar_forecast
from samovar_forecast.training.batches import WindowBatches

CONTEXT_LENGTH, HORIZON, BATCH_SIZE, N_SERIES = 512, 96, 32, 7
_QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


class Candidate:
    """One model on one frame.

    Parameters
    ----------
    name : str
        Name of the class.
    frame : DataFrame
        float32, as many rows as hold `n_steps` batches of windows.
    n_steps : int
        Optimizer steps of a fit.
    """

    settings: ClassVar[dict[str, dict[str, Any]]]
    network: nn.Module

    def __init__(self, name: str, frame: pd.DataFrame, n_steps: int) -> None:
        self.name, self.frame, self.n_steps = name, frame, n_steps

    def fit(self) -> None:
        """From the frame to a fitted model, with no validation."""
        raise NotImplementedError

    def batches(self) -> Iterator[Any]:
        """The training batches of one pass, as the network takes them."""
        raise NotImplementedError

    def bare_step(self, optimizer: Optimizer) -> Callable[[], None]:
        """Network, loss and optimizer on one prepared batch; called after a fit."""
        raise NotImplementedError

    def gather(self) -> None:
        """As many batches as a fit takes."""
        for _ in islice(self.batches(), self.n_steps):
            pass


class Ours(Candidate):
    """A forecaster of this package.

    Without intervals from training windows, which would be forecasts that no peer makes; and SAMformer without
    sharpness-aware minimisation, which would double its steps.
    """

    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "SAMoVARForecaster": {},
        "SAMformerForecaster": {"sharpness_rho": None},
        "LinTransForecaster": {},
        "FixedVARForecaster": {},
        "LinearAttentionForecaster": {},
        "PSFAttentionForecaster": {},
        "AutoformerForecaster": {"calendar": None},
    }

    def fit(self) -> None:
        forecaster = getattr(samovar_forecast, self.name)(
            horizon=HORIZON,
            context_length=CONTEXT_LENGTH,
            batch_size=BATCH_SIZE,
            max_steps=self.n_steps,
            validation_fraction=0.0,
            quantiles=(0.5,),
            device="cpu",
            **self.settings[self.name],
        )
        self.forecaster = forecaster.fit(self.frame)
        self.network = forecaster.network_
        self.windows = windows_of(self.frame, CONTEXT_LENGTH, HORIZON)

    def batches(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(0)
        for part in WindowBatches(self.windows.starts, BATCH_SIZE, generator):
            yield self.windows.gather(part.starts)

    def bare_step(self, optimizer: Optimizer) -> Callable[[], None]:
        return bare_step(self.forecaster.network_, self.forecaster, self.windows)


class Darts(Candidate):
    """A torch model of darts, or one of ours in darts."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "TSMixerModel": {"hidden_size": 64, "ff_size": 64, "num_blocks": 2},
        "TiDEModel": {"hidden_size": 32, "decoder_output_dim": 8, "temporal_decoder_hidden": 32},
        "SAMoVARModel": {},
    }

    def fit(self) -> None:
        import darts.models
        from darts import TimeSeries

        import samovar_darts

        source = samovar_darts if self.name in samovar_darts.__all__ else darts.models
        self.model = getattr(source, self.name)(
            input_chunk_length=CONTEXT_LENGTH,
            output_chunk_length=HORIZON,
            batch_size=BATCH_SIZE,
            n_epochs=1,
            random_state=0,
            pl_trainer_kwargs=_QUIET | {"accelerator": "cpu", "max_steps": self.n_steps},
            **self.settings[self.name],
        )
        self.model.fit(TimeSeries.from_dataframe(self.frame))
        self.network = self.model.model

    def batches(self) -> Iterator[Any]:
        from darts.utils.data.torch_datasets.utils import ModuleStage

        for batch in self.model.trainer.train_dataloader:
            yield batch, batch.to_module_input(stage=ModuleStage.TRAIN)

    def bare_step(self, optimizer: Optimizer) -> Callable[[], None]:
        module = self.network.train()
        batch, inputs = next(self.batches())
        clip = self.model.trainer.gradient_clip_val

        def step() -> None:
            optimizer.zero_grad()
            module._compute_loss(module(inputs), batch.future_target, module.train_criterion, None).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()

        return step


class NeuralForecast(Candidate):
    """A model of neuralforecast."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "PatchTST": {"hidden_size": 16, "n_heads": 4, "linear_hidden_size": 128},
        "iTransformer": {"hidden_size": 64, "n_heads": 8, "d_ff": 256},
        "TSMixer": {"n_block": 1},
    }

    def fit(self) -> None:
        import neuralforecast.models
        from neuralforecast import NeuralForecast as Host

        kind = getattr(neuralforecast.models, self.name)
        shape = {"n_series": N_SERIES} if kind.MULTIVARIATE else {}
        model = kind(
            h=HORIZON,
            input_size=CONTEXT_LENGTH,
            # A window of a univariate model is one of one series.
            windows_batch_size=BATCH_SIZE if kind.MULTIVARIATE else BATCH_SIZE * N_SERIES,
            max_steps=self.n_steps,
            accelerator="cpu",
            **shape,
            **_QUIET,
            **self.settings[self.name],
        )
        long = self.frame.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
        self.host = Host(models=[model], freq="h")
        self.host.fit(long)
        self.network = self.host.models[0]

    def batches(self) -> Iterator[Any]:
        """What the model's `training_step` does before its network, batch by batch."""
        from neuralforecast.tsdataset import TimeSeriesDataModule

        model = self.network
        while True:  # a pass of its loader is one batch of all series
            for batch in TimeSeriesDataModule(self.host.dataset, batch_size=model.batch_size).train_dataloader():
                temporal, static, static_cols, allowed, weight, columns = model._create_windows(batch, step="train")
                chosen = torch.randperm(len(allowed))[: model.windows_batch_size]
                windows = model._sample_windows(temporal, static, static_cols, columns, chosen, allowed, weight)
                windows = model._normalization(windows=windows, y_idx=batch["y_idx"])
                names = ("insample_y", "insample_mask", "outsample_y", "outsample_mask", "hist_exog", "futr_exog",
                         "stat_exog")  # fmt: skip
                yield dict(zip(names, model._parse_windows(batch, windows), strict=True))

    def bare_step(self, optimizer: Optimizer) -> Callable[[], None]:
        model = self.network.train()
        batch = next(self.batches())

        def step() -> None:
            optimizer.zero_grad()
            output = model.loss.domain_map(model(batch))
            target, mask = batch["outsample_y"], batch["outsample_mask"]
            model.loss(y=target, y_hat=output, y_insample=batch["insample_y"], mask=mask).backward()
            optimizer.step()

        return step


class Sktime(Candidate):
    """The transformer of sktime."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "LTSFTransformerForecaster": {"d_model": 64, "n_heads": 4, "d_ff": 128, "e_layers": 2, "d_layers": 1}
    }

    def fit(self) -> None:
        from sktime.forecasting.ltsf import LTSFTransformerForecaster

        self.forecaster = LTSFTransformerForecaster(
            seq_len=CONTEXT_LENGTH,
            context_len=HORIZON // 2,
            pred_len=HORIZON,
            num_epochs=1,
            batch_size=BATCH_SIZE,
            **self.settings[self.name],
        )
        self.forecaster.fit(self.frame, fh=list(range(1, HORIZON + 1)))
        self.network = self.forecaster.network

    def batches(self) -> Iterator[Any]:
        yield from self.forecaster.build_pytorch_train_dataloader(self.frame)

    def bare_step(self, optimizer: Optimizer) -> Callable[[], None]:
        network = self.network.train()
        inputs, target = next(self.batches())

        def step() -> None:
            loss = self.forecaster._criterion(network(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step


LIBRARIES: dict[str, type[Candidate]] = {
    "samovar-forecast": Ours,
    "darts": Darts,
    "neuralforecast": NeuralForecast,
    "sktime": Sktime,
}


def installed(library: str) -> bool:
    return importlib.util.find_spec(library.replace("-", "_")) is not None


def quiet() -> None:
    """No banners and tips of Lightning, from any library."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "darts"):
        logging.getLogger(name).setLevel(logging.ERROR)
