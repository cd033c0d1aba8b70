"""A person promotes and rolls back in MLflow's own pages, and the service follows: real servers, a real browser."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baton.serving.client import PredictionClient

FIRST, SECOND = "2024-02-26", "2024-04-22"
NAMES = ("port", "mlflow-port", "prefect-port", "runner-port")
CHROMIUM = Path("/usr/bin/chromium")
TINY = Path(__file__).parents[1] / "cases" / "tiny"
# A champion that was moved by hand is served within this.
SERVED_SECONDS = 5.0
WORSE = "{n_estimators: 1, num_leaves: 2, min_child_samples: 900, learning_rate: 0.01}"


class Hand:
    """A person before MLflow's pages, and the service that follows."""

    def __init__(self, parcels: Any, ports: list[int], page: Any) -> None:
        from .mlflow_ui import add_tag, move_alias

        self.parcels, self.page = parcels, page
        self.service, self.mlflow, _, _ = (f"http://127.0.0.1:{port}" for port in ports)
        self._move, self._tag = move_alias, add_tag

    def promote(self, version: str) -> None:
        self._move(self.page, self.mlflow, "parcels", version, "champion")

    def tag(self, version: str, name: str, value: str) -> None:
        self._tag(self.page, self.mlflow, "parcels", version, name=name, value=value)

    def served_within(self, epoch: int) -> tuple[str, float]:
        """Wait for an epoch; give the version that answers and how long it took."""
        begun = time.monotonic()
        with PredictionClient(self.service, model="parcels") as client:
            while not answers(client, epoch):
                assert time.monotonic() - begun < 30, f"epoch {epoch} is not served"
                time.sleep(0.05)
            return client.describe().version, time.monotonic() - begun

    def tags(self, version: str) -> dict[str, str]:
        url = f"{self.mlflow}/api/2.0/mlflow/model-versions/get?name=parcels&version={version}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["model_version"].get("tags", [])
        return {tag["key"]: tag["value"] for tag in found}

    def champion(self) -> str:
        url = f"{self.mlflow}/api/2.0/mlflow/registered-models/alias?name=parcels&alias=champion"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(json.load(answer)["model_version"]["version"])

    def entries(self) -> list[tuple[int, str, str, str]]:
        history = self.parcels.ask_json("status")["history"]
        return [(each["epoch"], each["version"], each["kind"], each["actor"]) for each in history]


def answers(client: PredictionClient, epoch: int) -> bool:
    from baton.core.errors import BatonError

    try:
        return client.describe().epoch >= epoch
    except BatonError:
        # Before the first champion there is nothing to describe.
        return False


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory, make_parcels: Any, four_ports: list[int]) -> Iterator[Hand]:
    if not CHROMIUM.exists():
        pytest.skip(f"NO BROWSER: no page was opened, since {CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("by-hand")
    project = folder / "project"
    shutil.copytree(TINY, project, ignore=shutil.ignore_patterns("__pycache__"))
    model = project / "model.yaml"
    model.write_text(model.read_text().replace("gate: {", "gate: {promotion: by_hand, "))
    parcels = make_parcels(home=folder / "home", project=project)
    parcels.ask("ingest", "--as-of", SECOND)
    parcels.ask("train", "--as-of", FIRST)
    options = [word for name, port in zip(NAMES, four_ports, strict=True) for word in (f"--{name}", str(port))]
    parcels.ask("up", "--detach", *options)
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
            yield Hand(parcels, four_ports, browser.new_page(viewport={"width": 1400, "height": 900}))
            browser.close()
    finally:
        parcels.ask("down")


def test_a_judged_version_is_adopted_and_served(hand: Hand) -> None:
    assert hand.parcels.ledger() == [], "a verdict alone promotes nothing where a person promotes"
    hand.promote("1")
    assert hand.served_within(1)[0] == "1"
    hand.parcels.ask("train", "--as-of", SECOND)
    hand.promote("2")
    version, seconds = hand.served_within(2)
    assert version == "2"
    assert seconds < SERVED_SECONDS
    assert hand.entries() == [(1, "1", "adoption", "mlflow-ui"), (2, "2", "adoption", "mlflow-ui")]


def test_an_older_champion_is_a_rollback(hand: Hand) -> None:
    hand.promote("1")
    version, seconds = hand.served_within(3)
    assert version == "1"
    assert seconds < SERVED_SECONDS
    assert hand.entries()[-1] == (3, "1", "rollback", "mlflow-ui")


def test_a_version_that_was_held_back_is_put_back_with_the_reason(hand: Hand, wait_until: Any) -> None:
    """C8: what was never judged good enough is never served."""
    model = hand.parcels.project / "model.yaml"
    good = model.read_text()
    model.write_text(good.replace("{n_estimators: 30, num_leaves: 7, min_child_samples: 40}", WORSE))
    outcome = hand.parcels.ask_json("train", "--as-of", SECOND)
    model.write_text(good)
    assert outcome["decision"] != "PROMOTE"
    held = outcome["version"]
    hand.promote(held)
    wait_until(lambda: hand.champion() == "1" and "baton.refused" in hand.tags(held), 15)
    assert outcome["decision"] in hand.tags(held)["baton.refused"]
    assert len(hand.entries()) == 3

    hand.tag(held, "baton.override", "the customer asked for it")
    hand.promote(held)
    assert hand.served_within(4)[0] == held
    epoch, version, kind, _ = hand.entries()[-1]
    assert (epoch, version, kind) == (4, held, "override")
    assert "the customer asked for it" in hand.parcels.ask("overrides")
