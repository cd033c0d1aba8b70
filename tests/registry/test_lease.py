"""Leases on every kind of ledger, and a real process that is paused for longer than its lease."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from baton.core.errors import Conflict, DependencyDown, Fenced
from baton.core.ledger_entry import EntryKind
from baton.registry import ledger_databases
from baton.registry.lease import SECONDS, hold
from baton.registry.ledger import SqlLedger

NAME = "parcels/retrain"


@pytest.fixture
def leases(any_ledger):
    return any_ledger.leases


@pytest.fixture
def override(entry_at):
    return lambda epoch: replace(entry_at(epoch), kind=EntryKind.OVERRIDE, verdict_id="")


def test_each_acquisition_has_a_larger_token(leases, clock):
    first = leases.acquire(NAME, "ann")
    leases.release(first)
    second = leases.acquire(NAME, "bob")
    clock.seconds += SECONDS
    third = leases.acquire(NAME, "cem")
    assert (first.token, second.token, third.token) == (1, 2, 3)
    assert leases.acquire("letters/retrain", "ann").token == 1


def test_a_name_that_is_taken_is_a_conflict_that_says_for_how_long(leases, clock):
    leases.acquire(NAME, "ann")
    clock.seconds += 30
    with pytest.raises(Conflict, match="ann holds it for another 60 s"):
        leases.acquire(NAME, "bob")


def test_a_dead_holder_loses_its_lease_in_ninety_seconds(leases, clock):
    """D3."""
    leases.acquire(NAME, "zombie")
    clock.seconds += 89.9
    [state] = leases.list()
    assert (state.name, state.holder, state.expired) == (NAME, "zombie", False)
    with pytest.raises(Conflict):
        leases.acquire(NAME, "next")
    clock.seconds += 0.2
    assert leases.list()[0].expired
    assert leases.acquire(NAME, "next").token == 2
    assert [(state.holder, state.expired) for state in leases.list()] == [("next", False)]


def test_a_renewed_lease_lasts(leases, clock):
    lease = leases.acquire(NAME, "ann")
    for _ in range(5):
        clock.seconds += 60
        leases.renew(lease)
    leases.check(lease)


def test_what_ran_out_is_not_renewed_even_where_nobody_took_it(leases, clock):
    """D8."""
    lease = leases.acquire(NAME, "ann")
    clock.seconds += SECONDS
    for late in (leases.renew, leases.check):
        with pytest.raises(Fenced, match="ran out"):
            late(lease)


def test_the_same_holder_may_start_again_and_its_older_self_is_fenced(leases):
    old = leases.acquire(NAME, "run 7")
    new = leases.acquire(NAME, "run 7")
    leases.check(new)
    with pytest.raises(Fenced):
        leases.check(old)


def test_giving_back_a_lease_that_is_lost_leaves_the_new_holder_alone(leases, clock):
    old = leases.acquire(NAME, "ann")
    clock.seconds += SECONDS
    new = leases.acquire(NAME, "bob")
    leases.release(old)
    leases.check(new)


def test_an_entry_is_written_under_a_lease_that_holds_and_under_no_other(any_ledger, clock, override):
    """D8: the token is checked in the transaction of the entry."""
    lease = any_ledger.leases.acquire(NAME, "ann")
    any_ledger.append(override(1), lease=lease)
    clock.seconds += SECONDS
    with pytest.raises(Fenced, match="ran out"):
        any_ledger.append(override(2), lease=lease)
    taken = any_ledger.leases.acquire(NAME, "bob")
    with pytest.raises(Fenced, match="bob has taken it since"):
        any_ledger.append(override(2), lease=lease)
    assert any_ledger.head("parcels").epoch == 1
    any_ledger.append(override(2), lease=taken)


def test_a_lease_that_never_was_is_fenced(any_ledger, override, clock):
    lease = any_ledger.leases.acquire(NAME, "ann")
    with pytest.raises(Fenced):
        any_ledger.append(override(1), lease=replace(lease, name="letters/retrain"))


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    return tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres")()


def test_a_heartbeat_keeps_a_lease_for_longer_than_it_lasts(address):
    leases = SqlLedger(address).leases
    with hold(leases, NAME, "ann", seconds=0.6) as held:
        time.sleep(1.2)
        held.check()
        with pytest.raises(Conflict):
            leases.acquire(NAME, "bob")
    assert leases.acquire(NAME, "bob").token == 2


def test_a_heartbeat_survives_a_ledger_that_is_away_for_a_beat(address, monkeypatch):
    leases = SqlLedger(address).leases
    real, answers = type(leases).renew, iter([DependencyDown(what="a", why="b", fix="c")])

    def renew(self, lease):
        for error in answers:
            raise error
        real(self, lease)

    monkeypatch.setattr(type(leases), "renew", renew)
    with hold(leases, NAME, "ann", seconds=0.9) as held:
        time.sleep(1.1)
        held.check()


def test_a_step_of_the_wall_clock_moves_no_lease(tmp_path, monkeypatch):
    """J2: a SQLite ledger counts from the machine's start, and a restart ends every lease."""
    leases = SqlLedger(tmp_path / "ledger.db").leases
    lease = leases.acquire(NAME, "ann")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    leases.check(lease)
    monkeypatch.setattr(ledger_databases, "_boot", lambda: "the next start")
    assert leases.list()[0].expired
    assert leases.acquire(NAME, "bob").token == 2


PAUSED = """
import sys, time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from baton.core.errors import Fenced
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.registry.lease import hold
from baton.registry.ledger import SqlLedger
address = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
ledger = SqlLedger(address)
entry = LedgerEntry(model="parcels", epoch=1, version="1", digest="a" * 64, previous_epoch=0, verdict_id="",
    actor="zombie", reason="x", at=datetime.now(timezone.utc), kind=EntryKind.OVERRIDE)
with hold(ledger.leases, "parcels/retrain", "zombie", seconds=0.6) as held:
    print("holding", flush=True)
    sys.stdin.readline()
    for act in (held.check, lambda: ledger.append(entry, lease=held.lease)):
        try:
            act()
            print("acted", flush=True)
        except Fenced:
            print("fenced", flush=True)
"""


@pytest.mark.parametrize("taken", [True, False], ids=["its name was taken", "nobody took its name"])
def test_a_process_that_was_paused_for_longer_than_its_lease_is_fenced(address, taken):
    """D8: SIGSTOP, then SIGCONT."""
    child = subprocess.Popen(
        [sys.executable, "-c", PAUSED, str(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "holding\n"
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.9)
        ledger = SqlLedger(address)
        assert ledger.leases.list()[0].expired
        if taken:
            ledger.leases.acquire(NAME, "next")
        os.kill(child.pid, signal.SIGCONT)
        output, _ = child.communicate("go\n", timeout=30)
    finally:
        child.kill()
    assert output == "fenced\nfenced\n"
    assert ledger.head("parcels") is None
