"""C6: runs that race for one champion: one is promoted, and the other is judged again, against the new one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any

import pytest

from baton.core.errors import Conflict
from baton.core.verdict import Decision
from baton.flows import retrain as flow
from baton.flows.triggers import Claim, Trigger, Triggers
from baton.registry.lease import hold
from baton.registry.projection import this_process

pytestmark = pytest.mark.usefixtures("prefect_in_process")
SECOND = datetime(2024, 4, 22, tzinfo=timezone.utc)
# Recipes apart, so that they have keys and bundles of their own; all beat a champion from before the turn.
RIVALS: list[dict[str, Any]] = [
    {"training": {"parameters": {"n_estimators": n, "num_leaves": 7}}} for n in (25, 35, 45)
]


def train(parcels: Any, name: str, overrides: Any = None) -> Any:
    """Run the whole step under a lease of its own."""
    with ExitStack() as while_held:
        held = while_held.enter_context(hold(parcels.ledger.leases, f"parcels/retrain/{name}", this_process()))
        return flow.retrain(parcels, as_of=SECOND, trigger=name, overrides=overrides or {}, held=held)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], list[int]]:
    """Have something happen between each judgement of a run and its promotion; give the epochs judged against."""

    def install(happens: Callable[[int], None]) -> list[int]:
        judge, judged, inside = flow.judge, list[int](), []

        def judged_and_then(*words: Any, **named: Any) -> Any:
            judgement = judge(*words, **named)
            if not inside:
                judged.append(judgement.verdict.epoch)
                inside.append(True)
                happens(len(judged))
                inside.clear()
            return judgement

        monkeypatch.setattr(flow, "judge", judged_and_then)
        return judged

    return install


def test_of_two_that_beat_the_champion_one_is_promoted_and_the_other_judged_again(parcels: Any, between: Any) -> None:
    """C6."""
    other = []
    judged = between(lambda attempt: other.append(train(parcels, "rival", RIVALS[0])) if attempt == 1 else None)
    record = train(parcels, "slower")
    (winner,) = other
    assert winner.epoch == 2
    assert judged == [1, 2]
    # What it is recorded with is the second verdict, on the new champion.
    assert record.verdict.epoch == 2
    assert record.verdict.champion == winner.digest
    history = parcels.ledger.history("parcels")
    promoted = [2, 3] if record.promoted else [2]
    assert [entry.epoch for entry in history] == [1, *promoted]
    for entry in history[1:]:
        verdict = parcels.ledger.verdict(entry.verdict_id)
        assert (verdict.epoch, verdict.champion) == (entry.epoch - 1, history[entry.epoch - 2].digest)
    # Both are recorded: as versions, with the verdict that counts, and as runs.
    versions = {version: parcels.registry.read("parcels", version) for version in (winner.version, record.version)}
    assert winner.version != record.version
    assert versions[record.version].tags["baton.verdict"] == record.verdict.id
    assert versions[winner.version].tags["baton.verdict"] == winner.verdict.id
    assert {found.version for found in flow_records(parcels)} >= set(versions)


def test_the_same_recipe_does_not_win_against_itself(parcels: Any, between: Any) -> None:
    """C6: two runs of one recipe; equal is not better, however often it is asked."""
    between(lambda attempt: train(parcels, "twin") if attempt == 1 else None)
    record = train(parcels, "slower")
    assert [entry.epoch for entry in parcels.ledger.history("parcels")] == [1, 2]
    assert record.epoch == 2
    assert record.version == parcels.ledger.head("parcels").version


def test_a_loser_does_not_win_by_repetition(parcels: Any, between: Any) -> None:
    """C6: each verdict is on the same holdout, so the answer does not change with the number of times it is asked."""
    between(lambda attempt: train(parcels, "rival", RIVALS[0]) if attempt == 1 else None)
    weak = {"training": {"parameters": {"n_estimators": 2, "num_leaves": 2}}}
    records = [train(parcels, f"weak {number}", weak) for number in range(3)]
    assert {record.verdict.decision for record in records} <= {Decision.HOLD, Decision.INCONCLUSIVE}
    assert {record.epoch for record in records} == {None}
    assert len({record.version for record in records}) == 1
    assert [entry.actor for entry in parcels.ledger.history("parcels")] == ["baton"] * 2
    assert parcels.ledger.head("parcels").reason.startswith("rival")


def test_one_that_always_comes_too_late_gives_up_and_gives_its_trigger_back(
    parcels: Any, between: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: at most `REJUDGED` times again, then a conflict; and the trigger may be delivered once more."""
    from baton.registry.promotion import rollback

    def somebody_moves(attempt: int) -> None:
        # Forth and back, so that what is judged against is always the champion that the challenger beats.
        if attempt == 1:
            train(parcels, "rival", RIVALS[0])
        else:
            rollback(parcels.ledger, "parcels", to_epoch=2, actor="ann", reason="forth", now=SECOND)
        rollback(parcels.ledger, "parcels", to_epoch=1, actor="ann", reason="back", now=SECOND)

    monkeypatch.setattr(flow, "REJUDGED", 1)
    judged = between(somebody_moves)
    asked = Trigger(model="parcels", key="late", reason="late", as_of=SECOND)
    with (
        pytest.raises(Conflict, match="out of date"),
        hold(parcels.ledger.leases, "parcels/retrain/late", "me") as held,
    ):
        flow._answered(parcels, asked, held, overrides={})
    assert judged == [1, 3]
    assert [entry.version for entry in parcels.ledger.history("parcels")][2:] == ["1", "2", "1"]
    triggers = Triggers(parcels.folder / "triggers.db")
    assert "late" not in {trigger.key for trigger in triggers.answered("parcels")}
    assert triggers.foresee(asked) is Claim.TAKEN


def flow_records(parcels: Any) -> tuple[Any, ...]:
    from baton.flows.run_record import records

    return records(parcels)
