"""The moves of the champion alias, in the ledger's database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select, update

from baton.core.ledger_entry import LedgerEntry
from baton.registry.ledger_tables import entries, entry_from, projections
from baton.registry.projection import Projection, Standing, State

if TYPE_CHECKING:
    from baton.registry.ledger_store import LedgerStore

PENDING = (State.INTENT.value, State.DOUBTFUL.value)


class SqlProjections:
    """Projections beside the ledger's entries, so that both are read in one moment."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def standing(self, model: str) -> Standing:
        """Give ledger and projections in one moment."""

        def read(connection: Connection) -> Standing:
            clock, now = self._store.clock(connection)
            ours = select(projections).where(projections.c.model == model)
            done = ours.where(projections.c.state == State.DONE.value).order_by(projections.c.epoch.desc()).limit(1)
            open_ = ours.where(projections.c.state.in_(PENDING)).order_by(projections.c.id)
            newest = connection.execute(done).first()
            moves = [_projection(row, clock, now) for row in connection.execute(open_)]
            return Standing(
                head=_head(connection, model),
                done=_projection(newest, clock, now) if newest else None,
                pending=tuple(move for move in moves if move.pending),
            )

        return self._store.read(read, empty=Standing(head=None, done=None, pending=()))

    def begin(self, model: str, *, epoch: int, version: str, holder: str) -> str:
        """Write down a move that is about to be made, and give its id."""
        identity = uuid.uuid4().hex
        move = {"id": identity, "model": model, "epoch": epoch, "version": version, "holder": holder}
        self._store.write(lambda c: self._insert(c, move, State.INTENT), lock=model)
        return identity

    def end(self, projection: str, state: State) -> None:
        """Write down what became of a move."""
        self._store.write(lambda c: self._change(c, [projection], state), lock=f"projection {projection}")

    def settle(
        self, model: str, *, epoch: int, version: str, holder: str, done: Sequence[str] = (), spent: Sequence[str] = ()
    ) -> None:
        """Write down that the alias was seen at the champion of an epoch, and with that what became of moves."""
        move = {"id": uuid.uuid4().hex, "model": model, "epoch": epoch, "version": version, "holder": holder}
        shown = (
            (projections.c.model == model)
            & (projections.c.epoch == epoch)
            & (projections.c.version == version)
            & (projections.c.state == State.DONE.value)
        )

        def write(connection: Connection) -> None:
            self._change(connection, done, State.DONE)
            self._change(connection, spent, State.SPENT)
            if connection.execute(select(projections.c.id).where(shown).limit(1)).first() is None:
                self._insert(connection, move, State.DONE)

        self._store.write(write, lock=model)

    @staticmethod
    def newest_epoch(connection: Connection, model: str) -> int:
        """Give the newest epoch that was ever projected, 0 where none was."""
        newest = select(func.max(projections.c.epoch)).where(projections.c.model == model)
        return connection.execute(newest).scalar() or 0

    def _insert(self, connection: Connection, move: dict[str, Any], state: State) -> None:
        if connection.execute(select(projections.c.id).where(projections.c.id == move["id"])).first():
            return  # a try before was committed, and its answer lost
        clock, now = self._store.clock(connection)
        connection.execute(insert(projections).values(**move, state=state.value, clock=clock, since=now))

    def _change(self, connection: Connection, moves: Sequence[str], state: State) -> None:
        if moves:
            clock, now = self._store.clock(connection)
            values = {"state": state.value, "clock": clock, "since": now}
            connection.execute(update(projections).where(projections.c.id.in_(moves)).values(values))


def _head(connection: Connection, model: str) -> LedgerEntry | None:
    newest = select(entries.c.content, entries.c.kind).where(entries.c.model == model)
    row = connection.execute(newest.order_by(entries.c.epoch.desc()).limit(1)).first()
    return entry_from(row.content, row.kind) if row else None


def _projection(row: Any, clock: str, now: float) -> Projection:
    # Another clock's seconds, from before the machine restarted, are long ago.
    age = max(now - row.since, 0.0) if row.clock == clock else float("inf")
    return Projection(
        id=row.id, epoch=row.epoch, version=row.version, state=State(row.state), holder=row.holder, age=age
    )
