"""The ledger: who is champion since when, on which verdict; written once and never changed.

It lives in a SQLite file or in a PostgreSQL database (`ledger_databases.py`),
in the tables of `ledger_tables.py`, where its format version and the procedure
for changing it are. Beside the entries are the leases of those who act on them
and the projections onto the registry's aliases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from baton.core.digest import plain
from baton.core.errors import Conflict, IntegrityBroken, NotPromotable
from baton.core.lease import Lease
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.verdict import Verdict
from baton.registry.lease_table import SqlLeases, check_in
from baton.registry.ledger_audit import Anchor, Evidence, Flaw, first_flaw, read_verdict
from baton.registry.ledger_store import LedgerStore
from baton.registry.ledger_tables import (
    FIRST,
    chained,
    columns_of,
    entries,
    entry_from,
    head_row,
    heads,
    microseconds,
    verdicts,
)
from baton.registry.projection_table import SqlProjections


class SqlLedger:
    """A ledger that any number of processes may share.

    Args:
        address: A SQLite file, or the URL of one or of a PostgreSQL database.
        clock: Seconds for the leases; the database's own clock where left out.
        environment: The environment that acts, such as `production`. The first to write makes the ledger its
            own, and every other is refused with `Misuse` before it reads or writes; none is where left out.
    """

    def __init__(
        self, address: Path | str, *, clock: Callable[[], float] | None = None, environment: str | None = None
    ) -> None:
        self._store = LedgerStore(address, clock=clock, environment=environment)
        self.leases = SqlLeases(self._store)
        self.projections = SqlProjections(self._store)

    def close(self) -> None:
        """Close the connections that are kept open; the end of the process does so too."""
        self._store.close()

    @property
    def environment(self) -> str | None:
        """The environment that the ledger belongs to, or None where nobody has written to it yet."""
        return self._store.environment()

    def head(self, model: str) -> LedgerEntry | None:
        """Give the newest entry, or None where nothing was ever promoted."""
        return self._newest(entries.c.model == model)

    def entry(self, model: str, epoch: int) -> LedgerEntry | None:
        """Give the entry of an epoch, or None."""
        return self._newest(entries.c.model == model, entries.c.epoch == epoch)

    def find(
        self, model: str, *, digest: str | None = None, version: str | None = None, oldest: bool = False
    ) -> LedgerEntry | None:
        """Give the newest entry of a bundle or a version, or the oldest, or None."""
        wanted = [entries.c.model == model]
        wanted += [entries.c.digest == digest] if digest is not None else []
        wanted += [entries.c.version == version] if version is not None else []
        return self._newest(*wanted, oldest=oldest)

    def champion_at(self, model: str, moment: datetime) -> LedgerEntry | None:
        """Give the newest of the entries written up to a moment, or None.

        Epochs order entries, not times: where a clock was set back between two
        entries, the later one counts from its own time on.
        """
        return self._newest(entries.c.model == model, entries.c.at_us <= microseconds(moment))

    def history(self, model: str) -> tuple[LedgerEntry, ...]:
        """Give every entry, oldest first."""
        query = select(entries.c.content, entries.c.kind).where(entries.c.model == model).order_by(entries.c.epoch)
        return self._store.read(
            lambda connection: tuple(entry_from(row.content, row.kind) for row in connection.execute(query)), empty=()
        )

    def models(self) -> tuple[str, ...]:
        """Give the names of all models that ever had a champion."""
        query = select(heads.c.model).order_by(heads.c.model)
        return tuple(self._store.read(lambda connection: list(connection.execute(query).scalars()), empty=[]))

    def append(self, entry: LedgerEntry, *, verdict: Verdict | None = None, lease: Lease | None = None) -> None:
        """Add the entry of the next epoch; entry, verdict and the lease's check are one transaction.

        Args:
            entry: The new champion.
            verdict: The verdict that the entry names, where the ledger may not hold it yet.
            lease: The lease under which this is done.

        Raises:
            Conflict: The entry's epoch is not the one after the head.
            Fenced: The lease ran out, or another holder has taken the name.
            NotPromotable: The entry names a verdict that is not in the ledger.
            DependencyDown: The database is held, read-only, full or away.
        """
        content = json.dumps(plain(entry), sort_keys=True)
        tries = 0

        def write(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            if lease is not None:
                check_in(connection, lease, *self._store.clock(connection))
            head = head_row(connection, entry.model)
            if tries > 1 and head is not None and (head.epoch, head.content) == (entry.epoch, content):
                return  # the try before was committed, and its answer lost
            check_next(entry, head=head.epoch if head else 0)
            if verdict is not None:
                _keep(connection, verdict)
            _check_verdict(connection, entry)
            _append(connection, entry, content, head)

        self._store.write(write, lock=entry.model)

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id; keeping it again changes nothing."""
        self._store.write(lambda connection: _keep(connection, verdict), lock=verdict.model)

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None; one of format 1 lacks what was not recorded then.

        Raises:
            IntegrityBroken: What is stored is not what the id names.
        """
        content = self._store.read(lambda connection: _verdict_text(connection, verdict_id), empty=None)
        if content is None:
            return None
        found = hashlib.sha256(content.encode()).hexdigest()
        if found != verdict_id:
            raise IntegrityBroken(
                what=f"verdict {verdict_id[:12]} in {self._store.name}",
                why=f"its content has the digest {found[:12]}",
                fix="restore the ledger from a backup",
            )
        return read_verdict(content)

    def anchor(self, model: str) -> Anchor | None:
        """Give epoch and hash of the head, to be kept elsewhere: `verify` then sees any tail that was cut off."""
        row = self._store.read(lambda connection: head_row(connection, model), empty=None)
        return Anchor(epoch=row.epoch, hash=row.hash) if row else None

    def verify(self, model: str, *, anchor: Anchor | None = None) -> Flaw | None:
        """Follow the chain of hashes and the verdicts; give the first entry that does not fit, or None.

        An entry that was edited, dropped or put in breaks the chain. A tail
        that was cut off leaves whole entries behind, and shows against the
        head's record, against the projections, and against an `anchor` that
        was kept outside the database: who can rewrite the whole database can
        rewrite all but that one.
        """
        evidence = self._store.read(lambda connection: _evidence(connection, model), empty=Evidence())
        return first_flaw(model, evidence, anchor)

    def _newest(self, *wanted: ColumnElement[bool], oldest: bool = False) -> LedgerEntry | None:
        order = entries.c.epoch.asc() if oldest else entries.c.epoch.desc()
        query = select(entries.c.content, entries.c.kind).where(*wanted).order_by(order).limit(1)
        row = self._store.read(lambda connection: connection.execute(query).first(), empty=None)
        return entry_from(row.content, row.kind) if row else None


def check_next(entry: LedgerEntry, *, head: int) -> None:
    """Refuse an entry that does not follow the head.

    Raises:
        Conflict: The entry's epoch is not `head + 1`.
    """
    if entry.epoch != head + 1 or entry.previous_epoch != head:
        raise Conflict(
            what=f"epoch {entry.epoch} of {entry.model} cannot be written",
            why=f"the ledger stands at epoch {head}",
            fix="judge again against the new champion",
        )


def _append(connection: Connection, entry: LedgerEntry, content: str, head: Any) -> None:
    previous = head.hash if head else FIRST
    connection.execute(insert(entries).values(columns_of(entry, content, previous=previous)))
    values = {"epoch": entry.epoch, "hash": chained(previous, content)}
    if head is None:
        connection.execute(insert(heads).values(model=entry.model, **values))
    else:
        connection.execute(update(heads).where(heads.c.model == entry.model).values(values))


def _check_verdict(connection: Connection, entry: LedgerEntry) -> None:
    if entry.kind is EntryKind.OVERRIDE and not entry.verdict_id:
        return
    if _verdict_text(connection, entry.verdict_id) is None:
        raise NotPromotable(
            what=f"epoch {entry.epoch} of {entry.model} cannot be written",
            why=f"the ledger holds no verdict {entry.verdict_id[:12] or '(none is named)'}",
            fix="judge the challenger first",
        )


def _keep(connection: Connection, verdict: Verdict) -> None:
    if _verdict_text(connection, verdict.id) is None:
        connection.execute(insert(verdicts).values(id=verdict.id, content=verdict.to_json().decode()))


def _verdict_text(connection: Connection, verdict_id: str) -> str | None:
    return connection.execute(select(verdicts.c.content).where(verdicts.c.id == verdict_id)).scalar()


def _evidence(connection: Connection, model: str) -> Evidence:
    rows = connection.execute(select(entries).where(entries.c.model == model).order_by(entries.c.epoch)).all()
    named = select(verdicts).where(
        verdicts.c.id.in_(select(entries.c.verdict_id).where(entries.c.model == model).distinct())
    )
    head = connection.execute(select(heads.c.epoch, heads.c.hash).where(heads.c.model == model)).first()
    return Evidence(
        rows=rows,
        verdicts={row.id: row.content for row in connection.execute(named)},
        head=Anchor(epoch=head.epoch, hash=head.hash) if head else None,
        projected=SqlProjections.newest_epoch(connection, model),
    )
