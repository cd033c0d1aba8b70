"""Labels that came late, each kept exactly once.

A label is safe in `feedback/labels.sqlite` before its sender hears "accepted",
so a repeated delivery is known for one whatever has crashed in between. From
there it goes into Parquet files, oldest first: which rows a file holds is
decided and kept before it is written, so that a crash writes the same file
again and never another one with the same rows.

    labels   id -> the label in force, and how often it was given
    outbox   what is in no Parquet file yet
    parts    the rows of the file that is being written
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from baton.core.errors import DependencyDown
from baton.core.whole_file import replace_file

FEEDBACK = "feedback"
DATABASE = "labels.sqlite"
# A month of labels at ten a second would be 26 million; files this size stay readable.
FILE_ROWS = 50_000
MOST_WAITING = 500_000
BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS labels (id TEXT PRIMARY KEY, label TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, label TEXT NOT NULL, number REAL,
    revision INTEGER NOT NULL, digest TEXT NOT NULL, given_at TEXT NOT NULL, caller TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parts (first INTEGER NOT NULL, last INTEGER NOT NULL);
"""


class Outcome(StrEnum):
    """What became of a label."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CORRECTED = "corrected"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What happened after a prediction: `text` is a class or a number; `number` is None for one of several classes."""

    id: str
    text: str
    number: float | None
    digest: str


class FeedbackStore:
    """The labels of one model's folder; several processes may write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FEEDBACK

    def add(self, labels: Sequence[Label], *, caller: str, now: datetime) -> list[Outcome]:
        """Keep labels, all of them or, where the disk fails, none.

        Returns:
            For each label `ACCEPTED`, `DUPLICATE` where it says what is known,
            or `CORRECTED` where it says otherwise: the last one counts.

        Raises:
            DependencyDown: The disk does not take them, or too many wait.
        """
        try:
            with self._open() as database:
                database.execute("BEGIN IMMEDIATE")
                waiting = database.execute("SELECT count(*) FROM outbox").fetchone()[0]
                if waiting + len(labels) > MOST_WAITING:
                    raise _down(f"{waiting} labels wait to be written")
                outcomes = [_keep(database, label, caller=caller, now=now) for label in labels]
                database.execute("COMMIT")
                return outcomes
        except (sqlite3.Error, OSError) as error:
            raise _down(str(error)) from error

    def write(self) -> int:
        """Write what waits into Parquet files; gives the number of rows.

        Raises:
            DependencyDown: The disk does not take them.
        """
        if not (self._folder / DATABASE).exists():
            return 0
        written = 0
        try:
            with (self._folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with self._open() as database:
                    while part := _next_part(database):
                        written += self._write_part(database, *part)
        except (sqlite3.Error, OSError) as error:
            raise _down(str(error)) from error
        return written

    def _write_part(self, database: sqlite3.Connection, first: int, last: int) -> int:
        import pyarrow.parquet as pq

        rows = database.execute(
            "SELECT sequence, id, label, number, revision, digest, given_at, caller FROM outbox "
            "WHERE sequence BETWEEN ? AND ? ORDER BY sequence",
            (first, last),
        ).fetchall()
        path = self._folder / f"{first:012d}-{last:012d}.parquet"
        replace_file(path, partial(pq.write_table, as_table(rows), compression="zstd"))
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM outbox WHERE sequence BETWEEN ? AND ?", (first, last))
        database.execute("DELETE FROM parts")
        database.execute("COMMIT")
        return len(rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._folder / DATABASE, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection) as database:
            # Full: a label that was acknowledged survives a power cut.
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_TABLES)
            yield database


def as_table(rows: Sequence[tuple[Any, ...]]) -> Any:
    """Turn labels into an Arrow table: one row each, `revision` 1 for the first label of a prediction."""
    import pyarrow as pa

    kinds = {
        "sequence": pa.int64(),
        "id": pa.string(),
        "label": pa.string(),
        "number": pa.float64(),
        "revision": pa.int64(),
        "digest": pa.string(),
        "given_at": pa.timestamp("us", tz="UTC"),
        "caller": pa.string(),
    }
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    made = {
        name: pa.array([datetime.fromisoformat(each) for each in values] if name == "given_at" else values, kind)
        for (name, kind), values in zip(kinds.items(), columns, strict=True)
    }
    return pa.table(made)


def read_labels(folder: Path, *, as_of: datetime) -> Any:
    """Read the labels of a model's folder as known at a moment, the last one of each prediction, as an Arrow table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    paths = sorted((folder / FEEDBACK).glob("[0-9]*.parquet"))
    if not paths:
        return as_table([])
    rows = pa.concat_tables([pq.read_table(path) for path in paths])
    rows = rows.filter(pc.less_equal(rows["given_at"], pa.scalar(as_of, rows["given_at"].type)))
    last = rows.group_by("id").aggregate([("sequence", "max")])["sequence_max"]
    return rows.filter(pc.is_in(rows["sequence"], value_set=last.combine_chunks())).sort_by("sequence")


def _keep(database: sqlite3.Connection, label: Label, *, caller: str, now: datetime) -> Outcome:
    known = database.execute("SELECT label, revision FROM labels WHERE id = ?", (label.id,)).fetchone()
    if known and known[0] == label.text:
        return Outcome.DUPLICATE
    revision = known[1] + 1 if known else 1
    database.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", (label.id, label.text, revision))
    database.execute(
        "INSERT INTO outbox (id, label, number, revision, digest, given_at, caller) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (label.id, label.text, label.number, revision, label.digest, now.isoformat(), caller),
    )
    return Outcome.CORRECTED if known else Outcome.ACCEPTED


def _next_part(database: sqlite3.Connection) -> tuple[int, int] | None:
    """Give the first and last row of the file to write: the one that was begun, or a new one."""
    begun: tuple[int, int] | None = database.execute("SELECT first, last FROM parts").fetchone()
    if begun:
        return begun
    first, last = database.execute(
        "SELECT min(sequence), max(sequence) FROM (SELECT sequence FROM outbox ORDER BY sequence LIMIT ?)", (FILE_ROWS,)
    ).fetchone()
    if first is None:
        return None
    database.execute("INSERT INTO parts VALUES (?, ?)", (first, last))
    return first, last


def _down(why: str) -> DependencyDown:
    return DependencyDown(what="the labels are not kept", why=why, fix="send them again later")
