"""Who becomes champion: a promotion on a verdict, an override with a reason, a rollback to an older epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from baton.core.errors import BatonError, Conflict, Misuse, NotPromotable, listed
from baton.core.lease import Lease
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.ports import Ledger
from baton.core.verdict import Verdict
from baton.registry.mlflow_words import one_line


def promote(
    ledger: Ledger,
    verdict: Verdict,
    *,
    version: str,
    digest: str,
    actor: str,
    reason: str,
    now: datetime,
    override: str | None = None,
    lease: Lease | None = None,
) -> LedgerEntry:
    """Make the judged challenger champion.

    Promoting a verdict whose entry is the head already gives that entry, so a
    step that died half-way may simply run again. An override where nothing
    stands in the way is an ordinary promotion.

    Args:
        ledger: Where the entry is written.
        verdict: What the gate said.
        version: The registry's version of the challenger.
        digest: The digest of its bundle.
        actor: Who promotes.
        reason: Why, for people.
        now: The time of the entry.
        override: Why the objections are set aside; they stay in the entry, by name.
        lease: The lease under which this is done.

    Raises:
        NotPromotable: The verdict does not say PROMOTE, or the bundle was
            rolled back and nothing new speaks for it.
        Conflict: The champion that was judged against is no longer champion.
        Misuse: The override gives no reason.
    """
    why = None if override is None else _reason(override)
    head = ledger.head(verdict.model)
    if _is_done(head, verdict, version, digest):
        assert head is not None
        return head
    skipped = tuple(objections(ledger, verdict, digest=digest, head=head))
    if skipped and why is None:
        raise _refused(verdict, head, skipped)
    stands = head.epoch if head else 0
    entry = LedgerEntry(
        model=verdict.model,
        epoch=stands + 1,
        version=version,
        digest=digest,
        previous_epoch=stands,
        verdict_id=verdict.id,
        actor=actor,
        reason=overridden(why, skipped) if skipped and why else one_line(reason),
        at=now,
        kind=EntryKind.OVERRIDE if skipped else EntryKind.PROMOTION,
    )
    try:
        ledger.append(entry, verdict=verdict, lease=lease)
    except Conflict:
        # Somebody may have promoted the very same verdict a moment ago.
        head = ledger.head(verdict.model)
        if not _is_done(head, verdict, version, digest):
            raise
        assert head is not None
        return head
    return entry


def objections(ledger: Ledger, verdict: Verdict, *, digest: str, head: LedgerEntry | None) -> Iterator[str]:
    """Give what stands in the way of a promotion, which is also what an override sets aside."""
    if not verdict.promotes:
        yield f"its verdict is {verdict.decision.value}: {verdict.reason}"
    if digest != verdict.challenger:
        yield f"the bundle {digest[:12]} is not the one that was judged, {verdict.challenger[:12]}"
    stands = head.epoch if head else 0
    if verdict.epoch != stands:
        yield f"it was judged against epoch {verdict.epoch}, and the ledger stands at epoch {stands}"
    last = rolled_back(ledger, verdict.model, digest)
    if last is not None and not _is_new(ledger, verdict, digest, since=last.at):
        yield f"it was rolled back at epoch {last.epoch}, and nothing was learnt of it since"


def rolled_back(ledger: Ledger, model: str, digest: str) -> LedgerEntry | None:
    """Give the rollback that ended a bundle's newest reign, or None where none did."""
    newest = ledger.find(model, digest=digest)
    after = ledger.entry(model, newest.epoch + 1) if newest else None
    return after if after is not None and after.kind is EntryKind.ROLLBACK else None


def rollback(
    ledger: Ledger,
    model: str,
    *,
    to_epoch: int | None = None,
    actor: str,
    reason: str,
    now: datetime,
    lease: Lease | None = None,
    usable: Callable[[str], object] = str,
) -> LedgerEntry:
    """Make an older champion champion again, as a new entry.

    Args:
        ledger: Where the entry is written.
        model: Name of the model.
        to_epoch: The epoch to repeat; the champion before the present one where left out.
        actor: Who rolls back.
        reason: Why, for people.
        now: The time of the entry.
        lease: The lease under which this is done.
        usable: Raises a `BatonError` unless the bundle of a digest is there and
            verifies; all are where left out.

    Raises:
        NotPromotable: There is no such epoch, it holds the present champion, or
            its bundle is gone; the epochs that can be restored are listed.
        Conflict: Somebody wrote the next epoch first.
    """
    head = ledger.head(model)
    target = champion_before(ledger, model) if to_epoch is None else ledger.entry(model, to_epoch)
    if head is None or target is None or target.digest == head.digest:
        raise _no_way_back(ledger, model, head, to_epoch, usable=usable)
    try:
        usable(target.digest)
    except BatonError as error:
        raise _no_way_back(ledger, model, head, to_epoch, usable=usable, why=error.why) from error
    entry = restored(target, head, actor=actor, reason=reason, now=now)
    ledger.append(entry, lease=lease)
    return entry


def restored(target: LedgerEntry, head: LedgerEntry, *, actor: str, reason: str, now: datetime) -> LedgerEntry:
    """Give the entry that makes an older champion follow the present one."""
    return replace(
        target,
        epoch=head.epoch + 1,
        previous_epoch=head.epoch,
        actor=actor,
        reason=one_line(reason),
        at=now,
        kind=EntryKind.ROLLBACK,
    )


def champion_before(ledger: Ledger, model: str) -> LedgerEntry | None:
    """Give the entry whose champion the present one followed when it was first promoted.

    A champion that came back by rollback is traced to its first epoch, so two
    rollbacks in a row go back two champions instead of forth again.
    """
    head = ledger.head(model)
    first = ledger.find(model, digest=head.digest, oldest=True) if head else None
    return ledger.entry(model, first.epoch - 1) if first else None


def overrides(ledger: Ledger, since: datetime) -> tuple[LedgerEntry, ...]:
    """Give every override of any model from a moment on, oldest first: what a weekly report lists."""
    found = [entry for model in ledger.models() for entry in ledger.history(model)]
    late = [entry for entry in found if entry.kind is EntryKind.OVERRIDE and entry.at >= since]
    return tuple(sorted(late, key=lambda entry: (entry.at, entry.model, entry.epoch)))


def overridden(why: str, skipped: tuple[str, ...]) -> str:
    """Give the reason of an override with everything that it sets aside."""
    return one_line(f"{why} (set aside: {'; '.join(skipped)})")


def _reason(override: str) -> str:
    why = one_line(override)
    if not why:
        raise Misuse(what="this override is refused", why="it gives no reason", fix="say why the gate is set aside")
    return why


def _is_done(head: LedgerEntry | None, verdict: Verdict, version: str, digest: str) -> bool:
    return (
        head is not None
        and head.kind is not EntryKind.ROLLBACK
        and head.verdict_id == verdict.id
        and (head.version, head.digest) == (version, digest)
    )


def _is_new(ledger: Ledger, verdict: Verdict, digest: str, *, since: datetime) -> bool:
    """Whether a verdict was given after a moment, and on other rows than the one before it."""
    newest = ledger.find(verdict.model, digest=digest)
    before = ledger.verdict(newest.verdict_id) if newest and newest.verdict_id else None
    return verdict.judged_at > since and (before is None or before.holdout != verdict.holdout)


def _refused(verdict: Verdict, head: LedgerEntry | None, skipped: tuple[str, ...]) -> Conflict | NotPromotable:
    stands = head.epoch if head else 0
    if verdict.promotes and verdict.epoch != stands:
        return Conflict(
            what=f"verdict {verdict.id[:12]} on {verdict.model} is out of date",
            why=f"it was judged against epoch {verdict.epoch}, and the ledger stands at epoch {stands}",
            fix="judge again against the new champion",
        )
    return NotPromotable(
        what=f"verdict {verdict.id[:12]} on {verdict.model} does not promote",
        why="; ".join(skipped),
        fix="train a better challenger, judge again on other rows, or override with a reason",
    )


def _no_way_back(
    ledger: Ledger,
    model: str,
    head: LedgerEntry | None,
    to_epoch: int | None,
    *,
    usable: Callable[[str], object],
    why: str = "",
) -> NotPromotable:
    others = [
        entry
        for entry in ledger.history(model)
        if head and entry.digest != head.digest and _is_usable(entry.digest, usable)
    ]
    epochs = [f"{entry.epoch} (version {entry.version})" for entry in others]
    return NotPromotable(
        what=f"{model} cannot roll back to {'an earlier champion' if to_epoch is None else f'epoch {to_epoch}'}",
        why=why or f"the ledger stands at epoch {head.epoch if head else 0}",
        fix=f"name one of the epochs {listed(epochs)}" if epochs else "promote a second champion first",
    )


def _is_usable(digest: str, usable: Callable[[str], object]) -> bool:
    try:
        usable(digest)
    except BatonError:
        return False
    return True
