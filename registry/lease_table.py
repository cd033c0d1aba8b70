"""Leases in the ledger's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from baton.core.lease import Lease, LeaseState
from baton.registry.lease import SECONDS, check_free, check_held
from baton.registry.ledger_tables import leases

if TYPE_CHECKING:
    from baton.registry.ledger_store import LedgerStore


class SqlLeases:
    """Names and their newest leases, one row each."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def acquire(self, name: str, holder: str, *, seconds: float = SECONDS) -> Lease:
        """Take a name that is free, expired or already the holder's.

        A holder that takes its own name again, after a crash for example, gets
        a new token, and its old one is refused.

        Raises:
            Conflict: Another holder has it, and for how long still.
        """

        def take(connection: Connection) -> Lease:
            clock, now = self._store.clock(connection)
            found = connection.execute(_named(name)).first()
            check_free(name, holder, _state(found, clock, now) if found else None)
            lease = Lease(name=name, holder=holder, token=found.token + 1 if found else 1, seconds=seconds)
            values = {"holder": holder, "token": lease.token, "seconds": seconds, "clock": clock}
            values["expires"] = now + seconds
            change = update(leases).where(leases.c.name == name) if found else insert(leases)
            connection.execute(change.values(values if found else values | {"name": name}))
            return lease

        return self._store.write(take, lock=_lock(name))

    def renew(self, lease: Lease) -> None:
        """Hold it for as long again.

        Raises:
            Fenced: It ran out or was taken; what ran out is not renewed, since others may have acted.
        """

        def extend(connection: Connection) -> None:
            clock, now = self._store.clock(connection)
            check_in(connection, lease, clock, now)
            later = update(leases).where(leases.c.name == lease.name).values(expires=now + lease.seconds)
            connection.execute(later)

        self._store.write(extend, lock=_lock(lease.name))

    def check(self, lease: Lease) -> None:
        """Do nothing where the lease still holds.

        Raises:
            Fenced: It ran out, or another holder has taken the name.
        """

        def read(connection: Connection) -> LeaseState | None:
            found = connection.execute(_named(lease.name)).first()
            return _state(found, *self._store.clock(connection)) if found else None

        check_held(lease, self._store.read(read, empty=None))

    def release(self, lease: Lease) -> None:
        """Give the name back; a lease that is lost already is no error."""
        ours = (leases.c.name == lease.name) & (leases.c.token == lease.token)
        self._store.write(
            lambda connection: connection.execute(update(leases).where(ours).values(expires=0.0, clock="released")),
            lock=_lock(lease.name),
        )

    def list(self) -> tuple[LeaseState, ...]:
        """Give every name that was ever taken, with its newest lease."""

        def read(connection: Connection) -> tuple[LeaseState, ...]:
            clock, now = self._store.clock(connection)
            found = connection.execute(select(leases).order_by(leases.c.name)).all()
            return tuple(_state(row, clock, now) for row in found)

        return self._store.read(read, empty=())


def check_in(connection: Connection, lease: Lease, clock: str, now: float) -> None:
    """Refuse a lease that no longer holds, in the transaction of what is done under it.

    Raises:
        Fenced: It ran out, or another holder has taken the name.
    """
    # Whoever takes the name waits for this transaction to end.
    found = connection.execute(_named(lease.name).with_for_update()).first()
    check_held(lease, _state(found, clock, now) if found else None)


def _named(name: str) -> Any:
    return select(leases).where(leases.c.name == name)


def _state(row: Any, clock: str, now: float) -> LeaseState:
    left = max(row.expires - now, 0.0) if row.clock == clock else 0.0
    return LeaseState(name=row.name, holder=row.holder, token=row.token, seconds_left=left)


def _lock(name: str) -> str:
    return f"lease {name}"
