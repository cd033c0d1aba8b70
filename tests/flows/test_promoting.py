"""A retraining promotes straight, or begins a rollout, as model.yaml says; and what keeps house lets it be."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any

import pytest

from baton.flows import promoting, rolling_out
from baton.flows import retrain as flow
from baton.flows.challenge import project, vary
from baton.flows.reconciling import reconcile_for_good
from baton.flows.run_record import recall
from baton.registry.lease import hold
from baton.registry.projection import this_process
from baton.serving.release_file import read_release

pytestmark = pytest.mark.usefixtures("prefect_in_process")
SECOND = datetime(2024, 4, 22, tzinfo=timezone.utc)
CANARY = {"rollout": {"mode": "canary"}}


class Thrice(threading.Event):
    """Stops whoever waits for it the third time."""

    waited = 0

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self.waited += 1
        if self.waited == 3:
            self.set()
        return self.is_set()


def released(parcels: Any) -> Any:
    return read_release(parcels.folder)


def train(parcels: Any, name: str, overrides: Any) -> Any:
    with ExitStack() as while_held:
        held = while_held.enter_context(hold(parcels.ledger.leases, f"parcels/retrain/{name}", this_process()))
        return flow.retrain(parcels, as_of=SECOND, trigger=name, overrides=overrides, held=held)


def test_a_retraining_begins_the_rollout_that_model_yaml_asks_for(parcels: Any) -> None:
    record = train(parcels, "schedule", CANARY)
    running = promoting.under_way(parcels)

    assert (record.promoted, record.verdict.promotes) == (False, True)
    assert running is not None
    assert (running.challenger, running.challenger_version) == (record.digest, record.version)
    assert (released(parcels).challenger, released(parcels).weight) == (record.digest, 0.01)
    assert parcels.ledger.head("parcels").epoch == 1

    # Killed before it could write its record down: the same again joins the rollout that it began.
    assert recall(parcels, record.key) == record
    assert (
        promoting.carry_out(
            parcels,
            vary(parcels.spec, CANARY),
            record.verdict,
            version=record.version,
            reason="x",
            now=SECOND,
        )
        is None
    )
    assert promoting.under_way(parcels) == running

    # A second challenger waits for its turn.
    other = train(parcels, "drift", CANARY | {"training": {"parameters": {"n_estimators": 35, "num_leaves": 7}}})
    assert not other.promoted
    assert promoting.under_way(parcels) == running

    # What keeps house leaves the rollout as it is, and follows it.
    reconcile_for_good(parcels, stop=Thrice())
    assert promoting.under_way(parcels) == running
    assert released(parcels).weight == 0.01
    rolling_out.abort(parcels, reason="done", now=datetime.now(timezone.utc))
    project(parcels, parcels.spec)
    assert released(parcels).challenger is None


def test_straight_to_champion_is_the_default(parcels: Any) -> None:
    record = train(parcels, "schedule", {})

    assert record.epoch == 2
    assert promoting.under_way(parcels) is None
    found = released(parcels)
    # What was champion before stands in for it.
    first = parcels.ledger.entry("parcels", 1)
    assert (found.previous, found.previous_version) == (first.digest, first.version)
