"""A window as counts by day: what drift is judged on, and all that is kept of rows that are gone.

Counts of two parts of a window add up to the counts of the whole, so a day's
file, a stream or ten million rows are counted piece by piece in a memory that
does not grow. The bins are the reference's own, with its 201 quantiles between
them, so PSI comes out exactly and KS to one step of the quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import IntegrityBroken
from baton.core.profile import ColumnProfile, Profile

if TYPE_CHECKING:
    import pandas as pd

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

THREADS = 2


class FineBins:
    """The bins in which one column is counted: those of its reference, a number's cut further at each quantile."""

    def __init__(self, column: ColumnProfile) -> None:
        self.column = column
        cuts = np.unique([*column.edges, *column.quantiles])
        quantiles = np.asarray(column.quantiles)
        # Below a value that is frequent, and below the range, lie other rows than up to it.
        split = np.unique([*quantiles[1:][np.diff(quantiles) == 0], *(column.span or ())[:1]])
        self.cuts = np.unique([*cuts, *np.nextafter(split, -np.inf)])
        ends = np.append(np.searchsorted(np.asarray(column.edges), self.cuts, side="left"), len(column.edges))
        text = column.kind == "text"
        coarse = np.arange(len(column.shares)) if text else np.append(ends, len(column.shares) - 1)
        self._judged = column.judged[coarse]
        self.size = len(coarse)

    def codes(self, values: pd.Series) -> NDArray[np.int64]:
        """Give the bin of each value, missing last."""
        if self.column.kind == "text":
            return self.column.codes(values.astype(object))
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        codes = np.searchsorted(self.cuts, numbers, side="left")
        # A missing value is sorted behind all others, like a large one.
        last = np.flatnonzero(codes == len(self.cuts))
        codes[last[np.isnan(numbers[last])]] = self.size - 1
        return codes

    def judged(self, counts: Counts) -> Numbers:
        """Add fine counts, shape `(..., size)`, up to the bins that PSI is judged in."""
        sums = np.zeros((int(self._judged.max()) + 1, *counts.shape[:-1]))
        np.add.at(sums, self._judged, np.moveaxis(counts, -1, 0).astype(np.float64))
        judged: Numbers = np.moveaxis(sums, 0, -1)
        return judged

    def outside(self, counts: Counts) -> Numbers:
        """Count what lies beyond the reference's range, of text what it does not know, shape `(...)`."""
        if self.column.kind == "text":
            return counts[..., -2].astype(np.float64)
        if self.column.span is None:
            return np.zeros(counts.shape[:-1])
        low = int(np.searchsorted(self.cuts, self.column.span[0], side="left"))
        high = int(np.searchsorted(self.cuts, self.column.span[1], side="left"))
        beyond: Numbers = (counts[..., :low].sum(axis=-1) + counts[..., high + 1 : -1].sum(axis=-1)).astype(np.float64)
        return beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """Rows by day and bin of every column; day 0 ends the window, later ones lie further back.

    `weekdays` are the days' own, 0 is Monday, shape `(days,)`; `rows` counts
    each day's rows; `counts` has one array `(days, bins)` for each name.
    """

    end: datetime
    weekdays: NDArray[np.int64]
    rows: Counts
    counts: dict[str, Counts]

    def __add__(self, other: WindowCounts) -> WindowCounts:
        """Give the counts of both parts of one window."""
        if other.end != self.end or len(other.rows) != len(self.rows):
            raise ValueError("only parts of one window add up")
        counts = {name: mine + other.counts[name] for name, mine in self.counts.items()}
        return replace(self, rows=self.rows + other.rows, counts=counts)


def fine_bins(profile: Profile) -> dict[str, FineBins]:
    """Give the bins of every judged column of a profile: features, score and chances of classes, by name."""
    return {column.name: FineBins(column) for column in (*profile.columns, *profile.classes, profile.score)}


def count(
    columns: dict[str, pd.Series],
    moments: pd.Series,
    bins: dict[str, FineBins],
    *,
    end: datetime,
    days: int,
    zone: str = "UTC",
) -> WindowCounts:
    """Count a window, or a part of it, in days of 24 hours back from its end.

    Args:
        columns: Values of each judged column, shape `(rows,)`; one that is not
            there counts as missing in every row.
        moments: Prediction moment of each row (aware), in `[end - days, end)`.
        bins: See `fine_bins`.
        end: End of the window.
        days: Its length.
        zone: Where a weekday begins.
    """
    utc = moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    back = (round(end.timestamp() * 1e6) - 1 - utc) // round(timedelta(days=1).total_seconds() * 1e6)
    of_day = np.clip(back, 0, days - 1)
    rows = np.bincount(of_day, minlength=days)
    counts = {}
    for name, fine in bins.items():
        codes = fine.codes(columns[name]) if name in columns else np.full(len(moments), fine.size - 1)
        counts[name] = np.bincount(of_day * fine.size + codes, minlength=days * fine.size).reshape(days, fine.size)
    return WindowCounts(end=end, weekdays=_weekdays(end, days, zone), rows=rows, counts=counts)


def count_file(
    path: Path, bins: dict[str, FineBins], *, end: datetime, prefix: str = "", zone: str = "UTC"
) -> WindowCounts:
    """Count a Parquet file of any size as one day's rows, column by column, in little memory.

    Args:
        path: The file; columns that are not judged are not read.
        bins: See `fine_bins`.
        end: End of the day that it counts as.
        prefix: What stands before the name of a feature in the file.
        zone: Where a weekday begins.

    Raises:
        IntegrityBroken: It is not a whole Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
        there = set(metadata.schema.to_arrow_schema().names)
        names = {name: prefix + name if prefix + name in there else name for name in bins}
        absent = {
            name: np.array([0] * (fine.size - 1) + [metadata.num_rows])
            for name, fine in bins.items()
            if names[name] not in there
        }
        present = [name for name in bins if name not in absent]
        with ThreadPoolExecutor(THREADS) as pool:
            # Reading and sorting into bins both leave the interpreter to others.
            found = pool.map(lambda name: _count_column(path, names[name], bins[name]), present)
            counts = absent | dict(zip(present, found, strict=True))
    except pa.ArrowException as error:
        raise IntegrityBroken(
            what=f"{path} cannot be read", why="it is not a whole Parquet file", fix="write it again"
        ) from error
    return WindowCounts(
        end=end,
        weekdays=_weekdays(end, 1, zone),
        rows=np.array([metadata.num_rows]),
        counts={name: each[None, :] for name, each in counts.items()},
    )


def _count_column(path: Path, name: str, fine: FineBins) -> Counts:
    """Count one column of a Parquet file, one row group after the other."""
    import pandas as pd
    import pyarrow.parquet as pq

    counts = np.zeros(fine.size, dtype=np.int64)
    text = fine.column.kind == "text"
    with pq.ParquetFile(path, read_dictionary=[name] if text else None) as file:
        for group in range(file.num_row_groups):
            for chunk in file.read_row_group(group, columns=[name], use_threads=False)[name].chunks:
                if text:
                    # Each different value is looked up once, however many rows have it.
                    values = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
                    rows = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(values.dictionary))
                    places = fine.codes(pd.Series(values.dictionary.to_pylist(), dtype=object))
                    counts += np.bincount(places, weights=rows, minlength=fine.size).astype(np.int64)
                    counts[-1] += chunk.null_count
                else:
                    counts += np.bincount(fine.codes(chunk.to_pandas()), minlength=fine.size)
    return counts


def join(parts: Sequence[WindowCounts]) -> WindowCounts:
    """Give windows of one day each, oldest first, as the one window that they make up."""
    newest = [*reversed(parts)]
    return WindowCounts(
        end=newest[0].end,
        weekdays=np.concatenate([part.weekdays for part in newest]),
        rows=np.concatenate([part.rows for part in newest]),
        counts={name: np.concatenate([part.counts[name] for part in newest]) for name in newest[0].counts},
    )


def _weekdays(end: datetime, days: int, zone: str) -> NDArray[np.int64]:
    """Give the weekday on which most of each day lies."""
    middles = [end - timedelta(days=day, hours=12) for day in range(days)]
    return np.array([middle.astimezone(ZoneInfo(zone)).weekday() for middle in middles])
