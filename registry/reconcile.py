"""Ledger and aliases brought together: the ledger's champion is shown, and what a person did in the registry is judged.

The alias `champion` is the ledger's projection, and a person may move it. The
registry says neither who moved it nor when, so it is told from what the ledger
wrote down about its own moves (`projection.py`):

    alias at the head's version                    in line
    no alias, or none was ever set by the ledger   ours to set
    alias at the version projected last            the head is not projected yet: ours to finish
    alias at the version of a pending move         a paused process woke late: ours to finish
    alias anywhere else                            a person moved it: adopt it, or put it back

Ledger and projections are read before and after the alias and have to be the
same, so a slow reader never takes an old alias for a new move. The entry of an
adoption is appended by compare-and-set, so of two reconcilers one writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from baton.core.errors import BatonError, Conflict, Misuse
from baton.core.ledger_entry import LedgerEntry
from baton.core.ports import Registry
from baton.registry.adoption import Adopt, PutBack, assess
from baton.registry.mlflow_words import one_line
from baton.registry.projection import ProjectedLedger, Projection, Standing, State, alive, this_process
from baton.registry.promotion import champion_before

CHAMPION = "champion"
PREVIOUS = "previous"
REFUSED_TAG = "baton.refused"
REFUSED_AT_TAG = "baton.refused_at"
# Each round answers one thing that happened meanwhile; the next call answers the rest.
ROUNDS = 8
Policy = Literal["adopt", "enforce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a call found and did.

    `moved` are the aliases that were set, each with the version it now names.
    `reason` says why a version was adopted or put back, in one line. `alarms`
    are what a person has to look at: `champion_missing`, `put_back`, `unsettled`.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    adopted: LedgerEntry | None = None
    put_back: str | None = None
    reason: str = ""
    alarms: tuple[str, ...] = ()


def reconcile(
    model: str,
    ledger: ProjectedLedger,
    registry: Registry,
    *,
    usable: Callable[[str], object],
    now: datetime,
    policy: Policy = "adopt",
    holder: str | None = None,
) -> Reconciled:
    """Make ledger and aliases say the same; at most one entry is written.

    Safe at any time, by anyone, any number of times, and after being killed anywhere.

    Args:
        model: Name of the model.
        ledger: The truth.
        registry: Where people see it, and may move it.
        usable: Raises a `BatonError` unless the bundle of a digest is there and verifies.
        now: The time of an adoption.
        policy: `adopt` judges what a person moved, `enforce` puts it back unseen.
        holder: Who does this; this process where left out.

    Raises:
        DependencyDown: Registry or ledger does not answer; what was done until then stands, and the
            next call goes on from there.
    """
    return _Reconciler(
        model=model,
        ledger=ledger,
        registry=registry,
        usable=usable,
        now=now,
        policy=policy,
        holder=holder or this_process(),
    ).run()


def foresee(
    model: str,
    ledger: ProjectedLedger,
    registry: Registry,
    *,
    usable: Callable[[str], object],
    now: datetime,
    policy: Policy = "adopt",
) -> Reconciled:
    """Say what `reconcile` would do now, and do nothing."""
    standing = ledger.projections.standing(model)
    shown = registry.aliases(model).get(CHAMPION)
    if _ours(standing, shown):
        moves = standing.head is not None and shown != standing.head.version
        return Reconciled(moved={CHAMPION: standing.head.version} if moves and standing.head else {})
    assert shown is not None
    known = registry.read(model, shown)
    if known is None:
        return Reconciled()
    answer = assess(known, ledger, standing.head, usable=usable, now=now, policy=policy)
    if isinstance(answer, Adopt):
        return Reconciled(adopted=answer.entry, reason=answer.entry.reason)
    back = {CHAMPION: standing.head.version} if standing.head else {}
    return Reconciled(moved=back, put_back=shown, reason=answer.reason, alarms=("put_back",))


@dataclass(slots=True, kw_only=True)
class _Reconciler:
    """One call of `reconcile`: what it may use, and what it has done so far."""

    model: str
    ledger: ProjectedLedger
    registry: Registry
    usable: Callable[[str], object]
    now: datetime
    policy: Policy
    holder: str
    mine: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    done: Reconciled = field(default_factory=Reconciled)

    def run(self) -> Reconciled:
        """Do one thing a round until nothing is left to do."""
        try:
            if not any(self._round() for _ in range(ROUNDS)):
                self._alarm("unsettled")
        finally:
            # What was not confirmed may yet be carried out; but this process
            # goes on, and should not be taken for one that is paused before it.
            with suppress(BatonError):
                self._end_doubtful()
        return self.done

    def _round(self) -> bool:
        """Do one thing; give whether the alias is where it should be."""
        standing = self.ledger.projections.standing(self.model)
        aliases = self.registry.aliases(self.model)
        if not self.ledger.projections.standing(self.model).same(standing):
            return False
        shown = aliases.get(CHAMPION)
        if standing.head is not None and shown == standing.head.version:
            self._confirm(standing, standing.head)
            self._show_previous(aliases)
            return True
        if _ours(standing, shown):
            return standing.head is None or self._show(standing, standing.head, shown)
        assert shown is not None
        return self._answer(standing, shown)

    def _show(self, standing: Standing, head: LedgerEntry, shown: str | None) -> bool:
        """Point the alias at the head; give whether that is as far as it goes."""
        self.late |= {move.id for move in _came_late(standing, shown)} - set(self.mine)
        begun = self.ledger.projections.begin(self.model, epoch=head.epoch, version=head.version, holder=self.holder)
        self.mine.append(begun)
        try:
            self.registry.set_alias(self.model, CHAMPION, head.version)
        except Misuse:
            # A version that was deleted takes its alias with it. What is
            # served is served on: the bundle does not live in the registry.
            self.ledger.projections.end(self.mine.pop(), State.SPENT)
            self._alarm("champion_missing", reason=f"the registry has no version {head.version}")
            return True
        self.done = replace(self.done, moved={**self.done.moved, CHAMPION: head.version})
        return False

    def _answer(self, standing: Standing, shown: str) -> bool:
        """Adopt what a person moved the alias to, or put it back."""
        known = self.registry.read(self.model, shown)
        if known is None:
            return False
        answer = assess(known, self.ledger, standing.head, usable=self.usable, now=self.now, policy=self.policy)
        # Judging took a moment, in which the person may have thought again.
        if self.registry.aliases(self.model).get(CHAMPION) != shown:
            return False
        if isinstance(answer, PutBack):
            return self._put_back(standing, shown, answer.reason)
        if self.done.adopted is not None:
            # One entry a call: who moves an alias back and forth does not fill the ledger.
            self._alarm("unsettled")
            return True
        try:
            self.ledger.append(answer.entry)
        except Conflict:
            return False
        self.done = replace(self.done, adopted=answer.entry, reason=answer.entry.reason)
        return False

    def _put_back(self, standing: Standing, shown: str, reason: str) -> bool:
        """Move the alias back; give whether that is as far as it goes."""
        # The reason first: a person who finds the alias back finds it there.
        tags = {REFUSED_TAG: one_line(reason), REFUSED_AT_TAG: self.now.isoformat(timespec="seconds")}
        self.registry.tag(self.model, shown, tags)
        self.done = replace(self.done, put_back=shown)
        self._alarm("put_back", reason=one_line(reason))
        missing = standing.head is not None and self._show(standing, standing.head, shown)
        if standing.head is None or missing:
            self.registry.drop_alias(self.model, CHAMPION)
        return missing

    def _confirm(self, standing: Standing, head: LedgerEntry) -> None:
        known = standing.done is not None and (standing.done.epoch, standing.done.version) == (head.epoch, head.version)
        if known and not self.mine and not self.late:
            return
        self.ledger.projections.settle(
            self.model,
            epoch=head.epoch,
            version=head.version,
            holder=self.holder,
            done=tuple(self.mine),
            spent=tuple(self.late),
        )
        self.mine.clear()
        self.late.clear()

    def _show_previous(self, aliases: Mapping[str, str]) -> None:
        before = champion_before(self.ledger, self.model)
        if before is None:
            if PREVIOUS in aliases:
                # The first champion is champion again, and nothing came before it.
                self.registry.drop_alias(self.model, PREVIOUS)
        elif aliases.get(PREVIOUS) != before.version:
            try:
                self.registry.set_alias(self.model, PREVIOUS, before.version)
            except Misuse:
                return
            self.done = replace(self.done, moved={**self.done.moved, PREVIOUS: before.version})

    def _alarm(self, alarm: str, *, reason: str = "") -> None:
        alarms = self.done.alarms if alarm in self.done.alarms else (*self.done.alarms, alarm)
        self.done = replace(self.done, alarms=alarms, reason=reason or self.done.reason)

    def _end_doubtful(self) -> None:
        while self.mine:
            self.ledger.projections.end(self.mine.pop(), State.DOUBTFUL)


def _ours(standing: Standing, shown: str | None) -> bool:
    """Whether the alias is where the ledger's own moves may have put it, or not there at all."""
    if standing.head is None or shown is None:
        return shown is None
    return shown == standing.head.version or _is_unfinished(standing, shown) or _is_pending(standing, shown)


def _is_unfinished(standing: Standing, shown: str) -> bool:
    done, head = standing.done, standing.head
    return done is None or (head is not None and shown == done.version and done.epoch < head.epoch)


def _is_pending(standing: Standing, shown: str) -> bool:
    return any(move.version == shown for move in standing.pending)


def _came_late(standing: Standing, shown: str | None) -> tuple[Projection, ...]:
    """Give the moves that only now put the alias where it is; one that is known to be paused may do so again."""
    if shown is None or _is_unfinished(standing, shown):
        return ()
    return tuple(move for move in standing.pending if move.version == shown and alive(move.holder) is not True)
