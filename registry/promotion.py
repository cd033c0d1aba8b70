"""Who becomes champion: a promotion on a verdict, a rollback to an older epoch, and the aliases that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from baton.core.errors import Conflict, NotPromotable, listed
from baton.core.ledger_entry import LedgerEntry
from baton.core.ports import Ledger, Registry
from baton.core.verdict import Verdict

CHAMPION = "champion"
PREVIOUS = "previous"


class JudgedLedger(Ledger, Protocol):
    """A ledger that keeps the verdicts on which its entries rest."""

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id; keeping it again changes nothing."""

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None."""


def promote(
    ledger: JudgedLedger, verdict: Verdict, *, version: str, digest: str, actor: str, reason: str, now: datetime
) -> LedgerEntry:
    """Make the judged challenger champion.

    Promoting a verdict whose entry is the head already gives that entry, so a
    step that died half-way may simply run again.

    Args:
        ledger: Where the entry is written.
        verdict: What the gate said.
        version: The registry's version of the challenger.
        digest: The digest of its bundle.
        actor: Who promotes.
        reason: Why, for people.
        now: The time of the entry.

    Raises:
        NotPromotable: The verdict does not say PROMOTE.
        Conflict: The champion that was judged against is no longer champion.
    """
    if not verdict.promotes:
        raise NotPromotable(
            what=f"verdict {verdict.id[:12]} on {verdict.model} is {verdict.decision}",
            why=verdict.reason,
            fix="train a better challenger, or judge again on more rows",
        )
    head = ledger.head(verdict.model)
    if _is_done(head, verdict, version, digest):
        assert head is not None
        return head
    entry = LedgerEntry(
        model=verdict.model,
        epoch=verdict.epoch + 1,
        version=version,
        digest=digest,
        previous_epoch=verdict.epoch,
        verdict_id=verdict.id,
        actor=actor,
        reason=reason,
        at=now,
    )
    _check_epoch(verdict, head)
    # An entry never names a verdict that is not there.
    ledger.store_verdict(verdict)
    try:
        ledger.append(entry)
    except Conflict:
        # Somebody may have promoted the very same verdict a moment ago.
        head = ledger.head(verdict.model)
        if not _is_done(head, verdict, version, digest):
            raise
        assert head is not None
        return head
    return entry


def rollback(
    ledger: Ledger, model: str, *, to_epoch: int | None = None, actor: str, reason: str, now: datetime
) -> LedgerEntry:
    """Make an older champion champion again, as a new entry.

    Args:
        ledger: Where the entry is written.
        model: Name of the model.
        to_epoch: The epoch to repeat; the champion before the present one where left out.
        actor: Who rolls back.
        reason: Why, for people.
        now: The time of the entry.

    Raises:
        NotPromotable: There is no such epoch, or it holds the present champion;
            the epochs that can be restored are listed.
        Conflict: Somebody wrote the next epoch first.
    """
    history = ledger.history(model)
    restorable = [entry for entry in history if entry.digest != history[-1].digest]
    if to_epoch is None:
        target = previous_champion(history)
    else:
        target = next((entry for entry in restorable if entry.epoch == to_epoch), None)
    if target is None:
        epochs = [f"{entry.epoch} (version {entry.version})" for entry in restorable]
        raise NotPromotable(
            what=f"{model} cannot roll back to {'an earlier champion' if to_epoch is None else f'epoch {to_epoch}'}",
            why=f"the ledger stands at epoch {history[-1].epoch if history else 0}",
            fix=f"name one of the epochs {listed(epochs)}" if epochs else "promote a second champion first",
        )
    head = history[-1]
    entry = replace(target, epoch=head.epoch + 1, previous_epoch=head.epoch, actor=actor, reason=reason, at=now)
    ledger.append(entry)
    return entry


def previous_champion(history: tuple[LedgerEntry, ...]) -> LedgerEntry | None:
    """Give the entry whose champion the present one followed when it was first promoted.

    A champion that came back by rollback is traced to its first epoch, so two
    rollbacks in a row go back two champions instead of forth again.
    """
    if not history:
        return None
    digest = history[-1].digest
    restored = len(history) > 1 and any(entry.digest == digest for entry in history[:-1])
    first = next(i for i, entry in enumerate(history) if entry.digest == digest) if restored else len(history) - 1
    return history[first - 1] if first else None


def reconcile(model: str, ledger: Ledger, registry: Registry) -> Mapping[str, str]:
    """Make the registry's aliases say what the ledger says.

    Safe to run at any time, by anyone, any number of times.

    Returns:
        The aliases that had to move, each with the version it now names.
    """
    history = ledger.history(model)
    if not history:
        return {}
    before = previous_champion(history)
    wanted = {CHAMPION: history[-1].version} | ({PREVIOUS: before.version} if before else {})
    found = registry.aliases(model)
    moved = {alias: version for alias, version in wanted.items() if found.get(alias) != version}
    for alias, version in moved.items():
        registry.set_alias(model, alias, version)
    if before is None and PREVIOUS in found:
        # The first champion is champion again, and nothing came before it.
        registry.drop_alias(model, PREVIOUS)
    return moved


def _is_done(head: LedgerEntry | None, verdict: Verdict, version: str, digest: str) -> bool:
    return (
        head is not None
        and head.verdict_id == verdict.id
        and head.previous_epoch == verdict.epoch
        and (head.version, head.digest) == (version, digest)
    )


def _check_epoch(verdict: Verdict, head: LedgerEntry | None) -> None:
    stands = head.epoch if head else 0
    if verdict.epoch != stands:
        raise Conflict(
            what=f"verdict {verdict.id[:12]} on {verdict.model} is out of date",
            why=f"it was judged against epoch {verdict.epoch}, and the ledger stands at epoch {stands}",
            fix="judge again against the new champion",
        )
