"""Serve the forecasts of one model file over HTTP.

    pip install "samovar-forecast[serve]"
    python examples/serve_forecasts.py model.safetensors --port 8000

The model is loaded once, at the start; where no file is given, the environment variable SAMOVAR_FORECAST_MODEL names
it. `/docs` describes the service in the browser.

- `GET /health`: the service has a model and answers.
- `GET /model`: its columns, lengths and step.
- `POST /forecast`: a history, as one record a row, to a forecast, as one record a step.

What the forecaster refuses comes back as status 422, with its own message. What it warns of stands in the answer.
"""

import argparse
import os
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from samovar_forecast import Forecaster

TIME = "time"


class Query(BaseModel):
    """What to forecast: rows with a time stamp and a number, or null, for each column."""

    model_config = ConfigDict(extra="forbid")  # a mistyped field is refused, not left out

    history: list[dict[str, Any]]
    known: list[dict[str, Any]] | None = None  # covariates of the rows of the history and of the steps to forecast
    series: str | None = None  # for a model of many series: the one that the history is of
    coverage: float | None = None  # with an interval of this coverage
    horizon: int | None = None


def frame_of(records: list[dict[str, Any]], columns: list[Any], axis: pd.Index, name: str) -> pd.DataFrame:
    """Records as a frame with the labels of training and a time axis of the same kind."""
    lacking = next((number for number, record in enumerate(records) if TIME not in record), None)
    if lacking is not None:
        raise ValueError(f"record {lacking} of {name} has no {TIME!r}")
    frame = pd.DataFrame(records)
    if frame.empty:
        raise ValueError(f"{name} has no records")
    index = index_of(frame.pop(TIME).tolist(), axis)
    # JSON has null for a value that was not observed; a column of nothing else would be one of objects.
    frame = frame.where(frame.notna(), np.nan).infer_objects().set_axis(index)
    return frame.rename(columns={str(column): column for column in columns})  # JSON knows names of text only


def index_of(stamps: list[Any], axis: pd.Index) -> pd.Index:
    if isinstance(axis, pd.PeriodIndex):
        return pd.PeriodIndex(stamps, freq=axis.freq)
    if not isinstance(axis, pd.DatetimeIndex):
        return pd.Index(stamps)
    if axis.tz is None:
        return pd.DatetimeIndex(stamps)
    without = next((stamp for stamp in stamps if pd.Timestamp(stamp).tzinfo is None), None)
    if without is not None:  # at the end of summer time it would stand for two hours
        raise ValueError(f"{TIME} {without!r} has no offset from UTC, and the rows of training are in {axis.tz}")
    return pd.to_datetime(stamps, utc=True).tz_convert(axis.tz)


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    stamps = [stamp.isoformat() if isinstance(stamp, pd.Timestamp) else str(stamp) for stamp in table.index]
    if table.index.inferred_type == "integer":
        stamps = table.index.tolist()
    rows = table.to_numpy().tolist()
    return [{TIME: stamp} | dict(zip(table.columns, row, strict=True)) for stamp, row in zip(stamps, rows, strict=True)]


def create_app(path: str) -> FastAPI:
    """The service of one model file."""
    forecaster = Forecaster.load(path)
    axis = next(iter(forecaster.series_.values())).history.index
    names = {str(key): key for key in forecaster.series_} if forecaster.is_panel_ else {}
    # Filters of warnings belong to the whole process, and forecasts made at once would only share the processor.
    one_at_a_time = threading.Lock()
    app = FastAPI(title="Forecasts", description=f"{type(forecaster).__name__} from {path}")

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/model")
    def model() -> dict[str, Any]:
        return {
            "model": type(forecaster).__name__,
            "columns": [str(column) for column in forecaster.columns_],
            "targets": [str(target) for target in forecaster.targets_],
            "known": [str(column) for column in forecaster.known_],
            "series": list(names) if forecaster.is_panel_ else None,
            "horizon": forecaster.fitted_.data.horizon,
            "context_length": forecaster.context_length_,
            "step": getattr(forecaster.frequency_, "freqstr", forecaster.frequency_),
        }

    @app.post("/forecast")
    def forecast(query: Query) -> dict[str, Any]:
        def given(records: list[dict[str, Any]] | None, columns: list[Any], name: str) -> Any:
            if records is None:
                return None
            frame = frame_of(records, columns, axis, name)
            return frame if query.series is None else {names.get(query.series, query.series): frame}

        def of_series(forecast: Any) -> pd.DataFrame:
            return forecast if query.series is None else next(iter(forecast.values()))

        try:
            y = given(query.history, forecaster.columns_, "history")
            X = given(query.known, forecaster.known_, "known")
            with one_at_a_time, warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                table = of_series(forecaster.predict(y, X, query.horizon)).rename(columns=str)
                if query.coverage is not None:
                    bounds = of_series(forecaster.predict_interval(query.coverage, y, X, query.horizon))
                    table = table.assign(**{f"{target} {bound}": bounds[target, bound] for target, bound in bounds})
        except (TypeError, ValueError) as error:
            raise HTTPException(422, str(error)) from error
        messages = dict.fromkeys(str(one.message) for one in told if issubclass(one.category, UserWarning))
        return {"forecast": records_of(table), "warnings": list(messages)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=os.environ.get("SAMOVAR_FORECAST_MODEL"), help="model file")
    parser.add_argument("--host", default="127.0.0.1", help="address; there is no log-in, so this machine only")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    if options.model is None:
        parser.error("name a model file, or set SAMOVAR_FORECAST_MODEL")
    try:
        app = create_app(options.model)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    uvicorn.run(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()
