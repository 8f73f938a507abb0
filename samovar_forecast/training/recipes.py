"""Training defaults of single models, where their papers ask for others than `TrainingConfig` has."""

from __future__ import annotations

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.training.config import TrainingConfig


@hyperparameters
class SAMformerRecipe(TrainingConfig):
    """Adam on the squared error with sharpness-aware minimisation; the rate restarts every five epochs.

    References
    ----------
    Ilbert et al., ICML 2024, arXiv 2402.10198, appendix on training.
    """

    learning_rate = 1e-3
    weight_decay = 0.0
    adam_betas = (0.9, 0.999)
    schedule = "cosine_restarts"
    average_weights = None
    gradient_clip = None
    loss = "mse"
    sharpness_rho = 0.5


@hyperparameters
class AutoformerRecipe(TrainingConfig):
    """Adam on the squared error for few epochs, at a rate that halves every epoch after the second.

    Beyond the paper the weights are averaged, as the package does by default, and the rate is half of the paper's.

    References
    ----------
    Wu et al., NeurIPS 2021, arXiv 2106.13008, section on implementation.
    """

    learning_rate = 5e-5
    weight_decay = 0.0
    adam_betas = (0.9, 0.999)
    schedule = "halving"
    max_epochs = 10
    patience = 3
    gradient_clip = None
    loss = "mse"
    calendar = "auto"


@hyperparameters
class SmallNetworkRecipe(TrainingConfig):
    """The package's own recipe at a higher rate, for networks that are a few features wide."""

    learning_rate = 1e-3
