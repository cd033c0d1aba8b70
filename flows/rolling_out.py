"""A rollout carried out: what was decided is written down, then serving is told, then the ledger.

`tick` may be called by anyone at any time, and after a kill anywhere: it tells
serving again what had been decided, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from baton.core.errors import BatonError, Conflict, Misuse, NotPromotable
from baton.core.policy import RolloutSpec
from baton.core.release import Mode
from baton.core.rollout import Judgement, Stage
from baton.flows import challenge
from baton.flows.rollout_labels import labelled_stage
from baton.registry.rollout_judge import judge, requests_of, slow_from, together
from baton.registry.rollout_plan import Rollout, Status, advance, ended, identity, plan_of, stepped
from baton.registry.rollout_store import RolloutStore

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.ledger_entry import LedgerEntry
    from baton.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A rollout with what its evidence says at the moment."""

    rollout: Rollout
    judgement: Judgement
    stages: Sequence[Stage]


def start(
    platform: Platform,
    verdict: Verdict,
    *,
    version: str,
    reason: str,
    actor: str,
    now: datetime,
    policy: RolloutSpec | None = None,
) -> Rollout:
    """Bring a judged challenger into traffic beside the champion.

    Args:
        platform: The project.
        verdict: What the gate said of it; it has to promote over the present champion.
        version: The registry's version of the challenger.
        reason: Why, for people.
        actor: Who starts it.
        now: The time of the start.
        policy: The project's where left out.

    Raises:
        NotPromotable: The verdict does not promote, or there is no champion to compare with.
        Conflict: Another rollout is under way.
        IntegrityBroken: The challenger's bundle is not whole.
    """
    store = RolloutStore(platform.folder)
    with store.alone():
        made = planned(platform, verdict, version=version, reason=reason, actor=actor, now=now, policy=policy)
        store.save(made)
        _tell(platform, made)
        return made


def planned(
    platform: Platform,
    verdict: Verdict,
    *,
    version: str,
    reason: str,
    actor: str,
    now: datetime,
    policy: RolloutSpec | None = None,
) -> Rollout:
    """Give the rollout that `start` would begin, and begin nothing."""
    from baton.packaging.reader import open_contents
    from baton.serving.release_file import read_release

    running = RolloutStore(platform.folder).load()
    if running is not None and not running.over:
        raise Conflict(
            what=f"version {version} is not rolled out",
            why=f"version {running.challenger_version} is, since {running.started_at:%Y-%m-%d %H:%M}",
            fix="wait for its end, or end it with baton rollout abort",
        )
    plan = plan_of(policy or platform.spec.rollout)
    head = platform.ledger.head(verdict.model)
    if not plan or head is None:
        raise NotPromotable(
            what=f"version {version} cannot be rolled out",
            why="there is no champion to compare with" if head is None else "the mode is champion, which is at once",
            fix="promote it with baton promote, or name another mode with --mode",
        )
    _check_promotable(platform, verdict, head, version=version)
    open_contents(platform.bundles / verdict.challenger)
    found = read_release(platform.folder)
    revision = found.revision + 1 if found is not None and found.epoch == head.epoch else 1
    return Rollout(
        id=identity(verdict.model, head.epoch, verdict.challenger, now),
        model=verdict.model,
        epoch=head.epoch,
        champion=head.digest,
        champion_version=head.version,
        challenger=verdict.challenger,
        challenger_version=version,
        verdict_id=verdict.id,
        actor=actor,
        reason=reason,
        plan=plan,
        started_at=now,
        step_since=now,
        revision=revision,
        previous=found.previous if found else "",
        previous_version=found.previous_version if found else "",
    )


def look(platform: Platform, *, now: datetime, policy: RolloutSpec | None = None) -> Seen | None:
    """Give the newest rollout and what its evidence says, and do nothing; None where there never was one."""
    rollout = RolloutStore(platform.folder).load()
    return None if rollout is None else _seen(platform, rollout, policy or platform.spec.rollout, now)


def tick(platform: Platform, *, now: datetime, policy: RolloutSpec | None = None) -> Seen | None:
    """Look at the rollout once and do what its evidence asks for; None where there never was one."""
    policy = policy or platform.spec.rollout
    store = RolloutStore(platform.folder)
    with store.alone():
        rollout = store.load()
        if rollout is None:
            return None
        if rollout.over:
            # Its last words may not have reached serving.
            _tell_again(platform, rollout)
            return _seen(platform, rollout, policy, now)
        seen = _seen(platform, rollout, policy, now)
        moved = _next(platform, seen, policy, now)
        if moved != rollout:
            store.save(moved)
        if moved.status is Status.PROMOTING:
            moved = _promoted(platform, moved, now)
            store.save(moved)
        if moved.over:
            _tell_again(platform, moved)
            return replace(seen, rollout=moved)
        try:
            _tell(platform, moved)
        except Conflict as conflict:
            moved = ended(moved, Status.ABORTED, str(conflict), now=now)
            store.save(moved)
        return replace(seen, rollout=moved)


def step(platform: Platform, *, back: bool, now: datetime) -> Rollout:
    """Move one step by hand, whatever the requests: on, or back; a flip and a flip back.

    Raises:
        Misuse: No rollout is under way, or there is no such step.
        Conflict: Another champion was made meanwhile.
    """
    store = RolloutStore(platform.folder)
    with store.alone():
        rollout = _under_way(store.load())
        moved = stepped(rollout, now=now, said="by hand", by=-1 if back else 1)
        if moved == rollout:
            raise Misuse(
                what="the rollout does not move",
                why=f"it is at the {'first' if back else 'last'} of its {len(rollout.plan)} steps",
                fix="end it with baton rollout abort" if back else "the evidence promotes it, or baton promote does",
            )
        store.save(moved)
        _tell(platform, moved)
        return moved


def abort(platform: Platform, *, reason: str, now: datetime) -> Rollout:
    """End the rollout: the champion has all the traffic again at the next look of serving.

    Raises:
        Misuse: No rollout is under way.
        Conflict: Its challenger is champion already.
    """
    store = RolloutStore(platform.folder)
    with store.alone():
        running = _under_way(store.load())
        head = platform.ledger.head(running.model)
        if running.status is Status.PROMOTING and head is not None and head.digest == running.challenger:
            raise Conflict(
                what="the rollout is over",
                why="its challenger is champion already",
                fix="roll back with baton rollback",
            )
        stopped = ended(running, Status.ABORTED, reason, now=now)
        store.save(stopped)
        _tell_again(platform, stopped)
        return stopped


def _next(platform: Platform, seen: Seen, policy: RolloutSpec, now: datetime) -> Rollout:
    """Give the rollout as it goes on: ended by whatever became champion or cannot be served, else by its evidence."""
    from baton.serving.service_status import read_statuses, rejected

    rollout = seen.rollout
    if rollout.status is Status.PROMOTING:
        return rollout
    head = platform.ledger.head(rollout.model)
    if head is None or head.epoch != rollout.epoch:
        return ended(rollout, Status.ABORTED, f"epoch {head.epoch if head else 0} came meanwhile", now=now)
    refused = rejected(read_statuses(platform.folder, now), rollout.challenger)
    if refused:
        return ended(rollout, Status.ROLLED_BACK, refused, now=now)
    known = rollout if rollout.slow_ms else replace(rollout, slow_ms=slow_from(seen.stages, policy))
    return advance(known, seen.judgement, requests=_requests(seen), policy=policy, now=now)


def _requests(seen: Seen) -> int:
    """Count what the present step is judged by: before a flip the challenger has none, so the champion's."""
    rollout = seen.rollout
    if rollout.present.mode is Mode.BLUE_GREEN and not rollout.present.weight:
        return next((stage.champion.requests for stage in seen.stages if stage.revision == rollout.revision), 0)
    return requests_of(seen.stages, rollout.revision)


def _seen(platform: Platform, rollout: Rollout, policy: RolloutSpec, now: datetime) -> Seen:
    from baton.serving.traffic import read_traffic

    stages = read_traffic(platform.folder, rollout.id)
    # Blue and green never answer at the same time, so their times are compared.
    judged = together(stages) if rollout.present.mode is Mode.BLUE_GREEN else stages
    labelled = labelled_stage(platform, rollout, now=now)
    judgement = judge((*judged, *labelled), policy, slow_ms=rollout.slow_ms or slow_from(stages, policy))
    return Seen(rollout=rollout, judgement=judgement, stages=stages)


def _promoted(platform: Platform, rollout: Rollout, now: datetime) -> Rollout:
    """Write the promotion to the ledger, as ever, on the verdict; the ledger may say that somebody was first."""
    verdict = platform.ledger.verdict(rollout.verdict_id)
    if verdict is None:
        return ended(rollout, Status.ABORTED, f"the verdict on version {rollout.challenger_version} is gone", now=now)
    try:
        challenge.settle(
            platform,
            platform.spec,
            verdict,
            version=rollout.challenger_version,
            reason=f"rollout {rollout.id}: {rollout.said}",
            now=now,
            actor=rollout.actor,
        )
    except (Conflict, NotPromotable) as refusal:
        return ended(rollout, Status.ABORTED, str(refusal), now=now)
    return replace(rollout, status=Status.PASSED, ended_at=now)


def _tell(platform: Platform, rollout: Rollout) -> None:
    """Let serving follow; what passed is in the ledger's own release."""
    from baton.serving.release_file import move_release

    if rollout.status is not Status.PASSED:
        move_release(platform.folder, rollout.release)


def _tell_again(platform: Platform, rollout: Rollout) -> None:
    """Let serving follow, unless somebody has moved it on since."""
    from baton.serving.release_file import read_release

    try:
        found = read_release(platform.folder)
    except BatonError:
        found = None
    if found is None or found.order < rollout.release.order:
        _tell(platform, rollout)


def _under_way(rollout: Rollout | None) -> Rollout:
    if rollout is None or rollout.over:
        raise Misuse(
            what="no rollout is under way", why="none was started, or it is over", fix="see baton rollout status"
        )
    return rollout


def _check_promotable(platform: Platform, verdict: Verdict, head: LedgerEntry, *, version: str) -> None:
    from baton.registry.promotion import objections

    against = tuple(objections(platform.ledger, verdict, digest=verdict.challenger, head=head))
    if against:
        raise NotPromotable(
            what=f"version {version} cannot be rolled out",
            why="; ".join(against),
            fix=f"see baton why {version}, or judge it again with baton judge {version}",
        )
