"""Simulated traffic of two arms, with known error rates, latencies and scores, for testing a judge as a statistic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from baton.core.policy import RolloutSpec
from baton.core.rollout import LATENCY_EDGES_MS, Decision, Stage, Sums, Tally
from baton.registry.rollout_judge import judge, slow_from
from baton.registry.rollout_plan import Rollout, Status, advance, plan_of

NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)
_EDGES = np.asarray(LATENCY_EDGES_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an arm is like: its chance of failing, its latency (log-normal) and its scores (normal)."""

    errors: float = 0.01
    median_ms: float = 5.0
    spread: float = 0.3
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a simulated rollout ended, and how many requests the challenger had answered by then."""

    status: Status
    requests: int
    looks: int


def answer(generator: np.random.Generator, tally: Tally, truth: Truth, requests: int) -> None:
    """Let an arm answer some requests."""
    failed = int(generator.binomial(requests, truth.errors))
    answered = requests - failed
    tally.requests += requests
    tally.errors += failed
    latencies = np.exp(generator.normal(np.log(truth.median_ms), truth.spread, answered))
    counts = np.bincount(np.searchsorted(_EDGES, latencies), minlength=len(_EDGES) + 1)
    tally.latency = (np.asarray(tally.latency) + counts).tolist()
    tally.scores.join(_sums(generator.normal(truth.score, 1.0, answered)))


def first_decision(
    generator: np.random.Generator,
    policy: RolloutSpec,
    champion: Truth,
    challenger: Truth,
    *,
    weight: float,
    looks: int,
    every: int,
    wanted: Decision,
) -> int | None:
    """Look again and again at one weight until the judge says what is wanted.

    Args:
        generator: Source of all chance.
        policy: The judge's.
        champion: What the champion is like.
        challenger: What the challenger is like.
        weight: Its share.
        looks: Most looks.
        every: Requests of the challenger between two looks, on average.
        wanted: The decision that is waited for; others are passed over.

    Returns:
        The challenger's requests by then, or None where it was never said.
    """
    stage = Stage(revision=1)
    slow: float | None = None
    for _ in range(looks):
        _traffic(generator, stage, champion, challenger, weight=weight, requests=round(every / weight))
        slow = slow or slow_from([stage], policy)
        if judge([stage], policy, slow_ms=slow).decision is wanted:
            return stage.challenger.requests
    return None


def rolled_out(
    generator: np.random.Generator,
    policy: RolloutSpec,
    champion: Truth,
    challenger: Truth,
    *,
    rate: float = 50.0,
    every_seconds: float = 10.0,
    most_looks: int = 5_000,
    slow_ms: float | None = None,
) -> Ending:
    """Roll a simulated challenger out by the real plan, judge and controller.

    Args:
        generator: Source of all chance.
        policy: Steps, judge and time-out.
        champion: What the champion is like.
        challenger: What the challenger is like.
        rate: Requests a second, of both arms.
        every_seconds: Time between two looks.
        most_looks: Looks after which it counts as inconclusive.
        slow_ms: What counts as slow; told from the champion's answers where left out.
    """
    rollout = new_rollout(policy)
    stages = [Stage(revision=rollout.revision)]
    now = NOW
    looks = 0
    while looks < most_looks and rollout.status is Status.RUNNING:
        looks += 1
        now += timedelta(seconds=every_seconds)
        requests = int(generator.poisson(rate * every_seconds))
        _traffic(generator, stages[-1], champion, challenger, weight=rollout.present.weight, requests=requests)
        slow_ms = slow_ms or slow_from(stages, policy)
        judged = judge(stages, policy, slow_ms=slow_ms)
        rollout = advance(rollout, judged, requests=stages[-1].challenger.requests, policy=policy, now=now)
        if rollout.revision != stages[-1].revision:
            stages.append(Stage(revision=rollout.revision))
    status = Status.INCONCLUSIVE if rollout.status is Status.RUNNING else rollout.status
    return Ending(status=status, requests=sum(stage.challenger.requests for stage in stages), looks=looks)


def new_rollout(policy: RolloutSpec, *, now: datetime = NOW) -> Rollout:
    """Give a rollout that has just begun."""
    return Rollout(
        id="simulated",
        model="simulated",
        epoch=1,
        champion="a" * 64,
        champion_version="1",
        challenger="c" * 64,
        challenger_version="2",
        verdict_id="simulated",
        actor="simulation",
        reason="to see",
        plan=plan_of(policy),
        started_at=now,
        step_since=now,
        revision=1,
    )


def _traffic(
    generator: np.random.Generator, stage: Stage, champion: Truth, challenger: Truth, *, weight: float, requests: int
) -> None:
    theirs = int(generator.binomial(requests, weight))
    answer(generator, stage.champion, champion, requests - theirs)
    answer(generator, stage.challenger, challenger, theirs)


def _sums(values: NDArray[np.float64]) -> Sums:
    return Sums(count=len(values), total=float(values.sum()), squares=float(np.square(values).sum()))
