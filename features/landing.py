"""The landing zone: every row that became known, in Parquet pieces of a month at most, behind a watermark.

Format version 1: `landed/<table>/<from>-<to>.parquet` holds the rows known in
that half-open stretch of one UTC month, with a row group for each day, so that
a day can be read alone and a year in a dozen files. `landed/<table>/watermark.json`
says up to where pieces count. A piece beyond the watermark was left by a
process that died; it is never read, and the next landing removes it. A change
of format gets a new folder name, and the old one is read once to fill it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import digest_of, digest_of_file
from baton.core.errors import Conflict, DataRefused, IntegrityBroken
from baton.core.spec import ModelSpec
from baton.features.durable import write_json, write_parquet
from baton.features.row_order import in_order

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STAMP = "%Y%m%dT%H%M%S%f"
# Small files wait on the disk, not on a core: 1,460 of them are read in 0.65 s by four threads, in 1.4 s by one.
THREADS = 4


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
        self._digests: dict[Path, str] = {}

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
        """Give each of the reader's tables its rows that became known since its watermark and before `as_of`.

        A table with nothing new still gets a batch, so that its watermark
        moves; one that has landed beyond `as_of` gets none.
        """
        as_of, batches = as_of.astimezone(timezone.utc), {}
        for name in self._spec.source.by_reader:
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

    def digest(self, *, as_of: datetime) -> str:
        """Give the SHA-256 over names and contents of the pieces that hold what was known before `as_of`.

        Pieces that land later begin where these end, so they never change it
        once all tables have landed through `as_of`.
        """
        limit = as_of.astimezone(timezone.utc).strftime(STAMP)
        pieces = {
            f"{table}/{name}": self._folder / "landed" / table / name
            for table in self._spec.source.tables
            for name in self._pieces("landed", table)
            if name < limit
        }
        # A landed piece never changes: it is hashed once.
        fresh = [file for file in pieces.values() if file not in self._digests]
        with ThreadPoolExecutor(THREADS) as pool:
            self._digests.update(zip(fresh, pool.map(digest_of_file, fresh), strict=True))
        return digest_of({name: self._digests[file] for name, file in pieces.items()})

    def quarantined(self, table: str) -> pd.DataFrame:
        """Give the rows of a table that were set aside, with their reasons."""
        import pandas as pd

        folder = self._folder / "quarantine" / table
        # What was wrong with a row may be its types, so pieces need not agree on them.
        pieces = [_piece_rows(folder / name).to_pandas() for name in self._pieces("quarantine", table)]
        return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()

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
            grown = rows is not None and names[: len(seen)] == seen
            fresh = _frame([self._folder / "landed" / table / n for n in names[len(seen) if grown else 0 :]])
            rows = pd.concat([rows, fresh], ignore_index=True) if grown else fresh
            self._loaded[table] = (names, rows)
        return rows

    def _write(self, batch: Batch, rows: pd.DataFrame, kind: str) -> None:
        self._clear(batch, kind)
        table = self._spec.source.tables[batch.table]
        # A piece's bytes must not depend on the order in which the source gives its rows.
        ordered = in_order(_stored(rows, batch.table), table.known_time, *table.key)
        folder = self._folder / kind / batch.table
        with ThreadPoolExecutor(THREADS) as pool:
            pieces = _months(ordered, table.known_time, batch)
            list(pool.map(lambda piece: write_parquet(folder / piece[0], piece[1], cuts=piece[2]), pieces))

    def _clear(self, batch: Batch, kind: str) -> None:
        """Remove what a dead process left beyond the watermark, unless this batch writes the very same pieces."""
        begin = "" if batch.since is None else batch.since.strftime(STAMP)
        for file in (self._folder / kind / batch.table).glob(".*.tmp"):
            file.unlink()
        for file in (self._folder / kind / batch.table).glob("*.parquet"):
            if file.name >= begin and file.name != _piece(batch, _month(_begin(file.name))):
                file.unlink()


def _stored(rows: pd.DataFrame, table: str) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRefused(
            what=f"rows of {table} cannot be stored",
            why=str(error),
            fix="give every column one type in the reader",
        ) from error


def _months(rows: pa.Table, known_time: str, batch: Batch) -> Iterator[tuple[str, pa.Table, list[int]]]:
    """Cut ordered rows into one piece per UTC month, each with its file's name and where its days begin."""
    if not len(rows):
        return
    days = rows[known_time].to_pandas().dt.tz_convert("UTC").dt.floor("D").drop_duplicates()
    months = [month for _, month in days.groupby([days.dt.year, days.dt.month])]
    ends = [*(month.index[0] for month in months[1:]), len(rows)]
    for month, end in zip(months, ends, strict=True):
        start, *cuts = month.index
        name = _piece(batch, _month(month.iloc[0].to_pydatetime()))
        yield name, rows.slice(start, end - start), [cut - start for cut in cuts]


def _piece(batch: Batch, month: datetime) -> str:
    """Name the piece of one month: the stretch of known time that it covers."""
    begin = month if batch.since is None else max(month, batch.since)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return f"{begin.strftime(STAMP)}-{min(following, batch.until).strftime(STAMP)}.parquet"


def _begin(name: str) -> datetime:
    return datetime.strptime(name.split("-", maxsplit=1)[0], STAMP).replace(tzinfo=timezone.utc)


def _month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _frame(files: list[Path]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not files:
        return pd.DataFrame()
    with ThreadPoolExecutor(THREADS) as pool:
        tables = list(pool.map(_piece_rows, files))
    # In one run of memory, a text that repeats becomes one Python string.
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").combine_chunks().to_pandas()
    return frame


def _piece_rows(file: Path) -> pa.Table:
    """Read one piece, each page checked against the checksum that was written with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, page_checksum_verification=True).read(use_threads=False)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise IntegrityBroken(
            what=f"the landed piece {file.name} cannot be read",
            why=str(error).splitlines()[0],
            fix="restore it from a backup, or remove the landing folder and ingest again",
        ) from error
