"""A project's tables as they would land, for a look before anything has landed."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.spec import ModelSpec
from baton.features.arrivals import arrivals
from baton.features.landing import Landing
from baton.features.source import read_tables

if TYPE_CHECKING:
    import pandas as pd


def sample_tables(spec: ModelSpec, *, as_of: datetime, rows: int) -> dict[str, pd.DataFrame]:
    """Give the first rows of every table in order of known time, read and checked as an ingestion would, and land none.

    Args:
        spec: The project.
        as_of: Rows known at this moment or later are left out.
        rows: About how many rows of each table.
    """
    tables = read_tables(spec)
    with tempfile.TemporaryDirectory(prefix="baton-sample-") as scratch:
        place = Path(scratch)
        landing = Landing(place, spec)
        for name in spec.source.by_input:
            with arrivals(spec, landing, name, folder=place, as_of=as_of, batch_rows=rows) as arriving:
                assert arriving is not None  # nothing has landed in an empty folder
                tables[name] = next(arriving.batches()).batch.rows.reset_index(drop=True)
    return tables
