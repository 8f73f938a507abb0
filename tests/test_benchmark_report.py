"""The report of a made-up store: every number that it shows is counted here by hand."""

import re

import pytest

from samovar_forecast.benchmark.plan import plan
from samovar_forecast.benchmark.published import find, published_results
from samovar_forecast.benchmark.recipes import horizons
from samovar_forecast.benchmark.report import write_report
from samovar_forecast.benchmark.store import DONE, FAILED, Store
from samovar_forecast.benchmark.summary import ranks, summarise
from samovar_forecast.datasets import names


def outcome(mse, mae=0.5, **others):
    return {
        "mse": mse, "mae": mae, "windows": 10, "validation_mse": 0.3, "validation_mae": 0.2, "parameters": 1234,
        "epochs": 7, "best_epoch": 2, "seconds_per_epoch": 1.5, "training_seconds": 10.5, "total_seconds": 12.0,
        "resumed_after_epoch": 0, "peak_memory_mb": 500, "gpu_memory_mb": None, "threads": 1,
        "versions": {"torch": "2.9.0"},
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
    assert average.mse == pytest.approx((0.37 + 0.40 + 0.42 + 0.50) / 4)
    assert (average.look_backs, average.seeds) == ((1024, 2048, 2048, 4096), (0,))
    assert average.published.mse == 0.401
    assert average.difference == pytest.approx(100 * (0.4225 / 0.401 - 1))
    assert results["SAMformer (published)", 96].difference == pytest.approx(2.0)
    assert results["SAMformer (published, max_epochs=1)", 96].mse == 0.5
    assert ("SAMformer (published)", None) not in results
    assert results["naive", None].published is None


def test_ranks_are_over_what_all_compared_models_have(store):
    results = summarise(store.records())
    four = {"SAMoVAR (published)": (1 + 1 + 1 + 2) / 4, "naive": (2 + 2 + 2 + 1) / 4}
    assert ranks(results) == (four, 4)  # two models at four horizons are more than four models at one
    short = [one for one in results if one.horizon in (96, 192)]
    assert ranks(short) == ({"SAMoVAR (published)": 1, "naive": 2}, 2)
    first = [one for one in results if one.horizon == 96]
    assert ranks(first) == (
        {"SAMoVAR (published)": 1, "SAMformer (published)": 2, "SAMformer (published, max_epochs=1)": 3,
         "naive": 4}, 1,
    )  # fmt: skip
    apart = [one for one in results if (one.model, one.horizon) in (("SAMoVAR", 192), ("naive", 96))]
    assert ranks(apart) == ({}, 0)
    assert ranks([]) == ({}, 0)


def test_page_shows_them(store, tmp_path):
    path = tmp_path / "benchmark.md"
    write_report(store.records(), path)
    text = path.read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 96 | SAMoVAR")]
    assert rows[0][2:7] == ["published", "1024", "0, 1, 2", "**0.3700 ± 0.0100**", "0.5000"]
    assert rows[1][2:] == ["1,234", "7, 2", "1.5", "10", "500", "cpu, 1"] or rows[1][1] == "SAMoVAR (published)"
    assert (
        "| average | SAMoVAR | published | 1024, 2048, 2048, 4096 | 0 | **0.4225** | 0.5000 | 0.401 |  | +5.4 %" in text
    )
    assert "| SAMoVAR (published) | 0.4225 (0.401; +5.4 %) |" in text
    assert "these have: 4. Left out, with too few of these: SAMformer (published), SAMformer (published, max" in text
    far = text.split("## Differences of more than 3 %")[1].split("##")[0]
    assert [line.split(" | ")[1:3] for line in far.splitlines() if line.startswith("| ETTh1")] == [
        ["96", "SAMformer (published, max_epochs=1)"],
        ["average", "SAMoVAR (published)"],
    ]
    assert "| ETTh1 | average | SAMoVAR (published) | 0.4225 | 0.401 | +5.4 % |" in far
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
