"""The report of a made-up store: every number that it shows is counted here by hand."""

import re
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from matplotlib.figure import Figure

from samovar_forecast.benchmark.figures import color_of, draw_errors, draw_time
from samovar_forecast.benchmark.plan import FORECASTERS, plan
from samovar_forecast.benchmark.published import find, published_results
from samovar_forecast.benchmark.recipes import horizons
from samovar_forecast.benchmark.report import write_report
from samovar_forecast.benchmark.store import DONE, FAILED, Store
from samovar_forecast.benchmark.summary import ranks, summarise
from samovar_forecast.files.datasets import names

ROOT = Path(__file__).parents[2]


def outcome(mse, mae=0.5, **others):
    return {
        "mse": mse, "mae": mae, "windows": 10, "validation_mse": 0.3, "validation_mae": 0.2, "parameters": 1234,
        "epochs": 7, "best_epoch": 2, "seconds_per_epoch": 1.5, "training_seconds": 10.5, "total_seconds": 12.0,
        "resumed_after_epoch": 0, "peak_memory_mb": 500, "gpu_memory_mb": None, "threads": 1,
        "versions": {"torch": "2.9.0"}, "look_back": 512, "at_shorter_horizons": {},
    } | others  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """SAMoVAR on ETTh1 with three seeds at 96 and one elsewhere, SAMformer at 96, the naive forecast everywhere."""
    store = Store(tmp_path / "results")

    def write(errors, models, horizons, seeds=(0,), **settings):
        runs = plan(models, ["ETTh1"], horizons, seeds, "published", device="cpu", settings=settings)
        for run, mse in zip(runs, errors, strict=True):
            store.write(run, DONE, outcome(mse))

    write([0.36, 0.38, 0.37], ["SAMoVAR"], [96], seeds=[0, 1, 2])
    write([0.40, 0.42, 0.50], ["SAMoVAR"], [192, 336, 720])
    write([0.381 * 1.02], ["SAMformer"], [96])
    write([0.5], ["SAMformer"], [96], max_epochs=1)
    write([0.6, 0.7, 0.8, 0.3], ["naive"], [96, 192, 336, 720])
    (failed,) = plan(["LinTrans"], ["ETTh1"], [96], recipe="published", device="cpu")
    store.write(failed, FAILED, {"error": "MemoryError: too | little"})
    return store


def test_means_over_seeds_and_horizons(store):
    results = {(one.label, one.horizon): one for one in summarise(store.records())}
    three = results["SAMoVAR (published)", 96]
    assert (three.mse, three.deviation) == pytest.approx((0.37, 0.01))
    assert (three.seeds, three.look_backs) == ((0, 1, 2), (1024,))
    average = results["SAMoVAR (published)", None]
    assert average.mse == pytest.approx((0.36 + 0.40 + 0.42 + 0.50) / 4)  # of the seed that all horizons have
    assert (average.look_backs, average.seeds) == ((1024, 2048, 2048, 4096), (0,))
    assert average.published.mse == 0.401
    assert average.difference == pytest.approx(100 * (0.42 / 0.401 - 1))
    assert results["SAMformer (published)", 96].difference == pytest.approx(2.0)
    assert results["SAMformer (published, max_epochs=1)", 96].mse == 0.5
    assert ("SAMformer (published)", None) not in results
    assert results["naive", None].published is None


def test_ranks_are_over_what_all_compared_models_have(store):
    results = summarise(store.records())
    four = {"SAMoVAR (published)": (1 + 1 + 1 + 2) / 4, "naive": (2 + 2 + 2 + 1) / 4}
    assert ranks(results) == (four, 4)  # two models at four horizons are more than four models at one
    first = [one for one in results if one.horizon == 96]
    assert ranks(first) == (
        {"SAMoVAR (published)": 1, "SAMformer (published)": 2, "SAMformer (published, max_epochs=1)": 3,
         "naive": 4}, 1,
    )  # fmt: skip
    apart = [one for one in results if (one.model, one.horizon) in (("SAMoVAR", 192), ("naive", 96))]
    assert ranks(apart) == ({}, 0)
    assert ranks([]) == ({}, 0)
    naive, samovar = ({one for one in results if one.label == label} for label in ("naive", "SAMoVAR (published)"))
    elsewhere = [replace(one, data="Weather") for one in samovar] + [
        replace(one, data="Weather", model="LinTrans") for one in samovar
    ]
    alone = [replace(one, data=f"ETTm{number}") for one in naive for number in (1, 2)]  # the most, and none shared
    assert ranks(elsewhere + alone) == ({"LinTrans (published)": 1.5, "SAMoVAR (published)": 1.5}, 4)


def test_what_is_not_the_same_is_not_averaged(tmp_path):
    store = Store(tmp_path / "results")
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ETTh1.csv").write_text(f"date,a\n2024-01-01,{number}\n")
        for shares in (None, (0.5, 0.25, 0.25)):
            (run,) = plan(["naive"], [str(folder / "ETTh1.csv")], [96], device="cpu", shares=shares)
            store.write(run, DONE, outcome(0.24 + number))
    for settings in ({}, {"dropout": 0.2}, {"learning_rate": 1e-3}):
        (run,) = plan(["SAMoVAR"], ["ETTh1"], [96], device="cpu", label="study", settings=settings)
        store.write(run, DONE, outcome(0.4))
    (run,) = plan(["SAMformer"], ["ETTh1"], [96], device="cpu")
    for device in ("cpu", "cuda"):
        store.write(replace(run, device=device), DONE, outcome(0.4))
    results = summarise(store.records())
    assert all(one.deviation is None and one.seeds == (0,) for one in results)
    files = {one.data for one in results if one.model == "naive"}
    assert len(files) == 2
    assert all(re.fullmatch(r"ETTh1\.csv [0-9a-f]{8}", name) for name in files)
    assert {one.recipe for one in results if one.model == "naive"} == {"default", "default, split 0.5 0.25 0.25"}
    assert all(one.published is None for one in results if one.model == "naive")
    studies = {one.recipe.removesuffix(", on cpu") for one in results if one.model == "SAMoVAR"}
    assert studies == {"study", "study, dropout=0.2", "study, learning_rate=0.001"}
    assert {one.recipe for one in results if one.model == "SAMformer"} == {"default, on cpu", "default, on cuda"}


def test_averages_are_of_seeds_and_look_backs_that_all_horizons_have(tmp_path):
    store = Store(tmp_path / "results")
    for horizon in (96, 192, 336, 720):
        for run in plan(["SAMformer"], ["ETTh1"], [horizon], seeds=[0, 1, horizon], device="cpu"):
            store.write(run, DONE, outcome(0.1 * (1 + run.seed)))
    (other,) = plan(["SAMformer"], ["ETTh1"], [96], device="cpu", context_length=336)
    store.write(other, DONE, outcome(9.0))
    for run in plan(["LinTrans"], ["ETTh1"], [96, 192], [0], device="cpu") + plan(
        ["LinTrans"], ["ETTh1"], [336, 720], [1], device="cpu"
    ):
        store.write(run, DONE, outcome(0.4))
    for run in plan(["SAMoVAR"], ["ETTh1"], recipe="published", device="cpu", context_length=96):
        store.write(run, DONE, outcome(0.4))
    results = summarise(store.records())
    averages = {one.label: one for one in results if one.horizon is None}
    assert set(averages) == {"SAMformer", "SAMoVAR (published, context_length=96)"}
    assert averages["SAMformer"].seeds == (0, 1)
    assert averages["SAMformer"].mse == pytest.approx(0.15)
    assert averages["SAMformer"].deviation == pytest.approx(stdev([0.1, 0.2]))
    assert averages["SAMoVAR (published, context_length=96)"].difference is None  # published with 1024 to 4096
    assert {one.recipe for one in results if one.mse == 9.0} == {"default, context_length=336"}


def test_one_training_counts_at_every_horizon_that_it_is_scored_at(tmp_path):
    store = Store(tmp_path / "results")
    for seed, error in enumerate((0.4, 0.6)):
        (run,) = plan(["SAMoVAR"], ["ETTh1"], seeds=[seed], device="cpu")
        at = {horizon: {"mse": error - 0.1, "mae": 0.3, "windows": 20} for horizon in run.shorter_horizons}
        store.write(run, DONE, outcome(error, at_shorter_horizons=at))
    results = {one.horizon: one for one in summarise(store.records())}
    assert {horizon: one.mse for horizon, one in results.items()} == pytest.approx(
        {96: 0.4, 192: 0.4, 336: 0.4, 720: 0.5, None: 0.425}
    )
    assert {one.label for one in results.values()} == {"SAMoVAR"}
    assert (results[None].seeds, results[None].look_backs) == ((0, 1), (512,) * 4)
    assert results[None].deviation == pytest.approx(stdev([0.325, 0.525]))


def test_page_shows_them(store, tmp_path):
    path = tmp_path / "benchmark.md"
    write_report(store.records(), path)
    text = path.read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 96 | SAMoVAR")]
    assert rows[0][2:7] == ["published", "1024", "0, 1, 2", "**0.3700 ± 0.0100**", "0.5000"]
    assert rows[1][1:] == ["SAMoVAR (published)", "1,234", "7, 2", "1.5", "10", "500", "cpu, 1"]
    assert "| average | SAMoVAR | published | 1024, 2048, 2048, 4096 | 0 | 0.4200 | 0.5000 | 0.401 |  | +4.7 %" in text
    defaults, published = text.split("### Defaults and baselines")[1].split("### Published recipes")
    assert "| 96 | naive | default |" in defaults
    assert "SAMoVAR" not in defaults.split("\n## ")[0]
    assert "| 96 | naive | default |" not in published.split("![ETTh1]")[0]
    assert "| SAMoVAR (published) | 0.4200 (0.401; +4.7 %) |" in text
    assert "these have: 4. Left out, with too few of these: SAMformer (published), SAMformer (published, max" in text
    far = text.split("## Differences of more than 3 %")[1].split("##")[0]
    assert "cannot be reproduced" in far
    assert [line.split(" | ")[1:3] for line in far.splitlines() if line.startswith("| ETTh1")] == [
        ["96", "SAMformer (published, max_epochs=1)"],
        ["average", "SAMoVAR (published)"],
    ]
    assert "| ETTh1 | average | SAMoVAR (published) | 0.4200 | 0.401 | +4.7 % |" in far
    assert "| CATS, quoted | (0.408) |" in text
    assert "| LinTrans | ETTh1 | 96 | 0 | published | MemoryError: too \\| little |" in text
    assert "| torch | 2.9.0 |" in text
    pictures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert pictures == ["figures/benchmark-time.png", "figures/benchmark-ETTh1.png"]
    assert all((tmp_path / picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_nothing_to_report_is_said(tmp_path, store):
    with pytest.raises(ValueError, match="no run has succeeded yet"):
        write_report([record for record in store.records() if record["status"] == FAILED], tmp_path / "page.md")


def test_published_results_are_read_with_their_look_backs():
    results = published_results()
    assert len(results) == len(set(results)) == 516
    assert {one.data for one in results} <= set(names())
    for one in results:
        assert one.horizon == "average" or int(one.horizon) in horizons(one.data)
        assert 0.05 < one.mse < 5
        assert one.mae is None or 0.1 < one.mae < 2
        assert one.source
        assert one.look_back
    assert find("LinTrans", "ETTh2", "average", [1024, 2048, 2048, 4096]).mse == 0.346
    assert find("SAMformer", "ETTh1", "average", [512] * 4).mse == 0.410
    assert find("Autoformer", "Exchange", 96, [96]).mae == 0.323
    assert find("iTransformer", "ETTh1", 96, [336]).mse == 0.394  # of several look-backs, the same
    assert find("iTransformer", "ETTh1", 96, [1024]).look_back == "720"  # the nearest
    assert find("naive", "ETTh1", 96, [512]) is None


def pictures(monkeypatch):
    """The figures that are saved from here on."""
    found = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: found.append(figure))
    return found


def marks(axes):
    return [line for line in axes.lines if len(line.get_xdata()) == 1]


def test_a_model_has_one_color_whatever_else_is_in_the_store(store, tmp_path, monkeypatch):
    results, found = summarise(store.records()), pictures(monkeypatch)
    assert draw_errors(results, "ETTh1", tmp_path / "all.png")
    assert draw_errors([one for one in results if one.model != "SAMformer"], "ETTh1", tmp_path / "fewer.png")
    draw_time(results, tmp_path / "time.png")
    for figure in found:
        rows = {label.get_text(): label.get_color() for label in figure.axes[0].get_yticklabels()}
        assert rows.items() <= {name: color_of(name) for name in ("SAMoVAR", "SAMformer", "naive")}.items()
        assert {line.get_color() for axes in figure.axes for line in marks(axes)} == set(rows.values())
    own = [color_of(name) for name in FORECASTERS]
    assert len(set(own)) == len(own) == 7
    assert color_of("naive") not in own
    assert color_of("neuralforecast:DLinear") not in own


def test_errors_lie_in_a_row_for_each_model_and_nothing_joins_horizons(store, tmp_path, monkeypatch):
    found = pictures(monkeypatch)
    draw_errors(summarise(store.records()), "ETTh1", tmp_path / "errors.png")
    (figure,) = found
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"horizon {h}" for h in (96, 192, 336, 720)]
    first, *others = figure.axes
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["SAMoVAR", "SAMformer", "naive"]
    drawn = {(round(float(line.get_xdata()[0]), 4), round(float(line.get_ydata()[0]))) for line in marks(first)}
    assert drawn >= {(0.37, 0), (0.3886, 1), (0.381, 1), (0.6, 2)}  # mean of three seeds, published ones open
    assert all(x != 0.5 for x, _ in drawn)  # SAMformer with max_epochs=1 is in the tables
    (deviation,) = (line for line in first.lines if len(line.get_xdata()) == 2)
    assert deviation.get_xdata() == pytest.approx([0.36, 0.38])
    for axes in others:
        assert {round(float(line.get_ydata()[0])) for line in marks(axes)} == {0, 2}  # no SAMformer
        assert all(len(line.get_xdata()) == 1 for line in axes.lines)


def test_nothing_is_drawn_of_the_naive_forecast_alone(store, tmp_path):
    naive = [one for one in summarise(store.records()) if one.model == "naive"]
    path = tmp_path / "errors.png"
    path.write_bytes(b"of an earlier report")
    assert not draw_errors(naive, "ETTh1", path)
    assert not path.exists()
    assert not draw_errors(naive, "Weather", path)


def test_a_horizon_with_the_naive_forecast_alone_has_no_column(store, tmp_path, monkeypatch):
    found = pictures(monkeypatch)
    few = [one for one in summarise(store.records()) if one.model == "naive" or one.horizon in (96, 720)]
    draw_errors(few, "ETTh1", tmp_path / "errors.png")
    assert [axes.get_title(loc="left") for axes in found[0].axes] == ["horizon 96", "horizon 720"]


def test_times_are_beside_errors_relative_to_the_best_other_model(store, tmp_path, monkeypatch):
    found = pictures(monkeypatch)
    draw_time([one for one in summarise(store.records()) if one.horizon == 192], tmp_path / "time.png")
    errors, seconds = found[0].axes
    relative = {round(float(line.get_ydata()[0])): float(line.get_xdata()[0]) for line in marks(errors)}
    assert relative == pytest.approx({0: 0.40 / 0.7, 1: 0.7 / 0.40})
    assert [float(line.get_xdata()[0]) for line in marks(seconds)] == [10.5]  # the naive forecast is not trained


def test_changed_settings_are_drawn_where_a_model_has_nothing_else(store, tmp_path, monkeypatch):
    found = pictures(monkeypatch)
    changed = [one for one in summarise(store.records()) if one.recipe == "published, max_epochs=1"]
    assert draw_errors(changed, "ETTh1", tmp_path / "errors.png")
    assert [text.get_text() for text in found[0].legends[0].get_texts()] == ["changed settings", "published result"]


def test_marks_do_not_lie_on_each_other_and_the_legend_is_smaller_than_the_axes(store, tmp_path, monkeypatch):
    found = pictures(monkeypatch)
    results = summarise(store.records())
    many = [
        replace(one, data=f"{one.data} {number}", training_seconds=one.training_seconds * 1.4**number)
        for one in results
        for number in range(9)
    ]
    draw_time(many, tmp_path / "time.png")
    draw_errors(results, "ETTh1", tmp_path / "errors.png")
    for figure in found:
        figure.draw_without_rendering()
        legend = figure.legends[0].get_window_extent()
        columns = [axes.get_window_extent() for axes in figure.axes]
        assert legend.height < min(column.height for column in columns)
        assert legend.width < columns[-1].x1 - columns[0].x0
        assert all(legend.y1 <= column.y0 for column in columns)
    for axes in found[0].axes:
        places = [axes.transData.transform((line.get_xdata()[0], line.get_ydata()[0])) for line in marks(axes)]
        sizes = [found[0].dpi * line.get_markersize() / 72 for line in marks(axes)]
        for number, (place, size) in enumerate(zip(places, sizes, strict=True)):
            assert all(np.hypot(*(place - other)) >= size for other in places[:number])
        assert min(sizes) > 1


def test_the_accuracy_on_the_front_page_is_that_of_the_store():
    page = (ROOT / "README.md").read_text()
    averages = {
        one.model: one
        for one in summarise(Store(ROOT / "studies/results/benchmark").records())
        if (one.data, one.horizon, one.recipe) == ("ETTh1", None, "default")
    }
    rows = re.findall(r"^\| \[([^\]]+)\]\(docs/explanation/\w+\.md\) \|(.*)\|$", page, re.MULTILINE)
    assert len(rows) == 7
    names = {"Linear Attention Transformer": "LinearAttention", "PSF-Attn": "PSFAttention"}
    for name, cells in rows:
        one = averages.get(names.get(name, name))
        _, *numbers = (cell.strip() for cell in cells.split("|"))
        expected = ["not run yet", "", "", "", ""]
        if one is not None:
            mse, mae = (f"{error:.3f}".lstrip("0") for error in (one.mse, one.mae))
            seeds, minutes = ", ".join(map(str, one.seeds)), f"{one.training_seconds / 60:.0f}"
            expected = [f"{one.parameters:,.0f}", mse, mae, seeds, minutes]
        assert numbers == expected, name


def test_the_other_data_on_the_front_page_are_those_of_the_store():
    page = (ROOT / "README.md").read_text()
    averages = {
        (one.model, one.data): one
        for one in summarise(Store(ROOT / "studies/results/benchmark").records())
        if one.horizon is None and one.recipe == "default"
    }
    table = re.findall(r"^\| (ETTh2|ETTm1|ETTm2|Exchange|ILI) \| (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert len(table) == 5
    for data, context, cells in table:
        found = [cell.strip() for cell in cells.split("|")]
        for model, cell in zip(("SAMoVAR", "SAMformer", "linear", "naive"), found, strict=True):
            one = averages.get((model, data))
            numbers = [] if one is None else [f"{error:.3f}".lstrip("0") for error in (one.mse, one.mae)]
            assert cell == ", ".join(numbers), (data, model)
        records = Store(ROOT / "studies/results/benchmark").records()
        ours = [one for one in records if (one["model"], one["data"], one["recipe"]) == ("SAMoVAR", data, "default")]
        assert {one["look_back"] for one in ours} <= {int(context)}
