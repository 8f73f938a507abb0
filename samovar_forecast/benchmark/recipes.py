"""Recipes of the benchmark: look-backs, published hyperparameters, and the settings of the baselines.

A recipe names what differs from the defaults of a forecaster's class. An entry of one data set is laid over that of
all of them, "*".
"""

from __future__ import annotations

from typing import Any

# Data of more than 100 series, and the width of a token there: 32 times the root of their number, rounded down.
WIDE = {
    "Solar": 352, "ECL": 544, "Traffic": 928, "PEMS03": 576, "PEMS04": 544, "PEMS07": 928, "PEMS08": 416,
}  # fmt: skip
ADAM = {"weight_decay": 0.0, "adam_betas": (0.9, 0.999), "gradient_clip": None, "average_weights": None}

# Lu & Yang, ICML 2025, arXiv 2502.07244, appendix and scripts: AdamW at 6e-4, linear warm-up and decay over 100 epochs,
# patience 12, squared error; batches of 32, on wide data as four of 8. Their schedule ends one epoch later.
_VAR: dict[str, dict[str, Any]] = {
    "*": {
        "learning_rate": 6e-4, "weight_decay": 0.1, "adam_betas": (0.9, 0.95), "gradient_clip": 1.0,
        "schedule": "onecycle", "max_epochs": 100, "patience": 12, "loss": "mse", "average_weights": None,
        "batch_size": 32, "n_layers": 3, "n_heads": 8, "dropout": 0.1,
    },
    "Weather": {"d_model": 128},
    **{data: {"batch_size": 8, "accumulate_batches": 4, "d_model": width} for data, width in WIDE.items()},
}  # fmt: skip

PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "SAMoVAR": _VAR,
    "LinTrans": _VAR,
    "FixedVAR": _VAR,
    # Ilbert et al., ICML 2024, arXiv 2402.10198, appendix: Adam, rate and rho by data set. ILI, Solar and PEMS are not
    # theirs: the rate goes by the size of the data as it does there, rho is that of most. Within five epochs their rate
    # falls to 1e-6, here to a thousandth, which is the same at 1e-3.
    "SAMformer": {
        "*": {
            **ADAM, "learning_rate": 1e-3, "batch_size": 32, "schedule": "cosine_restarts", "max_epochs": 100,
            "patience": 5, "loss": "mse", "sharpness_rho": 0.5,
        },
        **{data: {"learning_rate": 1e-4} for data in WIDE},
        "ETTm1": {"sharpness_rho": 0.6},
        "ETTm2": {"sharpness_rho": 0.2},
        "Exchange": {"sharpness_rho": 0.7},
        "Traffic": {"learning_rate": 1e-4, "sharpness_rho": 0.8},
        "Weather": {"learning_rate": 1e-4, "sharpness_rho": 0.4},
    },
    # Wu et al., NeurIPS 2021, arXiv 2106.13008, section on implementation and scripts. The label is half of the
    # look-back: 48, and 18 on ILI.
    "Autoformer": {
        "*": {
            **ADAM, "learning_rate": 1e-4, "batch_size": 32, "schedule": "halving", "max_epochs": 10, "patience": 3,
            "loss": "mse", "calendar": "auto", "d_model": 512, "d_ff": 2048, "n_heads": 8, "n_encoder_layers": 2,
            "n_decoder_layers": 1, "dropout": 0.05, "factor": 3,
        },
        "ETTm2": {"factor": 1},
    },
    # No forecasts of this network are published: a recipe near that of PatchTST (Nie et al., ICLR 2023), whose tokens
    # it has, with its rate, epochs and width of the larger data sets, and batches as all others here.
    "LinearAttention": {
        "*": {
            "learning_rate": 1e-4, "weight_decay": 0.0, "adam_betas": (0.9, 0.999), "gradient_clip": None,
            "average_weights": None, "schedule": "onecycle", "max_epochs": 100, "patience": 12, "loss": "mse",
            "batch_size": 32, "d_model": 128, "n_layers": 3, "dropout": 0.2,
        },
    },
    # No forecasts either: width, rate and batch of the reference tasks (Khalitov et al., Neural Networks 2022), one
    # token for each step.
    "PSFAttention": {
        "*": {
            **ADAM, "learning_rate": 1e-3, "batch_size": 40, "loss": "mse", "max_epochs": 100, "patience": 5,
            "d_model": 32, "patch_length": 1,
        },
    },
}  # fmt: skip

# Horizon: look-back, of models whose look-back grows with the horizon (the scripts of Lu & Yang).
_GROWING = {96: 1024, 336: 2048, 720: 4096}
_GROW = ("SAMoVAR", "LinTrans", "FixedVAR")
_LOOK_BACKS: dict[str, int] = {
    "SAMformer": 512,
    "Autoformer": 96,
    "LinearAttention": 512,
    "PSFAttention": 336,
    # of their published results: PatchTST/64, DLinear, iTransformer; TSMixer as SAMformer's authors reran it
    "PatchTST": 512,
    "DLinear": 336,
    "NLinear": 336,
    "linear": 512,
    "naive": 512,
    "iTransformer": 96,
    "TSMixer": 512,
}
_ILI, _ILI_AUTOFORMER = 104, 36

# Settings of networks from other libraries, where they are not the libraries' own. `linear` is one linear map that all
# series share after reversible instance normalisation, as darts has it.
BASELINES: dict[str, dict[str, Any]] = {
    "naive": {},
    "linear": {"shared_weights": True, "const_init": False, "normalize": False, "use_reversible_instance_norm": True},
    "darts:NLinear": {"shared_weights": True, "const_init": False},
    "darts:DLinear": {"shared_weights": True, "const_init": False},
    "darts:TSMixer": {"use_reversible_instance_norm": True},
}
LIBRARIES = ("darts", "neuralforecast")

HORIZONS = (96, 192, 336, 720)
HORIZONS_OF_ILI = (24, 36, 48, 60)


def plain_name(model: str) -> str:
    """The name of a model without its library.

    Examples
    --------
    >>> plain_name("neuralforecast:PatchTST"), plain_name("SAMoVAR")
    ('PatchTST', 'SAMoVAR')
    """
    return model.rpartition(":")[2]


def horizons(data: str) -> tuple[int, ...]:
    """The horizons that results are published for."""
    return HORIZONS_OF_ILI if data == "ILI" else HORIZONS


def look_back(model: str, data: str, horizon: int) -> int:
    """Rows that a model sees, in both recipes.

    Raises
    ------
    ValueError
        If no paper names one for a library's model.

    Examples
    --------
    >>> look_back("SAMoVAR", "ETTh1", 720), look_back("SAMoVAR", "ILI", 24)
    (4096, 104)
    """
    known = known_look_back(model, data, horizon)
    if known is None:
        raise ValueError(f"no look-back of {model} is known from a paper; give one, as --context-length")
    return known


def known_look_back(model: str, data: str, horizon: int) -> int | None:
    """The look-back of a model in its paper; None where it is not known."""
    name = plain_name(model)
    if name not in _LOOK_BACKS and name not in _GROW:
        return None
    if data == "ILI":
        return _ILI_AUTOFORMER if name == "Autoformer" else _ILI
    if name in _LOOK_BACKS:
        return _LOOK_BACKS[name]
    return next((rows for longest, rows in _GROWING.items() if horizon <= longest), max(_GROWING.values()))


def published(model: str, data: str) -> dict[str, Any]:
    """The hyperparameters of the published recipe of a model on a data set.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> published("SAMformer", "Weather")["sharpness_rho"]
    0.4
    """
    if model not in PUBLISHED:
        raise ValueError(f"there is no published recipe of {model}; there are those of {', '.join(PUBLISHED)}")
    recipes = PUBLISHED[model]
    return recipes["*"] | recipes.get(data, {})
