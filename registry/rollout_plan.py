"""A rollout from its start to its end: what it is, what comes next, and what serving is told at each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from baton.core.digest import digest_of
from baton.core.policy import RolloutSpec
from baton.core.release import Mode, Release
from baton.core.rollout import Decision, Judgement


class Status(StrEnum):
    """How far a rollout is.

    `PROMOTING` has been decided and is being written to the ledger; what comes
    after it in this list is over.
    """

    RUNNING = "running"
    PROMOTING = "promoting"
    PASSED = "passed"
    ROLLED_BACK = "rolled back"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One arrangement of champion and challenger."""

    mode: Mode
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A challenger on its way into traffic.

    `epoch` is the ledger's at the start: whatever else becomes champion ends
    the rollout. `verdict_id` is what its promotion rests on. `revision` numbers
    the releases of that epoch, `slow_ms` is fixed once the champion's latency
    is known, and `said` is the newest reason. `previous` stands in for the
    champion, as in the release that was in force.
    """

    id: str
    model: str
    epoch: int
    champion: str
    champion_version: str
    challenger: str
    challenger_version: str
    verdict_id: str
    actor: str
    reason: str
    plan: tuple[Step, ...]
    started_at: datetime
    step_since: datetime
    revision: int
    step: int = 0
    status: Status = Status.RUNNING
    slow_ms: float | None = None
    said: str = ""
    ended_at: datetime | None = None
    previous: str = ""
    previous_version: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more happens."""
        return self.status not in {Status.RUNNING, Status.PROMOTING}

    @property
    def present(self) -> Step:
        """The arrangement in force."""
        return self.plan[self.step]

    @property
    def is_last(self) -> bool:
        """Whether the next step up is the promotion."""
        return self.step == len(self.plan) - 1

    @property
    def release(self) -> Release:
        """What serving is told: the arrangement in force, or the champion alone once the rollout is over."""
        alone = Release(
            model=self.model,
            epoch=self.epoch,
            version=self.champion_version,
            champion=self.champion,
            revision=self.revision,
            previous=self.previous,
            previous_version=self.previous_version,
        )
        if self.over:
            return alone
        return replace(
            alone,
            challenger=self.challenger,
            challenger_version=self.challenger_version,
            mode=self.present.mode,
            weight=self.present.weight,
            salt=self.id,
            rollout=self.id,
        )


def plan_of(policy: RolloutSpec) -> tuple[Step, ...]:
    """Give the steps of a policy; a rollout straight to champion has none."""
    shadow = (Step(mode=Mode.SHADOW, weight=0.0),)
    match policy.mode:
        case "champion":
            return ()
        case "shadow":
            return shadow
        case "canary":
            ramp = tuple(Step(mode=Mode.CANARY, weight=weight) for weight in policy.steps)
            return (*shadow, *ramp) if policy.shadow else ramp
        case "ab":
            # At a share of 1 there is nobody to compare with.
            share = next((weight for weight in reversed(policy.steps) if weight < 1), policy.steps[-1] / 2)
            return (Step(mode=Mode.AB, weight=share),)
        case "blue-green":
            return tuple(Step(mode=Mode.BLUE_GREEN, weight=weight) for weight in (0.0, 1.0))


def identity(model: str, epoch: int, challenger: str, started_at: datetime) -> str:
    """Name a rollout; the name is also the salt that draws its entities."""
    return f"{started_at:%Y%m%dT%H%M%S}-{digest_of([model, epoch, challenger, started_at])[:12]}"


def advance(rollout: Rollout, judgement: Judgement, *, requests: int, policy: RolloutSpec, now: datetime) -> Rollout:
    """Give the rollout as it goes on from what was judged; unchanged where it waits.

    It goes up one step at a time, and only where the present one has seen
    enough requests, and to all the traffic only once each sign knows both
    arms; down it goes all the way at once.

    Args:
        rollout: A rollout that is running.
        judgement: What the evidence of all its steps says.
        requests: Those of the challenger at the present step; of the champion before a flip.
        policy: How much is asked for.
        now: The time of the decision.
    """
    if judgement.decision is Decision.ROLL_BACK:
        return ended(rollout, Status.ROLLED_BACK, judgement.reason, now=now)
    promotes = rollout.is_last and judgement.decision is Decision.PROMOTE
    seen = requests >= policy.minimum_requests
    if seen and promotes:
        return replace(rollout, status=Status.PROMOTING, said=judgement.reason)
    # With all the traffic there is nobody left to compare with, so what needs both arms comes first.
    # A flip of blue and green has one arm before it and the other after: their times are compared.
    alone = not rollout.is_last and rollout.present.weight > 0 and rollout.plan[rollout.step + 1].weight >= 1
    if seen and not rollout.is_last and (judgement.comparable or not alone):
        return stepped(rollout, now=now, said=f"{requests} requests and nothing against it")
    if now - rollout.step_since > timedelta(hours=policy.timeout_hours):
        why = judgement.reason if seen else f"{requests} of {policy.minimum_requests} requests"
        return ended(rollout, Status.INCONCLUSIVE, f"no decision in {policy.timeout_hours:g} h: {why}", now=now)
    return rollout


def stepped(rollout: Rollout, *, now: datetime, said: str, by: int = 1) -> Rollout:
    """Give the rollout one step on, or back; never beyond its first and last."""
    step = min(max(rollout.step + by, 0), len(rollout.plan) - 1)
    if step == rollout.step:
        return rollout
    return replace(rollout, step=step, revision=rollout.revision + 1, step_since=now, said=said)


def ended(rollout: Rollout, status: Status, said: str, *, now: datetime) -> Rollout:
    """Give the rollout as it ended; its release is the champion alone."""
    return replace(rollout, status=status, said=said, ended_at=now, revision=rollout.revision + 1)
