from datetime import datetime, timezone

import pytest

from baton.core.errors import Conflict, NotPromotable
from baton.registry.ledger import SqliteLedger
from baton.registry.promotion import promote, reconcile, rollback
from baton.testing.ledger import MemoryLedger
from baton.testing.registry import MemoryRegistry

NOW = datetime(2024, 3, 1, 7, tzinfo=timezone.utc)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    return MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "ledger.db")


@pytest.fixture
def crown(ledger, verdict_for):
    """Promote champions by name, one after the other."""

    def go(*names):
        for name in names:
            head = ledger.head("parcels")
            verdict = verdict_for(head.epoch if head else 0, name)
            version = str(len(ledger.history("parcels")) + 1)
            promote(ledger, verdict, version=version, digest=name * 64, actor="ann", reason="better", now=NOW)

    return go


def back(ledger, **settings):
    return rollback(ledger, "parcels", actor="bob", reason="complaints", now=NOW, **settings)


def test_a_promotion_is_the_next_entry_and_its_verdict_is_kept(ledger, verdict_for):
    verdict = verdict_for(0)
    entry = promote(ledger, verdict, version="1", digest="a" * 64, actor="ann", reason="first", now=NOW)
    assert (entry.epoch, entry.previous_epoch, entry.verdict_id) == (1, 0, verdict.id)
    assert ledger.head("parcels") == entry
    assert ledger.verdict(verdict.id).to_json() == verdict.to_json()


def test_promoting_twice_makes_one_entry(ledger, verdict_for):
    facts = {"version": "1", "digest": "a" * 64, "actor": "ann", "reason": "first"}
    one = promote(ledger, verdict_for(0), **facts, now=NOW)
    two = promote(ledger, verdict_for(0), **facts, now=NOW.replace(hour=9))
    assert one == two
    assert len(ledger.history("parcels")) == 1


def test_one_verdict_does_not_promote_two_bundles(ledger, verdict_for):
    facts = {"version": "1", "actor": "ann", "reason": "first", "now": NOW}
    promote(ledger, verdict_for(0), digest="a" * 64, **facts)
    with pytest.raises(Conflict):
        promote(ledger, verdict_for(0), digest="b" * 64, **facts)


def test_a_held_challenger_is_not_promoted(ledger, judge, month, better):
    verdict = judge(month, better, better)
    with pytest.raises(NotPromotable, match=r"is HOLD: mean log loss gain"):
        promote(ledger, verdict, version="1", digest="a" * 64, actor="ann", reason="please", now=NOW)
    assert ledger.verdict(verdict.id) is None


@pytest.mark.parametrize("epoch", [0, 2], ids=["an older champion", "one that never was"])
def test_a_verdict_against_another_champion_is_out_of_date(ledger, verdict_for, crown, epoch):
    crown("a")
    with pytest.raises(Conflict, match="Judge again against the new champion"):
        promote(ledger, verdict_for(epoch, "b"), version="2", digest="b" * 64, actor="ann", reason="x", now=NOW)


def test_a_verdict_that_lost_the_race_to_itself_is_done(ledger, verdict_for, monkeypatch):
    """Two workers promote one verdict; the second reads the head before the first has written it."""
    facts = {"version": "1", "digest": "a" * 64, "actor": "ann", "reason": "first", "now": NOW}
    won = promote(ledger, verdict_for(0), **facts)
    head, answers = ledger.head, iter([None])
    monkeypatch.setattr(ledger, "head", lambda model: next(answers, head(model)))
    assert promote(ledger, verdict_for(0), **facts) == won


def test_a_rollback_repeats_the_champion_before(ledger, crown):
    crown("a", "b")
    entry = back(ledger)
    assert (entry.epoch, entry.previous_epoch, entry.version, entry.digest) == (3, 2, "1", "a" * 64)
    assert (entry.actor, entry.reason) == ("bob", "complaints")


def test_two_rollbacks_go_back_two_champions(ledger, crown):
    crown("a", "b", "c")
    assert back(ledger).version == "2"
    assert back(ledger).version == "1"


def test_a_rollback_after_a_later_promotion_returns_to_what_it_followed(ledger, crown):
    crown("a", "b")
    back(ledger)
    crown("d")
    assert back(ledger).digest == "a" * 64


def test_a_rollback_to_an_epoch_repeats_that_one(ledger, crown):
    crown("a", "b", "c")
    assert back(ledger, to_epoch=1).version == "1"
    assert back(ledger, to_epoch=3).version == "3"


@pytest.mark.parametrize("epoch", [0, 3, 4, -1], ids=["zero", "the present one", "the future", "negative"])
def test_an_epoch_that_cannot_be_restored_is_refused_with_those_that_can(ledger, crown, epoch):
    crown("a", "b", "c")
    with pytest.raises(NotPromotable, match=r"epochs 1 \(version 1\), 2 \(version 2\)"):
        back(ledger, to_epoch=epoch)


def test_there_is_no_way_back_from_the_first_champion(ledger, crown):
    with pytest.raises(NotPromotable, match="stands at epoch 0"):
        back(ledger)
    crown("a")
    with pytest.raises(NotPromotable, match=r"(?i)promote a second champion first"):
        back(ledger)


@pytest.fixture
def registry(make_run):
    registry = MemoryRegistry()
    for number in range(1, 4):
        registry.register("parcels", make_run(key=str(number) * 64))
    return registry


def test_reconciling_makes_the_aliases_say_what_the_ledger_says(ledger, crown, registry):
    assert reconcile("parcels", ledger, registry) == {}
    crown("a")
    assert reconcile("parcels", ledger, registry) == {"champion": "1"}
    crown("b")
    assert reconcile("parcels", ledger, registry) == {"champion": "2", "previous": "1"}
    assert reconcile("parcels", ledger, registry) == {}
    assert registry.aliases("parcels") == {"champion": "2", "previous": "1"}


def test_reconciling_puts_back_an_alias_that_was_moved(ledger, crown, registry):
    crown("a", "b")
    reconcile("parcels", ledger, registry)
    registry.set_alias("parcels", "champion", "3")
    assert reconcile("parcels", ledger, registry) == {"champion": "2"}
