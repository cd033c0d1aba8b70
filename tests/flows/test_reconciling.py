"""What a crash left half-logged is tagged, but never while a retraining may still go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from baton.flows.reconciling import abandon_orphans
from baton.registry.lease import SECONDS
from baton.registry.projection import this_process
from baton.testing.ledger import MemoryLedger

RUN = "parcels/retrain/0123456789abcdef"
GONE = f"{this_process().partition(' ')[0]} 1 0"
ELSEWHERE = "another-machine 7 99"


class Orphans:
    """A registry with one half-logged run."""

    def __init__(self) -> None:
        self.asked = 0

    def abandon_orphans(self, model: str) -> tuple[str, ...]:
        assert model == "parcels"
        self.asked += 1
        return ("1" * 64,)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Any:
    seconds = [1_000.0]
    ledger = MemoryLedger(clock=lambda: seconds[0])
    return SimpleNamespace(spec=SimpleNamespace(name="parcels"), ledger=ledger, registry=Orphans(), seconds=seconds)


def test_an_orphan_is_tagged_where_nobody_is_at_work(platform: Any) -> None:
    """D1, D3."""
    assert abandon_orphans(platform) == ("1" * 64,)


@pytest.mark.parametrize("holder", [this_process(), ELSEWHERE], ids=["another thread", "another machine"])
def test_nothing_is_tagged_while_a_retraining_goes_on(platform: Any, holder: str) -> None:
    platform.ledger.leases.acquire(RUN, holder)
    assert abandon_orphans(platform) == ()
    assert platform.registry.asked == 0
    platform.seconds[0] += SECONDS
    assert abandon_orphans(platform) == ("1" * 64,)


def test_a_retraining_tags_what_the_one_before_left(platform: Any) -> None:
    own = platform.ledger.leases.acquire(RUN, this_process())
    assert abandon_orphans(platform) == ()
    assert abandon_orphans(platform, but=own) == ("1" * 64,)


def test_a_holder_that_died_is_not_waited_for(platform: Any) -> None:
    """D3: a lease of a process that is gone from this machine is no reason to wait."""
    platform.ledger.leases.acquire(RUN, GONE)
    assert abandon_orphans(platform) == ("1" * 64,)


def test_other_models_and_other_leases_are_no_reason_to_wait(platform: Any) -> None:
    platform.ledger.leases.acquire("letters/retrain/0123456789abcdef", ELSEWHERE)
    platform.ledger.leases.acquire("parcels/rollout", ELSEWHERE)
    assert abandon_orphans(platform) == ("1" * 64,)
