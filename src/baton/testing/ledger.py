"""A ledger in memory, with the manners of the real one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from baton.core.errors import Conflict, NotPromotable
from baton.core.lease import Lease, LeaseState
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.verdict import Verdict
from baton.registry.lease import SECONDS, check_free, check_held
from baton.registry.projection import Projection, Standing, State


class MemoryLedger:
    """A ledger that lasts as long as the process; `clock` gives the seconds that leases run on."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: dict[str, list[LedgerEntry]] = defaultdict(list)
        self._verdicts: dict[str, Verdict] = {}
        self.leases = MemoryLeases(clock)
        self.projections = MemoryProjections(self, clock)

    def head(self, model: str) -> LedgerEntry | None:
        """Give the newest entry, or None where nothing was ever promoted."""
        return self._entries[model][-1] if self._entries[model] else None

    def entry(self, model: str, epoch: int) -> LedgerEntry | None:
        """Give the entry of an epoch, or None."""
        return next((entry for entry in self._entries[model] if entry.epoch == epoch), None)

    def find(
        self, model: str, *, digest: str | None = None, version: str | None = None, oldest: bool = False
    ) -> LedgerEntry | None:
        """Give the newest entry of a bundle or a version, or the oldest, or None."""
        found = [
            entry
            for entry in self._entries[model]
            if digest in {None, entry.digest} and version in {None, entry.version}
        ]
        return found[0 if oldest else -1] if found else None

    def champion_at(self, model: str, moment: datetime) -> LedgerEntry | None:
        """Give the newest of the entries written up to a moment, or None."""
        return next((entry for entry in reversed(self._entries[model]) if entry.at <= moment), None)

    def history(self, model: str) -> tuple[LedgerEntry, ...]:
        """Give every entry, oldest first."""
        return tuple(self._entries[model])

    def models(self) -> tuple[str, ...]:
        """Give the names of all models that ever had a champion."""
        return tuple(sorted(model for model, entries in self._entries.items() if entries))

    def append(self, entry: LedgerEntry, *, verdict: Verdict | None = None, lease: Lease | None = None) -> None:
        """Add the entry of the next epoch; raises `Conflict` where that epoch is not next."""
        if lease is not None:
            self.leases.check(lease)
        head = len(self._entries[entry.model])
        if entry.epoch != head + 1 or entry.previous_epoch != head:
            raise Conflict(
                what=f"epoch {entry.epoch} of {entry.model} cannot be written",
                why=f"the ledger stands at epoch {head}",
                fix="judge again against the new champion",
            )
        named = {*self._verdicts, *([verdict.id] if verdict else [])}
        if entry.verdict_id not in named and (entry.verdict_id or entry.kind is not EntryKind.OVERRIDE):
            raise NotPromotable(
                what=f"epoch {entry.epoch} of {entry.model} cannot be written",
                why=f"the ledger holds no verdict {entry.verdict_id[:12] or '(none is named)'}",
                fix="judge the challenger first",
            )
        if verdict is not None:
            self.store_verdict(verdict)
        self._entries[entry.model].append(entry)

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id."""
        self._verdicts[verdict.id] = verdict

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None."""
        return self._verdicts.get(verdict_id)


class MemoryLeases:
    """Leases that last as long as the process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[str, tuple[Lease, float]] = {}

    def acquire(self, name: str, holder: str, *, seconds: float = SECONDS) -> Lease:
        """Take a name that is free, expired or already the holder's; raises `Conflict` where it is another's."""
        state = self._state(name)
        check_free(name, holder, state)
        lease = Lease(name=name, holder=holder, token=state.token + 1 if state else 1, seconds=seconds)
        self._held[name] = lease, self._clock() + seconds
        return lease

    def renew(self, lease: Lease) -> None:
        """Hold it for as long again; raises `Fenced` where it is too late."""
        self.check(lease)
        self._held[lease.name] = lease, self._clock() + lease.seconds

    def check(self, lease: Lease) -> None:
        """Do nothing where the lease still holds; raises `Fenced` where it does not."""
        check_held(lease, self._state(lease.name))

    def release(self, lease: Lease) -> None:
        """Give the name back; a lease that is lost already is no error."""
        if self._held[lease.name][0].token == lease.token:
            self._held[lease.name] = lease, 0.0

    def list(self) -> tuple[LeaseState, ...]:
        """Give every name that was ever taken, with its newest lease."""
        return tuple(state for name in sorted(self._held) if (state := self._state(name)))

    def _state(self, name: str) -> LeaseState | None:
        if name not in self._held:
            return None
        lease, expires = self._held[name]
        left = max(expires - self._clock(), 0.0)
        return LeaseState(name=name, holder=lease.holder, token=lease.token, seconds_left=left)


class MemoryProjections:
    """Moves of the alias that are remembered as long as the process."""

    def __init__(self, ledger: MemoryLedger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._moves: dict[str, list[tuple[Projection, float]]] = defaultdict(list)

    def standing(self, model: str) -> Standing:
        """Give ledger and projections in one moment."""
        moves = [replace(move, age=self._clock() - since) for move, since in self._moves[model]]
        done = [move for move in moves if move.state is State.DONE]
        return Standing(
            head=self._ledger.head(model),
            done=max(done, key=lambda move: move.epoch, default=None),
            pending=tuple(move for move in moves if move.pending),
        )

    def begin(self, model: str, *, epoch: int, version: str, holder: str) -> str:
        """Write down a move that is about to be made, and give its id."""
        return self._add(model, epoch, version, holder, State.INTENT)

    def end(self, projection: str, state: State) -> None:
        """Write down what became of a move."""
        self._change(projection, state)

    def settle(
        self, model: str, *, epoch: int, version: str, holder: str, done: Sequence[str] = (), spent: Sequence[str] = ()
    ) -> None:
        """Write down that the alias was seen at the champion of an epoch, and with that what became of moves."""
        for move in done:
            self._change(move, State.DONE)
        for move in spent:
            self._change(move, State.SPENT)
        self._add(model, epoch, version, holder, State.DONE)

    def _change(self, projection: str, state: State) -> None:
        for moves in self._moves.values():
            moves[:] = [
                (replace(move, state=state), self._clock()) if move.id == projection else (move, since)
                for move, since in moves
            ]

    def _add(self, model: str, epoch: int, version: str, holder: str, state: State) -> str:
        identity = f"{model}-{len(self._moves[model])}"
        move = Projection(id=identity, epoch=epoch, version=version, state=state, holder=holder, age=0.0)
        self._moves[model].append((move, self._clock()))
        return identity
