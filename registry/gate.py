"""What a challenger must show before it may take the champion's place.

    holdout is pure ─▶ enough blocks ─▶ beats a constant ─▶ better on average ─▶ proven
         FAILED            UNDECIDED        either             FAILED             either

Every check is made and recorded, whatever the others found; the verdict's
decision follows from them (see `baton.core.verdict`). The first model of all
has no champion to beat, and the last two checks are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baton.core.errors import EmptyWindow, NotPromotable
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.paired import Gain, paired_gain
from baton.training.resampling import Resampling, resampling

if TYPE_CHECKING:
    from baton.core.spec import GateSpec

# A constant ranks nothing, and a model that ranks well may still answer with
# wrong probabilities: log loss is what shows both.
BASELINE_METRIC = {"auc": "log_loss", "log_loss": "log_loss", "brier": "brier"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bout:
    """The rows on which models are compared, checked."""

    labels: NDArray[np.float64]
    draws: Resampling
    confidence: float

    def gain(self, metric: str, challenger: NDArray[np.float64], champion: NDArray[np.float64]) -> Gain:
        return paired_gain(metric, self.labels, challenger, champion, self.draws, confidence=self.confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """A check and the factor of rows that would decide it, 1 where it is decided and infinite where none would."""

    check: Check
    factor: float = 1.0


def decide(
    gate: GateSpec,
    *,
    model: str,
    labels: ArrayLike,
    challenger_scores: ArrayLike,
    champion_scores: ArrayLike | None,
    baseline_scores: ArrayLike,
    blocks: ArrayLike,
    challenger: str,
    champion: str | None,
    epoch: int,
    holdout: str,
    holdout_start: datetime,
    challenger_trained_until: datetime,
    champion_trained_until: datetime | None,
    seed: int,
    now: datetime,
) -> Verdict:
    """Judge a challenger on rows that neither model has seen.

    Args:
        gate: The policy.
        model: Name of the model.
        labels: 0 or 1, shape `(rows,)`.
        challenger_scores: Probabilities, shape `(rows,)`.
        champion_scores: Probabilities, shape `(rows,)`, or None for the first champion.
        baseline_scores: The constant baseline: one probability, or one for each row.
        blocks: Block of each row, shape `(rows,)`; rows of one block share luck.
        challenger: The challenger's model digest.
        champion: The champion's model digest, or None.
        epoch: The ledger's head at the time of judging, 0 for the first champion.
        holdout: Digest of the rows.
        holdout_start: First moment of the rows.
        challenger_trained_until: When its newest training label became known.
        champion_trained_until: The same of the champion.
        seed: Seed of the resampling.
        now: The time of judging.

    Returns:
        The verdict; the same arguments give the same bytes of JSON.

    Raises:
        EmptyWindow: There are no rows.
        NotPromotable: The arguments cannot be judged: lengths differ, labels
            are not 0 and 1, scores are not between 0 and 1, or champion and
            scores are not given together.
    """
    _check_parties(champion, champion_scores)
    truth = _labels(labels)
    scored = _scores("challenger", challenger_scores, truth)
    baseline = _scores("baseline", np.broadcast_to(np.asarray(baseline_scores, dtype=np.float64), truth.shape), truth)
    names = np.asarray(blocks, dtype=np.str_)
    _check_length("blocks", names, truth)
    draws = resampling(names, resamples=gate.resamples, seed=seed)
    bout = _Bout(labels=truth, draws=draws, confidence=gate.confidence)
    findings = [
        _pure(holdout_start, {"challenger": challenger_trained_until, "champion": champion_trained_until}, champion),
        _enough_blocks(draws.blocks, gate),
        _beats_constant(bout.gain(BASELINE_METRIC[gate.metric], scored, baseline), BASELINE_METRIC[gate.metric]),
    ]
    if champion_scores is not None:
        gain = bout.gain(gate.metric, scored, _scores("champion", champion_scores, truth))
        findings += [_better(gain, gate), _not_worse(gain, gate) if gate.intent == "refresh" else _proven(gain, gate)]
    return Verdict(
        model=model,
        intent="bootstrap" if champion is None else gate.intent,
        challenger=challenger,
        champion=champion,
        epoch=epoch,
        holdout=holdout,
        rows=len(truth),
        blocks=draws.blocks,
        metric=gate.metric,
        checks=tuple(finding.check for finding in findings),
        rows_needed=_rows_needed(findings, len(truth)),
        policy=_policy(gate, seed=seed),
        judged_at=now,
    )


def _policy(gate: GateSpec, *, seed: int) -> dict[str, Any]:
    return {**gate.model_dump(mode="json"), "seed": seed}


def _pure(start: datetime, trained_until: dict[str, datetime | None], champion: str | None) -> _Finding:
    """The holdout begins after the newest label that either model was trained on."""
    until = {who: at for who, at in trained_until.items() if who == "challenger" or champion is not None}
    seen = [who for who, at in until.items() if at is None or at >= start]
    newest = max((at for at in until.values() if at is not None), default=None)
    margin = None if newest is None else round((start - newest).total_seconds() / 3600, 2)
    if seen:
        detail = f"the holdout starts {start.isoformat()}, before the training of {' and '.join(seen)} is known to end"
    else:
        detail = f"the holdout starts {margin:g} h after the newest training label was known"
    outcome = Outcome.FAILED if seen else Outcome.PASSED
    return _Finding(check=Check(name="holdout_pure", outcome=outcome, observed=margin, required=0.0, detail=detail))


def _enough_blocks(blocks: int, gate: GateSpec) -> _Finding:
    enough = blocks >= gate.minimum_blocks
    check = Check(
        name="enough_blocks",
        outcome=Outcome.PASSED if enough else Outcome.UNDECIDED,
        observed=float(blocks),
        required=float(gate.minimum_blocks),
        detail=f"{blocks} blocks of rows, {gate.minimum_blocks} needed",
    )
    return _Finding(check=check, factor=1.0 if enough else gate.minimum_blocks / blocks)


def _beats_constant(gain: Gain, metric: str) -> _Finding:
    failed = gain.mean <= 0
    return _judged("beats_constant", gain, 0.0, f"{_plain(metric)} gain over the constant base rate", failed=failed)


def _better(gain: Gain, gate: GateSpec) -> _Finding:
    """On average better, and by enough to be worth shipping; a tie keeps the champion."""
    passed = gain.mean > 0 and gain.mean >= gate.min_lift
    needed = f"at least {gate.min_lift:g}" if gate.min_lift else "more than 0"
    check = Check(
        name="better_on_average",
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        observed=gain.mean,
        required=gate.min_lift,
        low=gain.low,
        high=gain.high,
        detail=f"mean {_plain(gate.metric)} gain over the champion {gain.mean:+.5f}, {needed} needed",
    )
    return _Finding(check=check)


def _plain(metric: str) -> str:
    return metric.replace("_", " ")


def _not_worse(gain: Gain, gate: GateSpec) -> _Finding:
    title = f"{_plain(gate.metric)} gain over the champion"
    return _judged("not_worse", gain, -gate.margin, title, failed=gain.high < -gate.margin, closed=True)


def _proven(gain: Gain, gate: GateSpec) -> _Finding:
    title = f"{_plain(gate.metric)} gain over the champion"
    return _judged("proven_better", gain, gate.min_lift, title, failed=gain.high < gate.min_lift)


def _judged(name: str, gain: Gain, limit: float, title: str, *, failed: bool, closed: bool = False) -> _Finding:
    """Compare the interval's low end with a limit.

    The width of an interval shrinks with the square root of the number of
    blocks. So with a low end `gain - h` on n rows, about n * (h / (gain - limit))^2
    rows put it on the limit, if the gain stays as it is.
    """
    passed = gain.low >= limit if closed else gain.low > limit
    outcome = Outcome.PASSED if passed else Outcome.FAILED if failed else Outcome.UNDECIDED
    comparison = "at least" if closed else "above"
    detail = (
        f"{title} {gain.mean:+.5f}, interval {gain.low:+.5f} to {gain.high:+.5f},"
        f" low end must be {comparison} {limit:g}"
    )
    check = Check(
        name=name, outcome=outcome, observed=gain.mean, required=limit, low=gain.low, high=gain.high, detail=detail
    )
    if outcome is not Outcome.UNDECIDED:
        return _Finding(check=check)
    room = gain.mean - limit
    return _Finding(check=check, factor=((gain.mean - gain.low) / room) ** 2 if room > 0 else math.inf)


def _rows_needed(findings: list[_Finding], rows: int) -> int | None:
    """Give the rows that would decide every undecided check, or None where none is open or no number would."""
    if any(finding.check.outcome is Outcome.FAILED for finding in findings):
        return None
    factor = max(finding.factor for finding in findings)
    undecided = any(finding.check.outcome is Outcome.UNDECIDED for finding in findings)
    return max(rows + 1, math.ceil(rows * factor)) if undecided and math.isfinite(factor) else None


def _check_parties(champion: str | None, scores: ArrayLike | None) -> None:
    if (champion is None) != (scores is None):
        raise NotPromotable(
            what="the champion's digest and scores do not come together",
            why=f"the digest is {champion!r}, and scores are {'missing' if scores is None else 'given'}",
            fix="give both, or neither for the first champion",
        )


def _labels(labels: ArrayLike) -> NDArray[np.float64]:
    truth = np.asarray(labels, dtype=np.float64)
    if truth.ndim != 1 or len(truth) == 0:
        raise EmptyWindow(
            what="no rows to judge on",
            why=f"the labels have shape {truth.shape}",
            fix="choose another as_of or a longer training.holdout_days",
        )
    if set(np.unique(truth).tolist()) != {0.0, 1.0}:
        raise NotPromotable(
            what="the labels cannot tell models apart",
            why=f"they take the values {np.unique(truth)[:4].tolist()}, and both 0 and 1 are needed",
            fix="check the label column, or judge on a longer holdout",
        )
    return truth


def _scores(who: str, scores: ArrayLike, labels: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    _check_length(f"{who} scores", values, labels)
    # A comparison with NaN is false, so NaN is refused here too.
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise NotPromotable(
            what=f"{int(bad.sum())} of {len(values)} {who} scores are no probabilities",
            why=f"the first is {values[bad][0]}",
            fix="score again with a model that gives numbers between 0 and 1",
        )
    return values


def _check_length(name: str, values: NDArray[Any], labels: NDArray[np.float64]) -> None:
    if values.shape != labels.shape:
        raise NotPromotable(
            what=f"{name} and labels are not of the same rows",
            why=f"their shapes are {values.shape} and {labels.shape}",
            fix="score exactly the rows of the holdout",
        )
