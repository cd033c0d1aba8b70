"""A trigger starts one run, once, whoever delivers it how often."""

from __future__ import annotations

import multiprocessing
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from baton.core.errors import Conflict, DependencyDown
from baton.flows.triggers import Claim, Trigger, Triggers
from baton.registry.lease import hold
from baton.registry.ledger import SqlLedger
from baton.registry.projection import this_process

NOW = datetime(2013, 7, 14, tzinfo=timezone.utc)


def drift(key: str = "a", as_of: datetime = NOW) -> Trigger:
    return Trigger(model="flights", key=key, reason="score PSI 0.31", as_of=as_of)


def race(folder: Path, barrier: Any, answers: Any) -> None:
    barrier.wait()
    triggers = Triggers(folder / "triggers.db")
    try:
        with hold(SqlLedger(folder / "ledger.db").leases, "flights/retrain/a", this_process()):
            claim = triggers.claim(drift(), now=NOW)
            if claim is Claim.TAKEN:
                time.sleep(0.5)
                triggers.finish(drift(), outcome="HOLD", now=NOW)
    except Conflict:
        claim = Claim.RUNNING
    answers.put(claim.value)


def test_the_same_key_is_claimed_once(tmp_path: Path) -> None:
    triggers = Triggers(tmp_path / "triggers.db")
    assert triggers.claim(drift(), now=NOW) is Claim.TAKEN
    triggers.finish(drift(), outcome="PROMOTE", now=NOW)
    assert triggers.claim(drift(), now=NOW + timedelta(days=400)) is Claim.DUPLICATE


def test_eight_processes_that_race_for_one_key_start_one_run(tmp_path: Path) -> None:
    """D4: one trigger delivered many times starts one run."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(8), context.Queue()
    racers = [context.Process(target=race, args=(tmp_path, barrier, answers)) for _ in range(8)]
    for racer in racers:
        racer.start()
    claims = sorted(answers.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    assert claims.count("taken") == 1
    assert set(claims) <= {"taken", "duplicate", "running"}


def test_a_claim_whose_run_died_is_taken_over(tmp_path: Path) -> None:
    """D3: who holds the lease and finds a claim that was never finished goes on in its place."""
    triggers = Triggers(tmp_path / "triggers.db")
    assert triggers.claim(drift(), now=NOW) is Claim.TAKEN
    assert triggers.claim(drift(), now=NOW) is Claim.TAKEN


def test_a_failed_run_gives_its_claim_back(tmp_path: Path) -> None:
    triggers = Triggers(tmp_path / "triggers.db")
    triggers.claim(drift(), now=NOW)
    triggers.release(drift())
    assert triggers.claim(drift(), now=NOW) is Claim.TAKEN


@pytest.mark.parametrize(
    ("days", "claim"),
    [(0, Claim.COOLING_DOWN), (13, Claim.COOLING_DOWN), (14, Claim.TAKEN)],
    ids=["same day", "inside", "at the end"],
)
def test_drift_waits_for_the_cool_down(tmp_path: Path, days: int, claim: Claim) -> None:
    triggers = Triggers(tmp_path / "triggers.db")
    triggers.claim(drift("a"), now=NOW)
    later = drift("b", NOW + timedelta(days=days))
    assert triggers.claim(later, now=NOW, cooldown=timedelta(days=14)) is claim


def test_a_trigger_table_that_is_no_database_is_said_to_be_down(tmp_path: Path) -> None:
    path = tmp_path / "triggers.db"
    path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(DependencyDown, match="does not answer"):
        Triggers(path).claim(drift(), now=NOW)
