"""Commands for trained models: take in new rows, read the weights, export to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samovar_forecast.command_line.errors import files_for_arguments
from samovar_forecast.command_line.files import in_one, names_of_training, read_known, read_series, read_static
from samovar_forecast.command_line.forecasters import keep, load, load_for_frames
from samovar_forecast.command_line.options import Freeze, Known, Series, Static, split_names, with_table_format
from samovar_forecast.command_line.outputs import check_output, kept_when_interrupted
from samovar_forecast.command_line.pictures import METAVAR, OF_READINGS, pictures_asked, save_pictures_of_reading
from samovar_forecast.command_line.telling import tell, with_quiet

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ModelFile = Annotated[Path, typer.Argument(help="What `fit` wrote.")]


@with_quiet
@with_table_format
def update(
    model_file: ModelFile,
    data: Annotated[Path, typer.Argument(help="The rows that follow the training data; it may begin earlier.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file to write. Default: the same one.")
    ] = None,
    retrain: Annotated[bool, typer.Option(help="Train on the new rows, or only continue from them.")] = True,
    epochs: Annotated[int, typer.Option(help="Passes over the windows of the new rows.")] = 1,
    learning_rate: Annotated[float | None, typer.Option(help="Default: that of `fit`.", show_default=False)] = None,
    freeze: Freeze = None,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
) -> None:
    """Take the rows that follow the training data into a model."""
    place = output or model_file
    check_output(place)
    forecaster = load(model_file)
    names = split_names(series) or names_of_training(forecaster, model_file)
    panel = read_series(data, layout, names, forecaster)
    X = in_one(read_known(known, layout, names, forecaster))
    rows = read_static(static, layout, names, forecaster)
    with files_for_arguments(data, known, static), kept_when_interrupted(forecaster, place):
        panel = forecaster.fitted_.data.read_history(in_one(panel), shortest=1)  # in the time zone of the model
        newest = {key: one.history.index[-1] for key, one in forecaster.series_.items()}
        new = {key: frame[frame.index > newest[key]] if key in newest else frame for key, frame in panel.frames.items()}
        count = sum(map(len, new.values()))
        if not count:
            raise ValueError(f"{data} has no rows after {max(newest.values())}, up to which the model knows them")
        y = panel.layout.assemble({key: frame for key, frame in new.items() if len(frame)})
        forecaster.update(
            y, X, static=rows, retrain=retrain, epochs=epochs, learning_rate=learning_rate, freeze=split_names(freeze)
        )
    tell(f"took in {count:,} rows")
    keep(forecaster, place)


@with_quiet
@with_table_format
def explain(
    model_file: ModelFile,
    data: Annotated[Path | None, typer.Argument(help="History to explain; default: the training data.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV or Parquet file to write; default: CSV on stdout.")
    ] = None,
    influence: Annotated[
        bool, typer.Option("--influence", help="Write what each past row does, also for models that have parts.")
    ] = False,
    plot: Annotated[
        list[str] | None,
        typer.Option(
            metavar=METAVAR,
            help="Picture to write, e.g. influence.png, or lag-matrices=lags.png, responses=..., attention=..., and of "
            "SAMoVAR and FixedVAR contributions=..., paths=...; again for another one.",
        ),
    ] = None,
    series: Series = None,
    known: Known = None,
    layout: Any = None,
) -> None:
    """Take the next forecast apart, in units of the series.

    SAMoVAR and FixedVAR: a row for each target, step and part: "level", "own" (the newest segment itself), and
    "segment 1 context" or "segment 1 main" for what the autoregression adds. The parts add up to the forecast.

    Other models: a row for each target, source and lag: by how much the forecast changes if that past value were one
    standard deviation higher.
    """
    from samovar_forecast.files.tables import check_ending, write_table

    if output is not None:
        check_output(output)
        check_ending(output)
    pictures = pictures_asked(plot, OF_READINGS, default="influence")
    forecaster = load_for_frames(model_file)
    names = split_names(series) or names_of_training(forecaster, model_file) if data or known else []
    y = None if data is None else in_one(read_series(data, layout, names, forecaster))
    X = in_one(read_known(known, layout, names, forecaster))
    with files_for_arguments(data, known):
        reading = forecaster.explain(y, X, lag_matrices=False, influence=influence)
        if not influence and "contribution" not in reading:
            reading, influence = forecaster.explain(y, X, lag_matrices=False), True
        save_pictures_of_reading(pictures, forecaster, y, X)
    table = _influence_of(reading) if influence else _parts_of(reading)
    if output is None:
        typer.echo(table.to_csv(float_format="%.6g"), nl=False)
        return
    write_table(table, output)
    tell(f"saved {output}")


def _influence_of(reading: xr.Dataset) -> pd.DataFrame:
    return reading["influence"].to_series().rename("influence").reset_index().set_index("series")


def _parts_of(reading: xr.Dataset) -> pd.DataFrame:
    """The parts of a forecast below one another: (series, step, part, value)."""
    import pandas as pd

    added = reading["contribution"].to_series().rename("value").reset_index()
    parts = [
        reading["baseline"].to_series().rename("value").reset_index().assign(part="level"),
        reading["own"].to_series().rename("value").reset_index().assign(part="own"),
        added.assign(part="segment " + added["segment"].astype(str) + " " + added["token"].astype(str)),
    ]
    table = pd.concat(parts)[["series", "step", "part", "value"]]
    return table.sort_values(["series", "step"], kind="stable").set_index("series")


@with_quiet
def export(
    model_file: ModelFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")] = Path("model.onnx"),
    coverage: Annotated[
        float | None, typer.Option(help="With intervals that hold this share, as the outputs lower and upper.")
    ] = None,
) -> None:
    """Write a model as ONNX, with scaling and missing values inside, for programs without Python."""
    check_output(output)
    forecaster = load(model_file)
    forecaster.to_onnx(output, coverage)
    tell(f"saved {output}")
