"""JSON and Parquet files that are there whole or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import canonical_json
from baton.core.whole_file import replace_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def write_json(path: Path, value: object) -> None:
    """Replace a file by the canonical JSON of a value."""
    replace_file(path, canonical_json(value))


def write_parquet(path: Path, table: pd.DataFrame | pa.Table, *, cuts: Sequence[int] = ()) -> None:
    """Replace a Parquet file by the rows of a frame, without its index; a new row group begins at each cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, rows.schema, compression="zstd", write_page_checksum=True) as writer:
            for start, end in itertools.pairwise([0, *cuts, len(rows)]):
                writer.write_table(rows.slice(start, end - start))

    replace_file(path, write)
