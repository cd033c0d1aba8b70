"""Leases: who may act under a name, and the token that stops whoever comes back too late.

A lease is held for some seconds and renewed by a heartbeat. A process that is
paused for longer finds, at its next side effect, that its token is no longer
the newest or its time is over, and is refused (`Fenced`). The token is checked
in the transaction of the side effect itself, so it decides, and not the clock.

The clock only says when a name is free. On a SQLite file it counts from the
start of the machine, which no step of the wall clock moves and a restart ends;
on PostgreSQL it is the server's. A server's clock that jumps forward ends
leases early, and their holders are fenced; one that jumps back lets a dead
holder keep its name for as long as the jump. Two never hold one name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from baton.core.errors import Conflict, DependencyDown, Fenced
from baton.core.lease import Lease, LeaseState
from baton.registry.projection import alive

# A run that died is missed for as long as this.
SECONDS = 90.0
# Two heartbeats may be lost before the lease is.
BEATS = 3


class Leases(Protocol):
    """Names that one holder at a time acts under."""

    def acquire(self, name: str, holder: str, *, seconds: float = SECONDS) -> Lease:
        """Take a name that is free, expired or already the holder's; raises `Conflict` where it is another's."""

    def renew(self, lease: Lease) -> None:
        """Hold it for as long again; raises `Fenced` where it is too late."""

    def check(self, lease: Lease) -> None:
        """Do nothing where the lease still holds; raises `Fenced` where it does not."""

    def release(self, lease: Lease) -> None:
        """Give the name back; a lease that is lost already is no error."""

    def list(self) -> tuple[LeaseState, ...]:
        """Give every name that was ever taken, with its newest lease."""


class Held:
    """A lease that is being renewed; `check` before any side effect that the ledger does not check itself."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self.lease = lease
        self._leases = leases

    def check(self) -> None:
        """Do nothing where the lease still holds; raises `Fenced` where it does not."""
        self._leases.check(self.lease)


@contextmanager
def hold(leases: Leases, name: str, holder: str, *, seconds: float = SECONDS) -> Iterator[Held]:
    """Hold a name while the block runs, renewed by a thread three times in its time.

    The thread stops when the lease is lost. It says nothing: the next check
    or the next `append` under the lease does.

    Raises:
        Conflict: Another holder has the name.

    Example:
        with hold(ledger.leases, "flights/retrain", holder) as held:
            held.check()
            ledger.append(entry, lease=held.lease)
    """
    lease = leases.acquire(name, holder, seconds=seconds)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(leases, lease, ended), name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield Held(leases, lease)
    finally:
        ended.set()
        thread.join(seconds)
        leases.release(lease)


def check_free(name: str, holder: str, state: LeaseState | None) -> None:
    """Refuse to take a name that is another's; one that died on this machine is not waited for."""
    if state is not None and not state.expired and state.holder != holder and alive(state.holder) is not False:
        raise Conflict(
            what=f"{name} is taken",
            why=f"{state.holder} holds it for another {state.seconds_left:.0f} s",
            fix="wait for it to end; a holder that died loses it by then",
        )


def check_held(lease: Lease, state: LeaseState | None) -> None:
    """Refuse a lease that no longer holds.

    Raises:
        Fenced: It ran out, or another holder has taken the name.
    """
    if state is None or state.token != lease.token or state.expired:
        raise _fenced(lease, state)


def _fenced(lease: Lease, state: LeaseState | None) -> Fenced:
    """Give the error of a holder that came too late."""
    taken = state is not None and state.token != lease.token
    return Fenced(
        what=f"{lease.holder} may no longer act as {lease.name}",
        why=f"{state.holder} has taken it since" if taken and state else "its lease ran out",
        fix="start again from what the ledger says now",
    )


def _beat(leases: Leases, lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(lease.seconds / BEATS):
        try:
            leases.renew(lease)
        except Fenced:
            return
        except DependencyDown:
            # The next beat may get through; if none does, the lease runs out.
            continue
