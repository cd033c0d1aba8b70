"""Verdicts without a holdout behind them, for tests of what happens after judging."""

from __future__ import annotations

from datetime import datetime, timezone

from baton.core.digest import digest_of
from baton.core.verdict import Check, Outcome, Verdict

JUDGED_AT = datetime(2024, 3, 1, 6, tzinfo=timezone.utc)


def judged(
    model: str,
    *,
    epoch: int,
    challenger: str,
    champion: str | None = None,
    outcome: Outcome = Outcome.PASSED,
    holdout: str = "february",
    at: datetime = JUDGED_AT,
) -> Verdict:
    """Give a verdict on a challenger against the champion of an epoch, that of one check's outcome."""
    return Verdict(
        model=model,
        intent="refresh",
        challenger=challenger,
        champion=champion,
        epoch=epoch,
        holdout=digest_of(holdout),
        rows=2_800,
        blocks=28,
        metric="log_loss",
        method="paired by day",
        alpha=0.05,
        evidence=digest_of([holdout, challenger, champion]),
        checks=(
            Check(
                name="gain",
                outcome=outcome,
                observed=0.004,
                required=0.002,
                low=0.001,
                high=0.007,
                detail="mean log loss gain .0040",
            ),
        ),
        rows_needed=None,
        policy={"min_lift": 0.002},
        judged_at=at,
    )
