"""What a challenger must show before it may take the champion's place.

    holdout is pure ─▶ rows unseen ─▶ enough blocks ─▶ beats a constant ─▶ no worse than simple models
         FAILED           FAILED          UNDECIDED         either                  FAILED
      ─▶ better on average ─▶ no slice worse ─▶ model tests ─▶ proven
             FAILED               FAILED           FAILED       either

Every check is made and recorded, whatever the others found, but one: where a
model has trained on rows of the holdout, no score is looked at. The verdict's
decision follows from the checks (see `baton.core.verdict`). The first model of
all has no champion: what it must prove is that it beats the constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from baton.core.digest import finite
from baton.core.policy import GateSpec, Metric
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.arguments import Arguments, names_of
from baton.registry.bout import CONSTANT, Bout, bout_of, check_parties
from baton.registry.paired import Blocks, Gain, blocks_of, method_of
from baton.registry.slices import slice_checks

# What a model that was judged on drawn rows has not shown.
TIMELESS = "nothing is promised of how the model ages, and a leak from the future would not show"
# A constant ranks nothing, and a model that ranks well may still answer with
# wrong probabilities: log loss is what shows both.
BASELINE_METRIC: dict[Metric, Metric] = {"auc": "log_loss", "pr_auc": "log_loss", "macro_f1": "log_loss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """A check and the factor of rows that would decide it, 1 where it is decided and infinite where none would."""

    check: Check
    factor: float = 1.0


def decide(arguments: Arguments) -> Verdict:
    """Judge a challenger on rows that neither model has seen.

    Returns:
        The verdict; the same arguments give the same bytes of JSON.

    Raises:
        EmptyWindow: There are no rows.
        NotPromotable: The arguments cannot be judged: lengths differ, labels
            or scores are not what the task asks for, the metric is none of
            the task's or no number, scores are of another data set, or
            champion and scores are not given together.
    """
    check_parties(arguments)
    purity = [_pure(arguments), _unseen(arguments)]
    if purity[1].check.outcome is Outcome.FAILED:
        return _verdict(arguments, blocks_of(names_of(arguments.blocks)), purity)
    bout = bout_of(arguments)
    return _verdict(arguments, bout.blocks, purity + _compared(bout, arguments))


def _verdict(arguments: Arguments, blocks: Blocks, findings: list[_Finding]) -> Verdict:
    return Verdict(
        model=arguments.model,
        intent="bootstrap" if arguments.champion is None else arguments.gate.intent,
        challenger=arguments.challenger,
        champion=arguments.champion,
        epoch=arguments.epoch,
        holdout=arguments.holdout,
        rows=len(blocks.codes),
        blocks=blocks.count,
        metric=arguments.gate.metric,
        method=method_of(arguments.gate.metric, np.asarray(arguments.challenger_scores), blocks),
        alpha=arguments.gate.alpha,
        evidence=arguments.digest,
        checks=tuple(finding.check for finding in findings),
        rows_needed=_rows_needed(findings, len(blocks.codes)),
        policy=_policy(arguments),
        judged_at=arguments.now,
    )


def _policy(arguments: Arguments) -> dict[str, Any]:
    gate, slicing = (part.model_dump(mode="json") for part in (arguments.gate, arguments.slicing))
    return {**gate, "task": arguments.task, "slices": slicing}


def _compared(bout: Bout, arguments: Arguments) -> list[_Finding]:
    """Make every check that reads scores, with those made elsewhere; the proof comes last and is the reason given."""
    gate = arguments.gate
    enough, constant = _enough_blocks(bout.blocks.count, gate), _over_constant(bout, gate.metric)
    others = _over_others(bout, gate.metric)
    tests = [_Finding(check=check) for check in arguments.tests]
    if bout.champion is None:
        return [enough, *others, *tests, constant]
    gain = bout.gain_over("champion", bout.champion, gate.metric)
    slices = [_Finding(check=check) for check in slice_checks(bout, arguments.slicing)]
    proof = _not_worse(gain, gate) if gate.intent == "refresh" else _proven(gain, gate)
    return [enough, constant, *others, _better(gain, gate), *slices, *tests, proof]


def _pure(arguments: Arguments) -> _Finding:
    """The holdout begins after the newest label that either model was trained on; drawn rows have no such order."""
    if arguments.holdout_start is None:
        detail = f"the holdout is drawn, since rows have no time: {TIMELESS}"
        return _Finding(
            check=Check(name="holdout_pure", outcome=Outcome.NOTED, observed=None, required=None, detail=detail)
        )
    start = arguments.holdout_start.astimezone(timezone.utc)
    until: dict[str, datetime | None] = {"challenger": arguments.challenger_trained_until}
    if arguments.champion is not None:
        until["champion"] = arguments.champion_trained_until
    seen = [who for who, at in until.items() if at is None or at >= start]
    newest = max((at for at in until.values() if at is not None), default=None)
    margin = None if newest is None else round((start - newest).total_seconds() / 3600, 2)
    if seen:
        detail = f"the holdout starts {start.isoformat()}, before the training of {' and '.join(seen)} is known to end"
    else:
        detail = f"the holdout starts {margin:g} h after the newest training label was known"
    outcome = Outcome.FAILED if seen else Outcome.PASSED
    return _Finding(check=Check(name="holdout_pure", outcome=outcome, observed=margin, required=0.0, detail=detail))


def _unseen(arguments: Arguments) -> _Finding:
    """No row of the holdout is among the rows that a model was trained on; a model not looked at may have seen all."""
    parties = ["challenger"] if arguments.champion is None else ["challenger", "champion"]
    unknown = [who for who in parties if who not in arguments.shared_rows]
    seen = {who: int(count) for who, count in sorted(arguments.shared_rows.items()) if count}
    if seen:
        detail = "; ".join(f"{who} has trained on {count:,} rows of the holdout" for who, count in seen.items())
    elif unknown:
        detail = f"nobody counted the holdout rows that {' and '.join(unknown)} trained on"
    else:
        detail = f"no row of the holdout is among the training rows of {' or '.join(parties)}"
    check = Check(
        name="rows_unseen",
        outcome=Outcome.FAILED if seen or unknown else Outcome.PASSED,
        observed=None if unknown else float(sum(seen.values())),
        required=0.0,
        detail=detail,
    )
    return _Finding(check=check)


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


def _over_constant(bout: Bout, metric: Metric) -> _Finding:
    plainest = BASELINE_METRIC.get(metric, metric)
    gain = bout.gain_over(CONSTANT, bout.baselines[CONSTANT], plainest)
    title = f"{_plain(plainest)} gain over the constant answer"
    return _judged("beats_constant", gain, 0.0, title, failed=gain.mean <= 0)


def _over_others(bout: Bout, metric: Metric) -> list[_Finding]:
    """Of the other simple models none may be proven better."""
    findings = []
    for name in sorted(set(bout.baselines) - {CONSTANT}):
        gain = bout.gain_over(name, bout.baselines[name], metric)
        check = Check(
            name=f"not_worse_than_{name}",
            outcome=Outcome.FAILED if gain.high < 0 else Outcome.PASSED,
            observed=gain.mean,
            required=0.0,
            low=finite(gain.low),
            high=finite(gain.high),
            detail=f"{_plain(metric)} gain over the baseline {name} {_interval(gain)}, high end must not be below 0",
        )
        findings.append(_Finding(check=check))
    return findings


def _better(gain: Gain, gate: GateSpec) -> _Finding:
    """On average better, and by enough to be worth shipping; a tie keeps the champion."""
    passed = gain.mean > 0 and gain.mean >= gate.min_lift
    needed = f"at least {gate.min_lift:g}" if gate.min_lift else "more than 0"
    check = Check(
        name="better_on_average",
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        observed=gain.mean,
        required=gate.min_lift,
        low=finite(gain.low),
        high=finite(gain.high),
        detail=f"mean {_plain(gate.metric)} gain over the champion {gain.mean:+.5f}, {needed} needed",
    )
    return _Finding(check=check)


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
    detail = f"{title} {_interval(gain)}, low end must be {'at least' if closed else 'above'} {limit:g}"
    check = Check(
        name=name,
        outcome=outcome,
        observed=gain.mean,
        required=limit,
        low=finite(gain.low),
        high=finite(gain.high),
        detail=detail,
    )
    # Of one block nothing is known; what is missing then is blocks.
    if outcome is not Outcome.UNDECIDED or math.isinf(gain.low):
        return _Finding(check=check)
    room = gain.mean - limit
    return _Finding(check=check, factor=((gain.mean - gain.low) / room) ** 2 if room > 0 else math.inf)


def _interval(gain: Gain) -> str:
    ends = "" if math.isinf(gain.low) else f", interval {gain.low:+.5f} to {gain.high:+.5f}"
    return f"{gain.mean:+.5f}{ends}"


def _plain(metric: str) -> str:
    return metric.replace("_", " ")


def _rows_needed(findings: list[_Finding], rows: int) -> int | None:
    """Give the rows that would decide every undecided check, or None where none is open or no number would."""
    if any(finding.check.outcome is Outcome.FAILED for finding in findings):
        return None
    factor = max(finding.factor for finding in findings)
    undecided = any(finding.check.outcome is Outcome.UNDECIDED for finding in findings)
    return max(rows + 1, math.ceil(rows * factor)) if undecided and math.isfinite(factor) else None
