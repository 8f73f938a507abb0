"""The report: one file with charts that a browser draws, zooms and says nothing against."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.evaluation.baselines import seasonal_naive_backtest
from samovar_forecast.evaluation.report import observed_rows, write_report
from tests.conftest import TINY, waves

pytest.importorskip("plotly", reason="an extra")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ZOOM = """
<script>
window.onerror = message => document.body.setAttribute("data-error", message);
window.addEventListener("load", async () => {
  const charts = [...document.querySelectorAll(".js-plotly-plot")];
  const drawn = charts.filter(chart => chart.querySelector(".main-svg .trace, .main-svg .hm, .main-svg image"));
  const axis = charts[0]._fullLayout.xaxis, before = axis.range.slice();
  const box = charts[0].querySelector(".nsewdrag").getBoundingClientRect(), y = box.top + box.height / 2;
  const mouse = (type, share, target) => target.dispatchEvent(new MouseEvent(type, {
    bubbles: true, clientX: box.left + share * box.width, clientY: y, buttons: 1 }));
  mouse("mousedown", 0.3, charts[0].querySelector(".nsewdrag"));
  mouse("mousemove", 0.4, document); mouse("mousemove", 0.6, document); mouse("mouseup", 0.6, document);
  await new Promise(done => setTimeout(done, 1500));
  document.body.setAttribute("data-charts", charts.length + "," + drawn.length);
  document.body.setAttribute("data-zoom", JSON.stringify([before, charts[0]._fullLayout.xaxis.range]));
});
</script>
"""


@pytest.fixture(scope="module")
def parts():
    y = waves()
    forecaster = SAMoVARForecaster(**TINY).fit(y.iloc[:-40])
    backtest = forecaster.backtest(y, start=y.index[-40], quantiles=[0.1, 0.25, 0.75, 0.9])
    return forecaster, y, backtest


def test_the_report_is_one_file_with_everything_in_it(parts, tmp_path):
    forecaster, y, backtest = parts
    naive = seasonal_naive_backtest(y, 8, 24, backtest["cutoff"])
    path = forecaster.report(backtest, tmp_path / "report.html", y=y, reference=naive)
    page = path.read_text()
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", markup)
    for text in (
        "Errors by series",
        "Calibration",
        "What the model looks at",
        "Training",
        "Settings",
        "d_model",
        "torch",
    ):
        assert text in markup
    assert [*tmp_path.iterdir()] == [path]
    error = float(abs(backtest.forecast - backtest.actual).sel(series="s1").mean())
    assert f"{error:.4g}" in markup


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_draws_and_zooms_the_charts(parts, tmp_path):
    forecaster, y, backtest = parts
    page = forecaster.report(backtest, tmp_path / "report.html", y=y, series=["s0", "s1"]).read_text()
    (tmp_path / "report.html").write_text(page.removesuffix("</body></html>\n") + ZOOM + "</body></html>")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
        (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    (body,) = re.findall(r"<body[^>]*>", re.sub(r"<script.*?</script>", "", run.stdout, flags=re.DOTALL))
    assert "data-error" not in body
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    charts, drawn = re.findall(r'data-charts="(\d+),(\d+)"', body)[0]
    assert charts == drawn == str(2 + 2 + 1 + 2 + 1)  # forecasts, errors, calibration, lag matrices, losses
    before, after = json.loads(html.unescape(re.findall(r'data-zoom="([^"]*)"', body)[0]))
    (first, last), (left, right) = (pd.to_datetime(pair, format="ISO8601") for pair in (before, after))
    assert (right - left) / (last - first) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("stride", [1, 5, 11])
@pytest.mark.parametrize("index", ["dates", "months", "integers"])
def test_rows_of_a_backtest_are_put_together_again(parts, index, stride):
    _, y, _ = parts
    labels = {
        "dates": y.index,
        "months": pd.date_range("2000-01-31", periods=160, freq="ME"),
        "integers": pd.RangeIndex(3, 483, 3),
    }
    y = y.set_axis(labels[index])
    naive = seasonal_naive_backtest(y, 8, 12, y.index[np.arange(100, 150, stride)])
    frequency = 3 if index == "integers" else pd.tseries.frequencies.to_offset({"dates": "h", "months": "ME"}[index])
    rows = observed_rows(naive, frequency)
    assert rows.index[0] == y.index[100]
    assert rows.iloc[0].isna().all()
    filled = rows.dropna()
    pd.testing.assert_frame_equal(filled, y.loc[filled.index], check_freq=False, check_names=False)
    assert (len(filled) == len(rows) - 1) == (stride <= 8)


def test_a_report_without_the_rows_shows_those_forecast(parts, tmp_path):
    forecaster, _, backtest = parts
    assert "s2" in forecaster.report(backtest, tmp_path / "r.html").read_text()


def test_wrong_parts_are_named(parts, tmp_path):
    _, y, backtest = parts
    with pytest.raises(ValueError, match="s9"):
        write_report(tmp_path / "r.html", y, backtest, series=["s9"])
    with pytest.raises(ValueError, match="no row of y"):
        write_report(tmp_path / "r.html", y.iloc[:100], backtest)
    assert list(tmp_path.iterdir()) == []
