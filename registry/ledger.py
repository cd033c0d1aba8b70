"""The ledger in one SQLite file: who is champion since when, on which verdict; written once and never changed.

Format version 1. Table `entries` holds one row for each (model, epoch) with
the SHA-256 of the entry before it, so a row that is edited, dropped or put in
later shows; table `verdicts` holds each verdict's canonical JSON by its id.
A changed layout gets a new `FORMAT`, and a file of another format is refused.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from baton.core.digest import digest_of, plain
from baton.core.errors import Conflict, DependencyDown, IntegrityBroken
from baton.core.ledger_entry import LedgerEntry
from baton.core.verdict import Verdict, verdict_from_json

FORMAT = 1
# Longer than any write here takes, shorter than a person waits.
BUSY_SECONDS = 5.0
FIRST = "0" * 64

LAYOUT = """
CREATE TABLE IF NOT EXISTS entries (
    model TEXT NOT NULL, epoch INTEGER NOT NULL, content TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (model, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (id TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_last BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS verdicts_stay BEFORE UPDATE ON verdicts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS verdicts_last BEFORE DELETE ON verdicts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class SqliteLedger:
    """A ledger that any number of processes on one machine may share.

    Every call opens the file anew: a connection does not survive a fork, and
    opening costs less than a millisecond. A file that is not there is an
    empty ledger; the first write makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def head(self, model: str) -> LedgerEntry | None:
        """Give the newest entry, or None where nothing was ever promoted."""
        rows = self._read("SELECT content FROM entries WHERE model = ? ORDER BY epoch DESC LIMIT 1", model)
        return _entry(rows[0][0]) if rows else None

    def history(self, model: str) -> tuple[LedgerEntry, ...]:
        """Give every entry, oldest first."""
        rows = self._read("SELECT content FROM entries WHERE model = ? ORDER BY epoch", model)
        return tuple(_entry(content) for (content,) in rows)

    def append(self, entry: LedgerEntry) -> None:
        """Add the entry of the next epoch.

        Raises:
            Conflict: The entry's epoch is not the one after the head.
            DependencyDown: The file is locked, read-only or on a full disk.
        """
        with self._writing() as connection:
            newest = connection.execute(
                "SELECT epoch, hash FROM entries WHERE model = ? ORDER BY epoch DESC LIMIT 1", (entry.model,)
            ).fetchone()
            epoch, previous = newest or (0, FIRST)
            check_next(entry, head=epoch)
            content = json.dumps(plain(entry), sort_keys=True)
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                (entry.model, entry.epoch, content, previous, _hash(previous, content)),
            )

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id; keeping it again changes nothing."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO verdicts VALUES (?, ?)", (verdict.id, verdict.to_json().decode()))

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None.

        Raises:
            IntegrityBroken: What is stored is not what the id names.
        """
        rows = self._read("SELECT content FROM verdicts WHERE id = ?", verdict_id)
        if not rows:
            return None
        verdict = verdict_from_json(rows[0][0])
        if verdict.id != verdict_id:
            raise IntegrityBroken(
                what=f"verdict {verdict_id[:12]} in {self.path}",
                why=f"its content has the digest {verdict.id[:12]}",
                fix="restore the ledger from a backup",
            )
        return verdict

    def verify(self, model: str) -> int | None:
        """Follow the chain of hashes; give the first epoch that does not fit, or None where all do."""
        rows = self._read("SELECT epoch, content, previous, hash FROM entries WHERE model = ? ORDER BY epoch", model)
        last = FIRST
        for expected, (epoch, content, previous, digest) in enumerate(rows, start=1):
            fits = epoch == expected == _entry(content).epoch and previous == last
            if not fits or digest != _hash(previous, content):
                return expected
            last = digest
        return None

    def _read(self, query: str, argument: str) -> list[Any]:
        if not self.path.exists():
            return []
        with self._explained(), closing(self._connect("ro")) as connection:
            return connection.execute(query, (argument,)).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect("rwc")) as connection:
                # Entries are few and must outlive a power cut.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    self._lay_out(connection)
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            # Not executescript: it would commit the transaction that is open.
            for statement in LAYOUT.strip().split(";\nCREATE"):
                connection.execute(statement if statement.startswith("CREATE") else f"CREATE{statement}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise IntegrityBroken(
                what=f"{self.path} has ledger format {version}",
                why=f"this Baton writes format {FORMAT}",
                fix="use the Baton that wrote it",
            )

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise DependencyDown(
                what=f"the ledger {self.path} cannot be used",
                why=str(error),
                fix="make room and the file writable, or wait for who holds it",
            ) from error
        except sqlite3.DatabaseError as error:
            raise IntegrityBroken(
                what=f"the ledger {self.path} is damaged", why=str(error), fix="restore it from a backup"
            ) from error


def check_next(entry: LedgerEntry, *, head: int) -> None:
    """Refuse an entry that does not follow the head.

    Raises:
        Conflict: The entry's epoch is not `head + 1`.
    """
    if entry.epoch != head + 1:
        raise Conflict(
            what=f"epoch {entry.epoch} of {entry.model} cannot be written",
            why=f"the ledger stands at epoch {head}",
            fix="judge again against the new champion",
        )


def _entry(content: str) -> LedgerEntry:
    fields = json.loads(content)
    names = {field.name for field in dataclasses.fields(LedgerEntry)}
    fields["at"] = datetime.fromisoformat(fields["at"])
    return LedgerEntry(**{name: value for name, value in fields.items() if name in names})


def _hash(previous: str, content: str) -> str:
    return digest_of([previous, content])
