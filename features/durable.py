"""Files that are there whole or not at all, whenever the writing process dies."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import canonical_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def write_json(path: Path, value: object) -> None:
    """Replace a file by the canonical JSON of a value."""
    content = canonical_json(value)
    _replace(path, lambda temporary: temporary.write_bytes(content))


def write_parquet(path: Path, table: pd.DataFrame | pa.Table, *, cuts: Sequence[int] = ()) -> None:
    """Replace a Parquet file by the rows of a frame, without its index; a new row group begins at each cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, rows.schema, compression="zstd", write_page_checksum=True) as writer:
            for start, end in itertools.pairwise([0, *cuts, len(rows)]):
                writer.write_table(rows.slice(start, end - start))

    _replace(path, write)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the file, make it safe on disk, then let it take the file's name in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process in the name keeps two writers of one file apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
