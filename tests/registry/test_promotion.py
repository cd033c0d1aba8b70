from datetime import datetime, timedelta, timezone

import pytest

from baton.core.errors import Conflict, Fenced, Misuse, NotPromotable, SourceMissing
from baton.core.ledger_entry import EntryKind
from baton.core.verdict import Outcome
from baton.registry.lease import SECONDS
from baton.registry.mlflow_words import LONGEST
from baton.registry.promotion import champion_before, overrides, promote, rollback

NOW = datetime(2024, 3, 1, 7, tzinfo=timezone.utc)
FACTS = {"version": "1", "digest": "a" * 64, "actor": "ann", "reason": "first", "now": NOW}


@pytest.fixture
def ledger(any_ledger):
    return any_ledger


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
    verdict = verdict_for(0, "a")
    entry = promote(ledger, verdict, **FACTS)
    assert (entry.epoch, entry.previous_epoch, entry.verdict_id) == (1, 0, verdict.id)
    assert entry.kind is EntryKind.PROMOTION
    assert ledger.head("parcels") == entry
    assert ledger.verdict(verdict.id).to_json() == verdict.to_json()


def test_promoting_twice_makes_one_entry(ledger, verdict_for):
    one = promote(ledger, verdict_for(0, "a"), **FACTS)
    two = promote(ledger, verdict_for(0, "a"), **FACTS | {"now": NOW.replace(hour=9)})
    assert one == two
    assert len(ledger.history("parcels")) == 1


def test_a_verdict_promotes_the_bundle_that_it_judged_and_no_other(ledger, verdict_for):
    with pytest.raises(NotPromotable, match="is not the one that was judged"):
        promote(ledger, verdict_for(0, "a"), **FACTS | {"digest": "b" * 64})


@pytest.mark.parametrize(
    ("outcome", "decision"), [(Outcome.FAILED, "HOLD"), (Outcome.UNDECIDED, "INCONCLUSIVE"), (Outcome.NOTED, "HOLD")]
)
def test_a_challenger_that_is_not_proven_is_not_promoted(ledger, verdict_for, outcome, decision):
    verdict = verdict_for(0, "a", outcome=outcome)
    with pytest.raises(NotPromotable, match=f"is {decision}: "):
        promote(ledger, verdict, **FACTS)
    assert ledger.verdict(verdict.id) is None


@pytest.mark.parametrize("epoch", [0, 2], ids=["an older champion", "one that never was"])
def test_a_verdict_against_another_champion_is_out_of_date(ledger, verdict_for, crown, epoch):
    """C6."""
    crown("a")
    with pytest.raises(Conflict, match="Judge again against the new champion"):
        promote(ledger, verdict_for(epoch, "b"), version="2", digest="b" * 64, actor="ann", reason="x", now=NOW)


def test_a_verdict_that_lost_the_race_to_itself_is_done(ledger, verdict_for, monkeypatch):
    """Two workers promote one verdict; the second reads the head before the first has written it."""
    won = promote(ledger, verdict_for(0, "a"), **FACTS)
    head, answers = ledger.head, iter([None])
    monkeypatch.setattr(ledger, "head", lambda model: next(answers, head(model)))
    monkeypatch.setattr(ledger, "find", lambda *_, **__: None)
    assert promote(ledger, verdict_for(0, "a"), **FACTS) == won


def test_nothing_is_promoted_or_rolled_back_under_a_lease_that_was_lost(ledger, verdict_for, crown, clock):
    """D8."""
    crown("a", "b")
    lease = ledger.leases.acquire("parcels/retrain", "ann")
    clock.seconds += SECONDS
    with pytest.raises(Fenced):
        promote(
            ledger, verdict_for(2, "c"), version="3", digest="c" * 64, actor="ann", reason="x", now=NOW, lease=lease
        )
    with pytest.raises(Fenced):
        back(ledger, lease=lease)
    assert ledger.head("parcels").epoch == 2


class TestRollback:
    def test_it_repeats_the_champion_before(self, ledger, crown):
        crown("a", "b")
        entry = back(ledger)
        assert (entry.epoch, entry.previous_epoch, entry.version, entry.digest) == (3, 2, "1", "a" * 64)
        assert (entry.actor, entry.reason, entry.kind) == ("bob", "complaints", EntryKind.ROLLBACK)

    def test_two_in_a_row_go_back_two_champions(self, ledger, crown):
        crown("a", "b", "c")
        assert back(ledger).version == "2"
        assert back(ledger).version == "1"

    def test_after_a_later_promotion_it_returns_to_what_that_followed(self, ledger, crown):
        crown("a", "b")
        back(ledger)
        crown("d")
        assert back(ledger).digest == "a" * 64

    def test_to_an_epoch_it_repeats_that_one(self, ledger, crown):
        crown("a", "b", "c")
        assert back(ledger, to_epoch=1).version == "1"
        assert back(ledger, to_epoch=3).version == "3"

    @pytest.mark.parametrize("epoch", [0, 3, 4, -1], ids=["zero", "the present one", "the future", "negative"])
    def test_an_epoch_that_cannot_be_restored_is_refused_with_those_that_can(self, ledger, crown, epoch):
        crown("a", "b", "c")
        with pytest.raises(NotPromotable, match=r"epochs 1 \(version 1\), 2 \(version 2\)"):
            back(ledger, to_epoch=epoch)

    def test_there_is_no_way_back_from_the_first_champion(self, ledger, crown):
        with pytest.raises(NotPromotable, match="stands at epoch 0"):
            back(ledger)
        crown("a")
        with pytest.raises(NotPromotable, match=r"(?i)promote a second champion first"):
            back(ledger)

    def test_the_champion_before_is_who_led_when_the_present_one_first_came(self, ledger, crown):
        assert champion_before(ledger, "parcels") is None
        told = []
        for step in ("a", "b", "back", "c", "back", "d"):
            back(ledger) if step == "back" else crown(step)
            before = champion_before(ledger, "parcels")
            told.append(before and before.epoch)
        # a; a b; a b a; a b a c; a b a c a; a b a c a d
        assert told == [None, 1, None, 3, None, 5]


class TestComingBack:
    """A bundle that was rolled back needs new evidence."""

    @pytest.fixture
    def rolled_back(self, ledger, crown):
        crown("a", "b")
        back(ledger)

    def again(self, ledger, verdict, **more):
        facts = {"version": "2", "digest": "b" * 64, "actor": "ann", "reason": "again", "now": NOW}
        return promote(ledger, verdict, **facts | more)

    @pytest.mark.parametrize(
        ("hours", "holdout"),
        [(-1, "march"), (0, "march"), (1, "february")],
        ids=["judged before", "judged at the same moment", "judged again on the same rows"],
    )
    def test_it_does_not_come_back_on_what_was_known(self, ledger, rolled_back, verdict_for, hours, holdout):
        verdict = verdict_for(3, "b", at=NOW + timedelta(hours=hours), holdout=holdout)
        with pytest.raises(NotPromotable, match="was rolled back at epoch 3"):
            self.again(ledger, verdict)

    def test_it_comes_back_on_rows_of_later(self, ledger, rolled_back, verdict_for):
        verdict = verdict_for(3, "b", at=NOW + timedelta(days=30), holdout="march")
        assert self.again(ledger, verdict).epoch == 4

    def test_a_person_who_puts_it_back_clears_it(self, ledger, rolled_back, crown, verdict_for):
        back(ledger, to_epoch=2)
        crown("c")
        assert self.again(ledger, verdict_for(5, "b", at=NOW - timedelta(days=1))).epoch == 6

    def test_another_bundle_needs_nothing(self, ledger, rolled_back, crown):
        crown("c")
        assert ledger.head("parcels").epoch == 4


class TestOverride:
    """L1."""

    def force(self, ledger, verdict, why, **more):
        facts = {"version": "2", "digest": verdict.challenger, "actor": "ann", "reason": "by hand", "now": NOW}
        return promote(ledger, verdict, override=why, **facts | more)

    def test_it_says_why_and_what_it_sets_aside(self, ledger, crown, verdict_for):
        crown("a", "b")
        entry = self.force(ledger, verdict_for(1, "c", outcome=Outcome.FAILED), "the north depot opens")
        assert entry.kind is EntryKind.OVERRIDE
        assert entry.epoch == 3
        assert entry.reason.startswith("the north depot opens (set aside: its verdict is HOLD: mean log loss gain")
        assert "judged against epoch 1, and the ledger stands at epoch 2" in entry.reason

    @pytest.mark.parametrize("why", ["", "  \n\t ", "\x1b\u2028"], ids=["empty", "blank", "unprintable"])
    def test_it_needs_a_reason(self, ledger, verdict_for, why):
        with pytest.raises(Misuse, match="gives no reason"):
            self.force(ledger, verdict_for(0, outcome=Outcome.FAILED), why)
        assert ledger.head("parcels") is None

    def test_its_reason_is_one_line_of_bounded_length(self, ledger, verdict_for):
        """K1."""
        entry = self.force(ledger, verdict_for(0, outcome=Outcome.FAILED), "a\r\nb\x1b[2J\u2028c" + "d" * 10_000)
        assert entry.reason.startswith("a b [2J c")
        assert entry.reason.isprintable()
        assert len(entry.reason) <= LONGEST

    def test_out_of_habit_where_nothing_is_in_the_way_it_is_a_promotion(self, ledger, verdict_for):
        entry = self.force(ledger, verdict_for(0), "always")
        assert (entry.kind, entry.reason) == (EntryKind.PROMOTION, "by hand")

    def test_doing_it_twice_makes_one_entry(self, ledger, verdict_for):
        verdict = verdict_for(0, outcome=Outcome.FAILED)
        assert self.force(ledger, verdict, "once") == self.force(ledger, verdict, "once")

    def test_all_of_a_week_are_listed_oldest_first(self, ledger, crown, verdict_for):
        crown("a")
        for day, name in ((1, "b"), (9, "c"), (11, "d")):
            self.force(
                ledger,
                verdict_for(0, name, outcome=Outcome.FAILED),
                f"day {day}",
                version=name,
                now=NOW + timedelta(days=day),
            )
        listed = overrides(ledger, NOW + timedelta(days=7))
        assert [entry.version for entry in listed] == ["c", "d"]


def test_a_champion_whose_bundle_is_gone_does_not_come_back_and_those_that_may_are_listed(ledger, crown):
    """B10: refused with the epochs that can be restored; the ledger stands as it was."""
    crown("a", "b", "c")

    def usable(digest):
        if digest == "b" * 64:
            raise SourceMissing(what="no bundle", why="the folder is not there", fix="train again")

    with pytest.raises(NotPromotable, match=r"the folder is not there. Name one of the epochs 1 \(version 1\)"):
        back(ledger, usable=usable)
    assert ledger.head("parcels").epoch == 3
    assert back(ledger, to_epoch=1, usable=usable).digest == "a" * 64
