"""The ledger's layout, format version 3, and how an older file becomes one.

To change the layout: raise `FORMAT`, write the step in `STEPS` that turns the
format before it into the new one inside the transaction that it is given, and
keep every entry's `content`, `previous` and `hash` as they are, since the chain
of hashes runs over them. A ledger of a later format than `FORMAT` is refused
before anything is touched, so an older Baton never harms a newer one's file.

Format 1 was SQLite only: entries of (model, epoch, content, previous, hash),
and the verdicts. Format 2 adds columns by which entries are found, a record of
each model's head, the leases and the projections. Format 3 adds what is true of
the ledger as a whole: the environment that it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)

from baton.core.digest import digest_of
from baton.core.errors import IntegrityBroken
from baton.core.ledger_entry import EntryKind, LedgerEntry

FORMAT = 3
FIRST = "0" * 64
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

layout = MetaData()
# A look-up column repeats what the content says; `content` is what is hashed.
entries = Table(
    "entries",
    layout,
    Column("model", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("verdict_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("entries_by_digest", "model", "digest", "epoch"),
    Index("entries_by_version", "model", "version", "epoch"),
)
verdicts = Table("verdicts", layout, Column("id", Text, primary_key=True), Column("content", Text, nullable=False))
# One row a model, which moves forward by one epoch at a time: a tail that was cut off shows.
heads = Table(
    "heads",
    layout,
    Column("model", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
leases = Table(
    "leases",
    layout,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    # Seconds on the clock of that name; another clock's seconds mean nothing.
    Column("clock", Text, nullable=False),
    Column("expires", Float, nullable=False),
)
projections = Table(
    "projections",
    layout,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("since", Float, nullable=False),
    Index("projections_by_state", "model", "state", "epoch"),
)
# What is true of the ledger as a whole, written once.
meta = Table("meta", layout, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
PROTECTED = ("entries", "verdicts", "meta")
ENVIRONMENT = "environment"


def lay_out(connection: Connection) -> None:
    """Make the tables, and the triggers that keep entries and verdicts as they were written."""
    layout.create_all(connection)
    for statement in _triggers(connection.dialect.name):
        connection.execute(text(statement))


def migrate(connection: Connection, found: int) -> None:
    """Bring a ledger of an older format to `FORMAT`, inside the caller's transaction.

    Raises:
        IntegrityBroken: The format is later than `FORMAT`, or an entry cannot be read; nothing was changed.
    """
    if found > FORMAT or found not in {*STEPS, FORMAT}:
        raise IntegrityBroken(
            what=f"this ledger has format {found}",
            why=f"this Baton reads formats 1 to {FORMAT}",
            fix="use the Baton that wrote it",
        )
    for step in range(found, FORMAT):
        STEPS[step](connection)


def columns_of(entry: LedgerEntry, content: str, *, previous: str) -> dict[str, Any]:
    """Give the row of an entry that follows the entry with the hash `previous`."""
    return {
        "model": entry.model,
        "epoch": entry.epoch,
        "kind": entry.kind.value,
        "version": entry.version,
        "digest": entry.digest,
        "verdict_id": entry.verdict_id,
        "at_us": microseconds(entry.at),
        "content": content,
        "previous": previous,
        "hash": chained(previous, content),
    }


def entry_from(content: str, kind: str) -> LedgerEntry:
    """Read an entry back; contents of format 1 do not say their kind."""
    fields = json.loads(content)
    known = {name: fields[name] for name in LedgerEntry.__slots__ if name in fields}
    known["at"] = datetime.fromisoformat(fields["at"])
    return LedgerEntry(**known | {"kind": EntryKind(kind)})


def chained(previous: str, content: str) -> str:
    """Give the hash of an entry, which holds the hash of the one before it."""
    return digest_of([previous, content])


def microseconds(moment: datetime) -> int:
    """Count a moment's microseconds since 1970, without a float's rounding."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def kinds(contents: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Give the kind of each entry of one model, oldest first, where entries do not say it themselves.

    A rollback repeated the entry that it went back to, its verdict included,
    and no verdict promotes twice.
    """
    seen: set[str] = set()
    for fields in contents:
        verdict = fields["verdict_id"]
        yield fields.get("kind") or (EntryKind.ROLLBACK if verdict in seen else EntryKind.PROMOTION).value
        seen.add(verdict)


def _from_1_to_2(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE entries RENAME TO entries_1"))
    for table, event in ((table, event) for table in PROTECTED for event in ("stay", "last")):
        connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_{event}"))
    lay_out(connection)
    models = connection.execute(text("SELECT DISTINCT model FROM entries_1")).scalars().all()
    for model in models:
        _copy_entries(connection, model)
    connection.execute(text("DROP TABLE entries_1"))


def _copy_entries(connection: Connection, model: str) -> None:
    query = text("SELECT epoch, content, previous, hash FROM entries_1 WHERE model = :model ORDER BY epoch")
    found = connection.execute(query, {"model": model}).all()
    try:
        read = [json.loads(row.content) for row in found]
        for row, kind in zip(found, kinds(iter(read)), strict=True):
            fields = columns_of(entry_from(row.content, kind), row.content, previous=row.previous)
            # As they stand, right or wrong: `verify` judges them, not the migration.
            fields |= {"model": model, "epoch": row.epoch, "hash": row.hash}
            connection.execute(insert(entries).values(fields))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityBroken(
            what=f"an entry of {model} in this ledger of format 1",
            why=f"it cannot be read ({type(error).__name__}: {error})",
            fix="restore the ledger from a backup",
        ) from error
    newest = found[-1]
    connection.execute(insert(heads).values(model=model, epoch=newest.epoch, hash=newest.hash))


def _from_2_to_3(connection: Connection) -> None:
    # The step from format 1 lays out every table that there is now.
    if not inspect(connection).has_table(meta.name):
        meta.create(connection)
        for statement in _guards(meta.name, connection.dialect.name):
            connection.execute(text(statement))


STEPS: dict[int, Callable[[Connection], None]] = {1: _from_1_to_2, 2: _from_2_to_3}


def found_environment(connection: Connection) -> str | None:
    """Give the environment that the ledger belongs to, or None where nobody has claimed it yet."""
    return connection.execute(select(meta.c.value).where(meta.c.name == ENVIRONMENT)).scalar()


def claim_environment(connection: Connection, environment: str) -> None:
    """Write the environment down, for good."""
    connection.execute(insert(meta).values(name=ENVIRONMENT, value=environment))


def head_row(connection: Connection, model: str) -> Any:
    """Give epoch and hash of a model's newest entry, or None."""
    newest = select(entries.c.epoch, entries.c.hash, entries.c.content).where(entries.c.model == model)
    return connection.execute(newest.order_by(entries.c.epoch.desc()).limit(1)).first()


def _triggers(dialect: str) -> Iterator[str]:
    forward = "NEW.model <> OLD.model OR NEW.epoch <> OLD.epoch + 1"
    if dialect == "sqlite":
        for table in PROTECTED:
            yield from _guards(table, dialect)
        for name, event in (("advance", f"UPDATE ON heads WHEN {forward}"), ("last", "DELETE ON heads")):
            yield f"CREATE TRIGGER heads_{name} BEFORE {event} BEGIN SELECT RAISE(ABORT, 'a head only advances'); END"
        return
    yield (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
    )
    for table in PROTECTED:
        yield from _guards(table, dialect)
    yield _guard("heads", "DELETE OR TRUNCATE")
    yield f"CREATE TRIGGER heads_advance BEFORE UPDATE ON heads FOR EACH ROW WHEN ({forward}) EXECUTE FUNCTION refuse()"


def _guards(table: str, dialect: str) -> Iterator[str]:
    """Give the triggers that keep a table's rows as they were written."""
    if dialect != "sqlite":
        yield _guard(table, "UPDATE OR DELETE OR TRUNCATE")
        return
    for name, event in (("stay", "UPDATE"), ("last", "DELETE")):
        yield (
            f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table}"
            " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )


def _guard(table: str, events: str) -> str:
    return f"CREATE TRIGGER {table}_stay BEFORE {events} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
