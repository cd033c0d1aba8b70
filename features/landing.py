"""The landing zone: every row that became known, one Parquet piece per table and UTC day, behind a watermark.

Format version 1: `landed/<table>/<from>-<to>.parquet` holds the rows known in
that half-open stretch of one day, `landed/<table>/watermark.json` says up to
where pieces count. A piece beyond the watermark was left by a process that
died; it is never read, and the next landing removes it. A change of format
gets a new folder name, and the old one is read once to fill it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.errors import Conflict, DataRefused, IntegrityBroken
from baton.core.spec import ModelSpec
from baton.features.durable import write_json, write_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STAMP = "%Y%m%dT%H%M%S%f"
DAY = timedelta(days=1)
# Small files wait on the disk, not on a core.
WRITERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows of one table that became known in `[since, until)`; `since` is None for the first batch."""

    table: str
    since: datetime | None
    until: datetime
    rows: pd.DataFrame


class Landing:
    """The landed rows of a project, kept under one folder."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        self._folder = folder
        self._spec = spec
        self._loaded: dict[str, tuple[tuple[str, ...], pd.DataFrame]] = {}

    def landed_through(self, table: str) -> datetime | None:
        """Give the moment before which every known row has landed, or None before the first landing."""
        file = self._folder / "landed" / table / "watermark.json"
        if not file.is_file():
            return None
        try:
            return datetime.fromisoformat(json.loads(file.read_bytes())["landed_through"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityBroken(
                what=f"the watermark of {table} cannot be read", why=str(error), fix=f"restore {file} from a backup"
            ) from error

    def pending(self, tables: Mapping[str, pd.DataFrame], *, as_of: datetime) -> dict[str, Batch]:
        """Give each table's rows that became known since its watermark and before `as_of`.

        A table with nothing new still gets a batch, so that its watermark
        moves; one that has landed beyond `as_of` gets none.
        """
        as_of, batches = as_of.astimezone(timezone.utc), {}
        for name in self._spec.source.tables:
            since, known = self.landed_through(name), tables[name][self._known(name)]
            if since is None or since < as_of:
                new = known < as_of if since is None else (known >= since) & (known < as_of)
                batches[name] = Batch(table=name, since=since, until=as_of, rows=tables[name][new])
        return batches

    def land(self, batch: Batch, rows: pd.DataFrame) -> None:
        """Write a batch's good rows, then move the watermark; dying in between and landing again ends the same.

        Raises:
            Conflict: Another process has moved the watermark since the batch was made.
        """
        mark = self.landed_through(batch.table)
        if mark == batch.until:
            return
        if mark != batch.since:
            raise Conflict(
                what=f"{batch.table} has landed through {mark} meanwhile",
                why=f"this batch begins at {batch.since}",
                fix="ask for the pending batches again",
            )
        self._clear(batch, "quarantine")
        self._write(batch, rows, "landed")
        write_json(self._folder / "landed" / batch.table / "watermark.json", {"landed_through": batch.until})

    def quarantine(self, batch: Batch, rows: pd.DataFrame) -> None:
        """Set a batch's bad rows aside, each with its `reason`; call it before `land`."""
        # Bad rows may hold anything, also text among numbers; as text all of it can be kept.
        anything = rows.select_dtypes(object).columns
        self._write(batch, rows.astype(dict.fromkeys(anything, "string")), "quarantine")

    def read(self, table: str, *, as_of: datetime) -> pd.DataFrame:
        """Give the landed rows of a table known before `as_of`, ordered by known time and key."""
        import pandas as pd

        rows = self._rows(table)
        if rows.empty:
            return rows
        count = int(rows[self._known(table)].searchsorted(pd.Timestamp(as_of), side="left"))
        return rows.iloc[:count].copy()

    def read_all(self, *, as_of: datetime) -> dict[str, pd.DataFrame]:
        """Give every table as `read` does."""
        return {name: self.read(name, as_of=as_of) for name in self._spec.source.tables}

    def quarantined(self, table: str) -> pd.DataFrame:
        """Give the rows of a table that were set aside, with their reasons."""
        return _frame([self._folder / "quarantine" / table / name for name in self._pieces("quarantine", table)])

    def _known(self, table: str) -> str:
        return self._spec.source.tables[table].known_time

    def _pieces(self, kind: str, table: str) -> tuple[str, ...]:
        """List the names of the pieces behind the watermark, which is also their order in time."""
        mark = self.landed_through(table)
        folder = self._folder / kind / table
        if mark is None or not folder.is_dir():
            return ()
        limit = mark.strftime(STAMP)
        return tuple(sorted(f.name for f in folder.glob("*.parquet") if f.name < limit))

    def _rows(self, table: str) -> pd.DataFrame:
        """Read the pieces that are new since the last call; landed pieces never change."""
        import pandas as pd

        names = self._pieces("landed", table)
        seen, rows = self._loaded.get(table, ((), None))
        if rows is None or names != seen:
            folder = self._folder / "landed" / table
            fresh = _frame([folder / name for name in names[len(seen) :]])
            grown = rows is not None and names[: len(seen)] == seen
            rows = pd.concat([rows, fresh], ignore_index=True) if grown else _frame([folder / n for n in names])
            self._loaded[table] = (names, rows)
        return rows

    def _write(self, batch: Batch, rows: pd.DataFrame, kind: str) -> None:
        self._clear(batch, kind)
        table = self._spec.source.tables[batch.table]
        # A piece's bytes must not depend on the order in which the source gives its rows.
        ordered = rows.sort_values([table.known_time, *table.key], kind="stable", ignore_index=True)
        folder = self._folder / kind / batch.table
        with ThreadPoolExecutor(WRITERS) as pool:
            pieces = _days(ordered, table.known_time, batch)
            list(pool.map(lambda piece: write_parquet(folder / piece[0], piece[1]), pieces))

    def _clear(self, batch: Batch, kind: str) -> None:
        """Remove what a dead process left beyond the watermark, unless this batch writes the very same pieces."""
        begin = "" if batch.since is None else batch.since.strftime(STAMP)
        for file in (self._folder / kind / batch.table).glob(".*.tmp"):
            file.unlink()
        for file in (self._folder / kind / batch.table).glob("*.parquet"):
            if file.name >= begin and file.name != _piece(batch, _midnight(file.name)):
                file.unlink()


def _days(rows: pd.DataFrame, known_time: str, batch: Batch) -> Iterator[tuple[str, pa.Table]]:
    """Cut ordered rows into one piece per UTC day, each with its file's name."""
    import pyarrow as pa

    if rows.empty:
        return
    try:
        table = pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRefused(
            what=f"rows of {batch.table} cannot be stored",
            why=str(error),
            fix="give every column one type in the reader",
        ) from error
    days = rows[known_time].dt.tz_convert("UTC").dt.floor("D")
    starts = [*days.drop_duplicates().index, len(rows)]
    for start, end in itertools.pairwise(starts):
        yield _piece(batch, days.iloc[start].to_pydatetime()), table.slice(start, end - start)


def _piece(batch: Batch, day: datetime) -> str:
    """Name the piece of one day: the stretch of known time that it covers."""
    begin = day if batch.since is None else max(day, batch.since)
    return f"{begin.strftime(STAMP)}-{min(day + DAY, batch.until).strftime(STAMP)}.parquet"


def _midnight(name: str) -> datetime:
    begin = datetime.strptime(name.split("-", maxsplit=1)[0], STAMP).replace(tzinfo=timezone.utc)
    return begin.replace(hour=0, minute=0, second=0, microsecond=0)


def _frame(files: list[Path]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not files:
        return pd.DataFrame()
    # Threads cost more than they bring for files of this size (1.0 s for a year either way).
    tables = [pq.ParquetFile(file).read(use_threads=False) for file in files]
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return frame
