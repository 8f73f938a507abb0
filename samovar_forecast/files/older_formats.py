"""Headers of model files that earlier versions wrote, brought up to date."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from samovar_forecast.networks.segment_network import published_width


def modernise(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Turn a header of format 1 to 5, and its tensors, into those of the newest format; in place.

    The first format knew one series and no intervals. Up to the second, tuples were written as lists. Up to the third,
    classes were those of this package, and a calibration had one curve per target, which `Calibration` reads. Up to the
    fourth, there were no bounds, segments were forecast one at a time, and networks that embed the calendar embedded
    the known covariates too. Up to the fifth, networks of segments had the published width where none was given.

    Raises
    ------
    LookupError, TypeError, ValueError, RuntimeError, AttributeError
        If something is missing.
    """
    if header["format"] == 1:
        header |= {
            "static": [],
            "calendar": header.get("calendar", []),
            "layout": {"kind": "single", "is_series": header.pop("y_is_series"), "names": []},
            "series": [{"name": None, "n_rows": len(tensors["history"]), "index": header.pop("index")}],
            "calibration": None,
        }
        tensors["logarithmic"] = torch.zeros(len(tensors["center"]), dtype=torch.bool)
        tensors["center"], tensors["scale"] = tensors["center"].unsqueeze(0), tensors["scale"].unsqueeze(0)
    if header["format"] <= 2:
        header["hyperparameters"] = {
            name: {"tuple": value} if isinstance(value, list) and name != "targets" else value
            for name, value in header["hyperparameters"].items()
        }
    if header["format"] <= 4:
        header["embeds_known"] = True
        given = header["hyperparameters"]
        segment = given.get("segment_length") or given["horizon"]
        output = segment if "segment_length" in given else given["horizon"]
        header["lengths"] = {"context": header.pop("context_length"), "output": output, "segment": segment}
        if header["calibration"] is not None:
            header["calibration"]["horizon"] = given["horizon"]
    given = header["hyperparameters"]
    if header["format"] <= 5 and "segment_length" in given and given.get("d_model") is None:
        given["d_model"] = published_width(len(header["columns"]))
