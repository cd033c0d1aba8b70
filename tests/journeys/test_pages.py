"""What a person sees of two retrainings: MLflow's pages of run, model and version, and Prefect's artifacts.

Real servers, filled by the real flows on a small generated project, opened in
a real browser.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from baton.flows.background import start_detached, stop_detached
from baton.flows.programs import HOST, mlflow_server, prefect_server

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# MLflow opens as a tool for prompts; this says that models are meant.
MODELS = "workflowType=machine_learning"
# A busy machine takes its time.
PAGE_MS = 30_000
QUESTION = "Will this parcel arrive late?"

MODEL = f"""
name: parcels
question: {QUESTION}
seed: 7
source:
  reader: source.py:read
  tables:
    orders:
      key: [parcel]
      expectations: [{{type: expect_column_values_to_not_be_null, arguments: {{column: parcel}}}}]
    arrivals:
      key: [parcel]
      expectations: [{{type: expect_column_values_to_be_in_set, arguments: {{column: late, value_set: [0, 1]}}}}]
features:
  request: [depot, weight]
  text: [depot]
  views: {{depot_daily: {{entity: depot, values: [depot_weight]}}}}
prediction: {{id: parcel, moment: asked_at}}
label: {{table: arrivals, column: late, wait_hours: 24}}
training: {{trainer: logistic, holdout_days: 14, minimum_rows: 500}}
gate: {{minimum_blocks: 10}}
"""

SOURCE = """
import numpy as np
import pandas as pd


def read():
    generator, rows = np.random.default_rng(5), 9_000
    asked = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) * 14, unit="min")
    parcel = [f"p{i}" for i in range(rows)]
    depot = generator.choice(["north", "south"], size=rows)
    weight = generator.normal(size=rows).round(3)
    chance = 1 / (1 + np.exp(1.2 - 1.5 * weight - (depot == "south")))
    known = asked + pd.Timedelta("20h")
    late = (generator.random(rows) < chance).astype(int)
    orders = {"parcel": parcel, "asked_at": asked, "depot": depot, "weight": weight}
    return {
        "orders": pd.DataFrame(orders | {"event_time": asked, "known_time": asked}),
        "arrivals": pd.DataFrame({"parcel": parcel, "late": late, "event_time": known, "known_time": known}),
    }
"""

FEATURES = """
import pandas as pd


def request(tables):
    return tables["orders"][["parcel", "asked_at", "depot", "weight"]]


def views(tables, *, as_of):
    orders = tables["orders"]
    days = orders["asked_at"].dt.floor("D") + pd.Timedelta("1D")
    mean = orders.assign(event_timestamp=days).groupby(["depot", "event_timestamp"])["weight"].mean()
    return {"depot_daily": mean.rename("depot_weight").reset_index()}
"""

# A process of its own, as the runner's: where the servers are is read when modules are imported.
RETRAIN = """
import json, sys
from baton.flows.ingest import ingest_flow
from baton.flows.retrain import retrain_flow

project, first, second = sys.argv[1:]
ingest_flow(project, as_of=second)
told = [retrain_flow(project, trigger="first champion", as_of=first), retrain_flow(project, as_of=second)]
print(json.dumps(told))
"""


@dataclass
class Told:
    """Where the servers are, and what the two retrainings gave."""

    mlflow: str
    prefect: str
    first: dict[str, Any]
    second: dict[str, Any]
    run: str = ""
    experiment: str = ""


@dataclass
class Seen:
    """One opened page, with what it complained of and what it asked the rest of the world for."""

    page: Any
    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"NO BROWSER: no page was opened, since {CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def told(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("pages")
    project, home = folder / "parcels", folder / "home"
    project.mkdir()
    for name, content in {"model.yaml": MODEL, "source.py": SOURCE, "features.py": FEATURES}.items():
        (project / name).write_text(content)
    ports = free_ports(2)
    mlflow, prefect = mlflow_server(home / "parcels" / "mlflow", port=ports[0]), prefect_server(home, port=ports[1])
    start_detached(folder / "servers", (mlflow, prefect))
    try:
        first, second = retrained(project, home, mlflow=mlflow.url, prefect=prefect.url)
        found = Told(mlflow=mlflow.url, prefect=prefect.url, first=first, second=second)
        version = get(f"{mlflow.url}/api/2.0/mlflow/model-versions/get?name=parcels&version={first['version']}")
        found.run = version["model_version"]["run_id"]
        run = get(f"{mlflow.url}/api/2.0/mlflow/runs/get?run_id={found.run}")
        found.experiment = run["run"]["info"]["experiment_id"]
        yield found
    finally:
        stop_detached(folder / "servers")


def retrained(project: Path, home: Path, *, mlflow: str, prefect: str) -> list[dict[str, Any]]:
    servers = {"BATON_HOME": str(home), "BATON_MLFLOW_URL": mlflow, "PREFECT_API_URL": f"{prefect}/api"}
    # Loopback is never asked for through a proxy.
    direct = {"NO_PROXY": HOST, "no_proxy": HOST}
    prefects = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RETRAIN, str(project), "2024-02-20T00:00:00+00:00", "2024-03-20T00:00:00+00:00"],
        env={**os.environ, **direct, **prefects, **servers},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def opened(chromium: Any) -> Iterator[Any]:
    """Give a function that opens a page and waits for words on it; whatever went wrong shows at the end."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PAGE_MS)
    seen: list[Seen] = []

    def open_page(url: str, *, words: str) -> Any:
        found = Seen(page=context.new_page())
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        found.page.on("request", lambda request: found.outside.append(request.url) if leaves(request.url) else None)
        found.page.goto(url)
        found.page.get_by_text(words).first.wait_for()
        seen.append(found)
        return found.page

    yield open_page
    for found in seen:
        assert found.problems == []
        assert found.outside == []
    context.close()


def words_of(page: Any) -> str:
    """Give the words of a page, with one plain space wherever there is any."""
    return " ".join(page.locator("body").inner_text().split())


def leaves(url: str) -> bool:
    return not url.startswith((f"http://{HOST}:", "data:", "blob:"))


def test_the_stages_told_one_promotion_and_one_later_verdict(told: Told) -> None:
    assert (told.first["decision"], told.first["version"]) == ("PROMOTE", "1")
    assert told.second["version"] == "2"


def test_the_models_page_says_what_it_answers_and_who_serves(told: Told, opened: Any) -> None:
    page = opened(f"{told.mlflow}/#/models/parcels?{MODELS}", words="@ champion")
    words = words_of(page)
    assert QUESTION in words
    assert "@ challenger" in words
    # The list shows how each description begins, as plain words.
    assert "PROMOTE: log loss" in words
    assert "**" not in words


def test_a_versions_page_is_its_model_card(told: Told, opened: Any) -> None:
    page = opened(f"{told.mlflow}/#/models/parcels/versions/1?{MODELS}", words="Verdict: PROMOTE")
    words = words_of(page)
    assert "beats constant" in words
    assert "Largest slices" in words
    assert "log_loss" not in words
    assert page.locator("table").count() >= 3


def test_a_runs_page_has_its_name_verdict_data_and_version(told: Told, opened: Any) -> None:
    page = opened(f"{told.mlflow}/#/experiments/{told.experiment}/runs/{told.run}?{MODELS}", words="Verdict: PROMOTE")
    words = words_of(page)
    assert page.get_by_role("heading", name="2024-02-20 first champion").count() == 1
    assert "snapshot of 2024-02-20" in words
    assert "baton.decision" in words
    assert "parcels" in words


def test_a_runs_figures_are_shown_large_enough_to_read(told: Told, opened: Any) -> None:
    runs = f"{told.mlflow}/#/experiments/{told.experiment}/runs/{told.run}/artifacts"
    for title in ("calibration", "gain", "ranking", "slices"):
        page = opened(f"{runs}/figures/{title}.png?{MODELS}", words=f"figures/{title}.png")
        image = page.locator("img[src^='blob:']").first
        image.wait_for()
        page.wait_for_function("image => image.complete && image.naturalWidth", arg=image.element_handle())
        assert image.evaluate("image => image.naturalWidth") > 600, title


def test_the_verdict_and_the_slices_are_artifacts_with_titles(told: Told, opened: Any) -> None:
    page = opened(f"{told.prefect}/artifacts", words="parcels-verdict")
    words = words_of(page)
    assert re.search(r"Version \d+: (PROMOTE|HOLD|INCONCLUSIVE)", words)
    assert "parcels-slices" in words


def test_the_newest_verdict_opens_as_a_heading_and_a_table(told: Told, opened: Any) -> None:
    request = urllib.request.Request(
        f"{told.prefect}/api/artifacts/filter",
        data=json.dumps({"artifacts": {"key": {"any_": ["parcels-verdict"]}}, "sort": "CREATED_DESC"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    newest = get(request)[0]["id"]
    page = opened(f"{told.prefect}/artifacts/artifact/{newest}", words="better on average")
    assert page.get_by_role("heading", name=told.second["decision"]).count() == 1
    assert page.get_by_role("table").count() == 1
