"""The gate's answer: may the challenger take the champion's place, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from baton.core.digest import canonical_json, digest_of


class Decision(StrEnum):
    """What the gate says of a challenger."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    INCONCLUSIVE = "INCONCLUSIVE"


class Outcome(StrEnum):
    """What one check found.

    `UNDECIDED` means that the evidence does not suffice either way, `NOTED`
    that the check is for people to read and decides nothing.
    """

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NOTED = "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One requirement with what was observed, what was required and the interval between them.

    Numbers are in the metric's unit, higher is better: a gain of log loss is
    the champion's minus the challenger's.
    """

    name: str
    outcome: Outcome
    observed: float | None
    required: float | None
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a challenger may replace the champion of `epoch`, with all evidence.

    `challenger` and `champion` are model digests; `epoch` is the ledger's head
    at the time of judging (0 where there was no champion). `method` names the
    paired test, `alpha` its one-sided error rate in this decision, and
    `evidence` the digest of the rows and scores from which the same arguments
    give the same bytes again.
    """

    model: str
    intent: str
    challenger: str
    champion: str | None
    epoch: int
    holdout: str
    rows: int
    blocks: int
    metric: str
    method: str
    alpha: float
    evidence: str
    checks: tuple[Check, ...]
    rows_needed: int | None
    policy: Mapping[str, Any]
    judged_at: datetime

    @property
    def decision(self) -> Decision:
        """PROMOTE if every check passed, HOLD if one failed, else INCONCLUSIVE; no checks, no promotion."""
        outcomes = {check.outcome for check in self.checks} - {Outcome.NOTED}
        if not outcomes or Outcome.FAILED in outcomes:
            return Decision.HOLD
        return Decision.PROMOTE if outcomes == {Outcome.PASSED} else Decision.INCONCLUSIVE

    @property
    def promotes(self) -> bool:
        """Whether the challenger may be promoted."""
        return self.decision is Decision.PROMOTE

    @property
    def id(self) -> str:
        """The SHA-256 of the canonical JSON."""
        return digest_of(self)

    @property
    def reason(self) -> str:
        """The sentence that decided: the first check that did not pass, or the last that did."""
        undone = [c for c in self.checks if c.outcome is Outcome.FAILED] or [
            c for c in self.checks if c.outcome is Outcome.UNDECIDED
        ]
        decisive = undone[0] if undone else self._last_passed
        return decisive.detail if decisive else "no checks were made"

    @property
    def _last_passed(self) -> Check | None:
        return next((check for check in reversed(self.checks) if check.outcome is Outcome.PASSED), None)

    def to_json(self) -> bytes:
        """Render the canonical JSON, the same bytes on every run; `verdict_from_json` reads it back."""
        return canonical_json(self)


def verdict_from_json(content: bytes | str) -> Verdict:
    """Read a verdict back from its canonical JSON."""
    fields = json.loads(content)
    fields["checks"] = checks_from(fields["checks"])
    fields["judged_at"] = datetime.fromisoformat(fields["judged_at"])
    return Verdict(**fields)


def checks_from(fields: Iterable[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Read checks back from their JSON."""
    return tuple(Check(**{**check, "outcome": Outcome(check["outcome"])}) for check in fields)
