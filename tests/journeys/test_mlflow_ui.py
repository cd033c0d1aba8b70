"""What a person changes by hand in MLflow's own pages, and what the registry reads of it then.

A real server on a file that the registry has written without it, opened in a
real browser.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baton.flows.background import start_detached, stop_detached
from baton.flows.programs import HOST, mlflow_server
from baton.registry.mlflow_registry import MlflowRegistry

from .mlflow_ui import add_tag, aliases_shown, move_alias, open_version
from .registered_runs import HOLD, PROMOTE, judged_run

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


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> MlflowRegistry:
    """Register two versions, the second of which the gate has held."""
    folder = tmp_path_factory.mktemp("ui")
    store = folder / "mlflow"
    store.mkdir()
    registry = MlflowRegistry(
        tracking_uri=f"sqlite:///{store / 'mlflow.db'}", artifact_root=store / "artifacts", experiment="parcels"
    )
    for number, check in ((1, PROMOTE), (2, HOLD)):
        assert registry.register("parcels", judged_run(folder, number, check=check)) == str(number)
    return registry


@pytest.fixture(scope="module")
def address(registry: MlflowRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    client, _ = registry._open()
    store = Path(client.tracking_uri.removeprefix("sqlite:///")).parent
    program, folder = mlflow_server(store, port=port), tmp_path_factory.mktemp("servers")
    start_detached(folder, (program,))
    try:
        yield program.url
    finally:
        stop_detached(folder)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"NO BROWSER: nothing was done by hand, since {CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    yield page
    page.close()


def test_c8_an_alias_that_is_moved_by_hand_is_read_by_the_registry(
    registry: MlflowRegistry, address: str, page: Any
) -> None:
    registry.set_alias("parcels", "champion", "1")
    registry.set_alias("parcels", "challenger", "2")
    # Version 2 has an alias already, which stays.
    move_alias(page, address, "parcels", "2", "champion")
    assert registry.aliases("parcels") == {"champion": "2", "challenger": "2"}
    # Version 1 has none any more.
    assert aliases_shown(page, address, "parcels", "1") == set()
    move_alias(page, address, "parcels", "1", "champion")
    assert registry.aliases("parcels") == {"champion": "1", "challenger": "2"}
    assert aliases_shown(page, address, "parcels", "1") == {"champion"}


def test_an_override_is_a_tag_that_is_added_by_hand(registry: MlflowRegistry, address: str, page: Any) -> None:
    why = "the old one is wrong about the new depot"
    add_tag(page, address, "parcels", "2", name="baton.override", value=why)
    found = registry.read("parcels", "2")
    assert found is not None
    assert found.tags["baton.override"] == why
    assert found.tags["baton.decision"] == "HOLD"


def test_the_page_says_the_verdict_why_and_on_what_it_rests(registry: MlflowRegistry, address: str, page: Any) -> None:
    run = registry.read("parcels", "2")
    assert run is not None
    open_version(page, address, "parcels", "2")
    page.get_by_text("Verdict: HOLD").wait_for()
    words = page.locator("body").inner_text()
    for expected in ("log loss gain -0.02000", "baton.reason", "baton.verdict", str(run.verdict_id)[:20]):
        assert expected in "".join(words), expected


def test_the_checks_open_as_a_table(registry: MlflowRegistry, address: str, page: Any) -> None:
    client, experiment = registry._open()
    run = client.get_model_version("parcels", "2").run_id
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run}/artifacts/checks.json?workflowType=machine_learning")
    page.get_by_text("View as table").wait_for(timeout=60_000)
    page.get_by_text("not_worse", exact=True).first.wait_for(timeout=60_000)
    assert page.get_by_text("failed", exact=True).count() == 1
