"""The files of batch scoring: rows are read a chunk at a time, answers gathered in parts.

Parts stand in a hidden folder beside the output, one for each chunk and each
there whole or not at all, so a run that was killed goes on with the first chunk
that has none. The output takes its name in one step when all are there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json
from baton.core.errors import Conflict, SourceMissing
from baton.core.whole_file import replace_file

# Enough rows to make their overhead small, few enough for 2 GB with thousands of columns of text.
CHUNK_ROWS = 65_536
BUFFER_BYTES = 1 << 20
CSV_BLOCK_BYTES = 4 << 20
RUN = "run.json"
CSV = (".csv", ".csv.gz", ".csv.zst")


class RowFile:
    """A Parquet or CSV file of feature rows."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceMissing(what=f"no file at {path}", why="it is not there", fix="name a Parquet or CSV file")
        self.path = path
        self.is_csv = path.name.lower().endswith(CSV)
        self.types, self.rows = self._head()

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this file from another of its name, without reading it."""
        facts = self.path.stat()
        return {"path": str(self.path.resolve()), "size": facts.st_size, "changed": facts.st_mtime_ns}

    def chunks(self, columns: Sequence[str], *, skip: int) -> Iterator[Any]:
        """Give the rows after the first `skip` as Arrow tables of `CHUNK_ROWS`, the last one shorter.

        Raises:
            SourceMissing: The file is broken from some place on.
        """
        import pyarrow as pa

        waiting: list[Any] = []
        rows = 0
        with self._readable():
            for batch in self._batches(columns, skip):
                start = 0
                while rows + len(batch) - start >= CHUNK_ROWS:
                    taken = CHUNK_ROWS - rows
                    waiting.append(batch.slice(start, taken))
                    yield pa.Table.from_batches(waiting).combine_chunks()
                    waiting, rows, start = [], 0, start + taken
                if start < len(batch):
                    waiting.append(batch.slice(start))
                    rows += len(batch) - start
            if waiting:
                yield pa.Table.from_batches(waiting).combine_chunks()

    def _batches(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        for batch in self._csv(columns) if self.is_csv else self._parquet(columns, skip):
            # Row groups that were skipped whole are not among them.
            if isinstance(batch, int):
                skip -= batch
                continue
            left = min(skip, len(batch))
            skip -= left
            if left < len(batch):
                yield batch.slice(left)

    def _parquet(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        import pyarrow.parquet as pq

        # Read ahead, a row group of ten million rows would be in memory as a whole.
        with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            sizes = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
            groups = list(range(len(sizes)))
            while groups and sizes[groups[0]] <= skip:
                skip -= sizes[groups[0]]
                yield sizes[groups.pop(0)]
            if groups:
                yield from file.iter_batches(
                    batch_size=CHUNK_ROWS, row_groups=groups, columns=list(columns), use_threads=False
                )

    def _csv(self, columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import csv

        convert = csv.ConvertOptions(
            include_columns=list(columns),
            # Read as text, a value that is no number costs its row and not the file.
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        reading = csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)
        with csv.open_csv(self.path, read_options=reading, convert_options=convert) as reader:
            yield from reader

    def _head(self) -> tuple[dict[str, Any], int | None]:
        """Read the columns with their types (None in a CSV file) and the number of rows where the file says it."""
        import pyarrow.parquet as pq
        from pyarrow import csv

        with self._readable():
            if self.is_csv:
                with csv.open_csv(self.path) as reader:
                    return dict.fromkeys(reader.schema.names), None
            with pq.ParquetFile(self.path) as file:
                schema = file.schema_arrow
                return dict(zip(schema.names, schema.types, strict=True)), file.metadata.num_rows

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
            raise SourceMissing(
                what=f"{self.path} cannot be read", why=str(error), fix="write it again as Parquet or CSV (UTF-8)"
            ) from error


class Parts:
    """The parts of one output, of which one process at a time writes."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.rejected = target.with_name(f"{target.stem}.rejected{target.suffix}")
        self._folder = target.with_name(f".{target.name}.parts")

    @contextmanager
    def opened(self, run: dict[str, Any]) -> Iterator[int]:
        """Hold the parts; gives how many chunks are done already by a run of the same files, model and columns.

        Raises:
            Conflict: Another process is at it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        held = os.open(self._folder, os.O_RDONLY)
        try:
            self._lock(held)
            content = canonical_json(run)
            mark = self._folder / RUN
            if not mark.is_file() or mark.read_bytes() != content:
                for each in self._folder.iterdir():
                    each.unlink()
                replace_file(mark, content)
            yield self._done()
        finally:
            os.close(held)

    def add(self, number: int, answers: Any, rejected: Any | None) -> None:
        """Keep a chunk's answers; they come last, and show that the chunk is done."""
        import pyarrow.parquet as pq

        if rejected is not None:
            replace_file(self._rejected_part(number), partial(pq.write_table, rejected))
        replace_file(self._part(number), partial(pq.write_table, answers))

    def count(self, chunks: int) -> tuple[int, int]:
        """Give how many rows of the chunks were answered and how many rejected."""
        import pyarrow.parquet as pq

        answered = sum(pq.read_metadata(self._part(at)).num_rows for at in range(chunks))
        refused = [self._rejected_part(at) for at in range(chunks)]
        return answered, sum(pq.read_metadata(path).num_rows for path in refused if path.exists())

    def put_rejected(self, chunks: int) -> None:
        """Put the rejected rows in place, or take an earlier run's away where there are none."""
        found = [path for path in map(self._rejected_part, range(chunks)) if path.exists()]
        if found:
            replace_file(self.rejected, partial(_joined, found))
        else:
            self.rejected.unlink(missing_ok=True)

    def put(self, chunks: int) -> None:
        """Put the output in place, then take the parts away."""
        replace_file(self.target, partial(_joined, [self._part(at) for at in range(chunks)]))
        shutil.rmtree(self._folder)

    def _lock(self, held: int) -> None:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                what=f"{self.target} is being written",
                why="another process scores into it",
                fix="wait for it, or name another file",
            ) from error

    def _done(self) -> int:
        number = 0
        while self._part(number).exists():
            number += 1
        return number

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"

    def _rejected_part(self, number: int) -> Path:
        return self._folder / f"{number:06}.rejected.parquet"


def run_of(source: RowFile, facts: dict[str, Any]) -> dict[str, Any]:
    """Give what two runs must share for one to go on where the other has stopped."""
    return {"source": source.identity, "chunk_rows": CHUNK_ROWS, **json.loads(canonical_json(facts))}


def _joined(parts: Sequence[Path], path: Path) -> None:
    """Write parts below each other, one row group each."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pq.read_schema(parts[0]), compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part))
