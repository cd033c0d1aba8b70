"""What an input holds that has not landed yet, in batches that fit in memory; each row once, whatever is killed.

A row is known by two hashes, of its key and of all that its table takes. Those
that have landed or were set aside are kept beside the landing zone:

    arrivals/<table>/<from>-<to>.parquet    the hashes of one landed batch
    arrivals/<table>/files.json             the files of which every row has landed

As with landed pieces, hashes beyond the table's watermark were left by a
process that died; they count for nothing and are removed. `files.json` only
saves time: without it every file is read again, and no row lands twice.

A row that is new to its key lands when it was known. One that comes after the
watermark has passed its known time, and one that differs from what has landed
under its key, became known here and now: a new version, never an edit.
Format version 1; another meaning of the hashes gets a new folder name.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import digest_of
from baton.core.errors import Conflict
from baton.core.spec import ModelSpec
from baton.features.durable import write_json
from baton.features.input_files import InputFile, holds_state
from baton.features.input_rows import damaged, opened, pieces, text_of
from baton.features.landing import STAMP, Batch, Landing
from baton.features.staging import Staging, staged_rows, typed_columns

if TYPE_CHECKING:
    import pandas as pd

# Some 100 MB of twenty columns.
BATCH_ROWS = 250_000
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One batch: rows to test and land, and of an input those with a value that is none, each with its `reason`."""

    batch: Batch
    bad: pd.DataFrame | None = None


class Arrivals:
    """The new rows of one table; `waiting` become known later, `repeated` are the same row over again."""

    def __init__(self, staging: Staging, place: Path, *, files: Sequence[InputFile], seen: str) -> None:
        self.waiting, self.repeated = staging.waiting, staging.repeated
        self._staging, self._place, self._files, self._seen = staging, place, files, seen

    @property
    def rows(self) -> int:
        """How many rows are new."""
        return self._staging.rows

    def batches(self) -> Iterator[Arrived]:
        """Give the new rows in order of known time; at least one batch, so that the watermark moves."""
        for batch, bad in self._staging.batches():
            yield Arrived(batch=batch, bad=None if bad.empty else bad)

    def note(self, batch: Batch) -> None:
        """Write down a batch's rows as landed; call it before the watermark moves."""
        self._staging.write_hashes(batch, self._place / f"{_stamp(batch.since)}-{_stamp(batch.until)}.parquet")

    def finish(self) -> None:
        """Write down the files of which nothing is left."""
        done = [file.digest for number, file in enumerate(self._files) if number not in self._staging.waited_for]
        write_json(self._place / "files.json", {"format": FORMAT, "of": self._seen, "files": sorted(done)})


@contextmanager
def arrivals(
    spec: ModelSpec, landing: Landing, table: str, *, folder: Path, as_of: datetime, batch_rows: int = BATCH_ROWS
) -> Iterator[Arrivals | None]:
    """Read what is new in a table's input; None where the table has landed beyond `as_of`.

    Args:
        spec: The project.
        landing: Where its rows land.
        table: A table with an input.
        folder: The landing zone's own folder.
        as_of: Rows known at this moment or later wait.
        batch_rows: About how many rows a batch has.

    Raises:
        Conflict: Another process reads the same table.
        SourceMissing: The input is not there.
        DataRefused: It is damaged, or its columns are not those declared.
        DependencyDown: Its server does not answer.
    """
    declared, taken = spec.source.by_input[table]
    place, as_of = folder / "arrivals" / table, as_of.astimezone(timezone.utc)
    since = landing.landed_through(table)
    if since is not None and since >= as_of:
        yield None
        return
    with _alone(place) as scratch:
        wanted = typed_columns(declared, taken)
        there = [taken.there(column) for column in wanted]
        files = pieces(taken, spec.folder, copies=scratch, wanted=there)
        seen = digest_of(
            [
                declared.model_dump(mode="json", exclude={"expectations", "quarantine_limit"}),
                taken.model_dump(mode="json"),
            ]
        )
        known = _known(place, since)
        fresh = _fresh(files, place, seen)
        connection = opened(scratch)
        try:
            try:
                texts = [(number, text_of(connection, taken, file, copies=scratch)) for number, file in fresh]
                staging = staged_rows(
                    connection,
                    table,
                    declared,
                    taken,
                    texts,
                    known=known,
                    state=holds_state(taken),
                    since=since,
                    as_of=as_of,
                    batch_rows=batch_rows,
                )
            except _duckdb_error() as error:
                raise damaged(", ".join(file.name for _, file in fresh), error) from error
            yield Arrivals(staging, place, files=files, seen=seen)
        finally:
            connection.close()


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error  # type: ignore[no-any-return]  # DuckDB is not read by mypy


@contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """Hold a table's arrivals for one process, and give an empty folder for its scratch."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "reading.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                what=f"{place.name} is being read already", why=f"another process holds {lock.name}", fix="wait for it"
            ) from error
        scratch = place / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _known(place: Path, since: datetime | None) -> list[Path]:
    """List the hashes of what has landed, oldest first, and remove what a dead process left beyond the watermark."""
    found = []
    for file in sorted(place.glob("*-*.parquet")):
        if since is None or file.stem.split("-")[1] > _stamp(since):
            file.unlink()
        else:
            found.append(file)
    return found


def _fresh(files: Sequence[InputFile], place: Path, seen: str) -> list[tuple[int, InputFile]]:
    """Give the files that may hold something new, numbered; a copy of another is none."""
    try:
        said = json.loads((place / "files.json").read_bytes())
        done = set(said["files"]) if (said["format"], said["of"]) == (FORMAT, seen) else set()
    except (OSError, ValueError, KeyError, TypeError):
        done = set()
    found = []
    for number, file in enumerate(files):
        if file.digest not in done:
            done.add(file.digest)
            found.append((number, file))
    return found


def _stamp(moment: datetime | None) -> str:
    return "0" if moment is None else moment.strftime(STAMP)
