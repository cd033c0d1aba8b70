"""Whether a challenger in traffic is promoted, rolled back, or watched on; a pure function of what was counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from baton.core.policy import RolloutSpec
from baton.core.rollout import LATENCY_EDGES_MS, Arm, Decision, Judgement, Sign, Stage, Sums, whole
from baton.registry.rollout_sequences import FEWEST, log_excess, mean_bounds, rate_bounds

# How `alpha` is spent on the four ways of being worse; failures have most, since they hurt at once.
SPENT = {"errors": 0.55, "latency": 0.15, "score": 0.15, "metric": 0.15}
SLOW_QUANTILE = 0.95
# Answers of the champion by which its quantile is known well enough to count from.
KNOWN = 200


def judge(stages: Sequence[Stage], policy: RolloutSpec, *, slow_ms: float | None) -> Judgement:
    """Say what both arms' counts say, whenever and however often one asks.

    Args:
        stages: What was counted at each weight, oldest first.
        policy: What the challenger has to show, and how often the answer may be wrong.
        slow_ms: From which latency a request counts as slow; see `slow_from`. It is fixed once for a rollout.
    """
    signs = [_errors(stages, policy), _latency(stages, policy, slow_ms), _score(stages, policy)]
    metric = _metric(stages, policy)
    return Judgement(signs=(*signs, metric) if metric else tuple(signs))


def slow_from(stages: Sequence[Stage], policy: RolloutSpec) -> float | None:
    """Say from which latency a request counts as slow, or None while the champion's is not known.

    It is told from the champion's answers alone, so the challenger's are
    independent of it and may be counted from the first.
    """
    champion = whole(stages, Arm.CHAMPION)
    if sum(champion.latency) < KNOWN:
        return None
    slow = champion.quantile_ms(SLOW_QUANTILE) * policy.latency_ratio
    # What is counted is counted by edges: the next one up is what is compared with.
    return next((edge for edge in LATENCY_EDGES_MS if edge >= slow), LATENCY_EDGES_MS[-1])


def _errors(stages: Sequence[Stage], policy: RolloutSpec) -> Sign:
    """More failures than the champion's, by which arm each falls on; promoted where the growth is proven small."""
    arms = whole(stages, Arm.CHAMPION), whole(stages, Arm.CHALLENGER)
    counts = ((s.champion.errors, s.champion.requests, s.challenger.errors, s.challenger.requests) for s in stages)
    return _rates(
        "errors",
        [(arm.errors, arm.requests) for arm in arms],
        limit=policy.errors,
        policy=policy,
        worse=log_excess(counts) >= math.log(1 / (policy.alpha * SPENT["errors"])),
        words="failed requests",
    )


def _latency(stages: Sequence[Stage], policy: RolloutSpec, slow_ms: float | None) -> Sign:
    """More slow answers than the champion's, by more than is allowed."""
    champion, challenger = whole(stages, Arm.CHAMPION), whole(stages, Arm.CHALLENGER)
    if slow_ms is None:
        return _open("latency", policy.slow, "slow requests: the champion's latency is not known yet")
    slow = [(arm.slower_than(slow_ms), sum(arm.latency)) for arm in (champion, challenger)]
    # Each arm's bounds have half of the error rate, and their difference all of it.
    half = policy.alpha * SPENT["latency"] / 2
    worse = rate_bounds(*slow[1], half)[0] - rate_bounds(*slow[0], half)[1] > policy.slow
    return _rates("latency", slow, limit=policy.slow, policy=policy, worse=worse, words=f"over {slow_ms:.3g} ms")


def _rates(
    name: str, arms: Sequence[tuple[int, int]], *, limit: float, policy: RolloutSpec, worse: bool, words: str
) -> Sign:
    champion, challenger = (events / count if count else 0.0 for events, count in arms)
    (low, high), (own_low, own_high) = (rate_bounds(events, count, policy.beta / 2) for events, count in arms)
    enough = arms[1][1] >= policy.minimum_requests and arms[0][1] >= FEWEST
    says = Decision.ROLL_BACK if worse else _when(enough and own_high - low <= limit)
    return Sign(
        name=name,
        champion=champion,
        challenger=challenger,
        low=own_low - high,
        high=own_high - low,
        limit=limit,
        says=says,
        said=f"{words}: {challenger:.2%} of {arms[1][1]} beside {champion:.2%} of {arms[0][1]}",
    )


def _score(stages: Sequence[Stage], policy: RolloutSpec) -> Sign:
    """A mean score that has moved by more of the champion's standard deviations than is allowed."""
    pairs = [(stage.champion.scores, stage.challenger.scores) for stage in stages]
    champion, challenger = (whole(stages, arm).scores for arm in Arm)
    spread = math.sqrt(champion.variance) if champion.count > 1 else 0.0
    if min(champion.count, challenger.count) < FEWEST:
        return _open("score", policy.score_shift, f"score: {challenger.count} answers are too few")
    if not spread:
        # A champion that always answers the same: so must the challenger.
        same = challenger.mean == champion.mean and not challenger.variance
        says = Decision.PROMOTE if same else Decision.ROLL_BACK
        return _sign("score", champion, challenger, (0.0, 0.0), policy.score_shift, says, "score: constant")
    limit = policy.score_shift * spread
    wide = mean_bounds(pairs, policy.alpha * SPENT["score"], scale=limit)
    narrow = mean_bounds(pairs, policy.beta, scale=limit)
    moved = wide[0] > limit or wide[1] < -limit
    says = Decision.ROLL_BACK if moved else _when(-limit <= narrow[0] and narrow[1] <= limit)
    moved_by = (challenger.mean - champion.mean) / spread
    said = f"score: mean {challenger.mean:.4g} beside {champion.mean:.4g}, {moved_by:+.2f} sd"
    return _sign("score", champion, challenger, narrow, limit, says, said)


def _metric(stages: Sequence[Stage], policy: RolloutSpec) -> Sign | None:
    """A loss that is proven higher, once labels have come; None where none has and none is waited for."""
    champion, challenger = (whole(stages, arm).losses for arm in Arm)
    if not policy.labels and min(champion.count, challenger.count) < FEWEST:
        return None
    spread = math.sqrt(champion.variance) if champion.count > 1 else 1.0
    pairs = [(stage.champion.losses, stage.challenger.losses) for stage in stages]
    low, high = mean_bounds(pairs, policy.alpha * SPENT["metric"], scale=max(spread, 1e-12) / 10)
    says = Decision.ROLL_BACK if low > 0 else _when(challenger.count >= policy.labels)
    said = f"loss: {challenger.mean:.4g} of {challenger.count} beside {champion.mean:.4g} of {champion.count}"
    return _sign("metric", champion, challenger, (low, high), 0.0, says, said)


def _sign(  # noqa: PLR0917 - in the order of the sign's own fields
    name: str,
    champion: Sums,
    challenger: Sums,
    bounds: tuple[float, float],
    limit: float,
    says: Decision,
    said: str,
) -> Sign:
    return Sign(
        name=name,
        champion=champion.mean,
        challenger=challenger.mean,
        low=bounds[0],
        high=bounds[1],
        limit=limit,
        says=says,
        said=said,
    )


def _open(name: str, limit: float, said: str) -> Sign:
    return Sign(
        name=name,
        champion=0.0,
        challenger=0.0,
        low=-math.inf,
        high=math.inf,
        limit=limit,
        says=Decision.WAIT,
        said=said,
    )


def _when(proven: bool) -> Decision:  # noqa: FBT001 - the one fact that it turns into a word
    return Decision.PROMOTE if proven else Decision.WAIT


def requests_of(stages: Sequence[Stage], revision: int) -> int:
    """Give the challenger's requests at one stage."""
    return next((stage.challenger.requests for stage in stages if stage.revision == revision), 0)


def together(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Put stages in which only one arm answers at a time into one, so that their arms can be compared."""
    if not stages:
        return ()
    newest = stages[-1].revision
    return (Stage(revision=newest, champion=whole(stages, Arm.CHAMPION), challenger=whole(stages, Arm.CHALLENGER)),)
