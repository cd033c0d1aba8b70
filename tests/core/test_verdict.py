"""A decision can never contradict its reasons."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from baton.core.verdict import Check, Decision, Outcome, Verdict, verdict_from_json


def verdict(*outcomes: Outcome) -> Verdict:
    return Verdict(
        model="m",
        intent="refresh",
        challenger="c" * 64,
        champion=None,
        epoch=0,
        holdout="h" * 64,
        rows=100,
        blocks=10,
        metric="log_loss",
        method="paired t over blocks",
        alpha=0.05,
        evidence="e" * 64,
        checks=tuple(
            Check(name=f"check {i}", outcome=outcome, observed=0.1, required=0.0, detail=f"detail {i}")
            for i, outcome in enumerate(outcomes)
        ),
        rows_needed=None,
        policy={"margin": 0.005},
        judged_at=datetime(2013, 4, 1, tzinfo=timezone.utc),
    )


@pytest.mark.parametrize(
    ("outcomes", "decision"),
    [
        ((), Decision.HOLD),
        ((Outcome.PASSED,), Decision.PROMOTE),
        ((Outcome.PASSED, Outcome.UNDECIDED), Decision.INCONCLUSIVE),
        ((Outcome.UNDECIDED, Outcome.FAILED), Decision.HOLD),
        ((Outcome.PASSED, Outcome.FAILED), Decision.HOLD),
        ((Outcome.NOTED,), Decision.HOLD),
        ((Outcome.PASSED, Outcome.NOTED), Decision.PROMOTE),
    ],
    ids=["no checks", "all passed", "one undecided", "failed and undecided", "one failed", "noted alone", "one noted"],
)
def test_the_decision_follows_from_the_checks(outcomes: tuple[Outcome, ...], decision: Decision) -> None:
    assert verdict(*outcomes).decision is decision
    assert verdict(*outcomes).promotes == (decision is Decision.PROMOTE)


def test_the_reason_is_the_first_check_that_did_not_pass() -> None:
    assert verdict(Outcome.PASSED, Outcome.UNDECIDED, Outcome.FAILED).reason == "detail 2"
    assert verdict(Outcome.PASSED, Outcome.UNDECIDED).reason == "detail 1"
    assert verdict().reason == "no checks were made"


def test_json_gives_the_verdict_back_to_the_byte() -> None:
    made = verdict(Outcome.PASSED, Outcome.FAILED)
    again = verdict_from_json(made.to_json())
    assert again == made
    assert again.to_json() == made.to_json()
    assert again.id == made.id
