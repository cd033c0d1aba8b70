"""Look up predictions in the log by their ids.

An id says when it was made, and a log file's name when its first row was, so
only the files around that moment are opened.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from baton.serving.prediction_ids import made_at

STAMP = "%Y%m%dT%H%M%S%f"
# The log writes a file for each bundle about once a second; a swap makes two of them at a time.
FILES_AROUND = 3
# An id's time is cut to the millisecond.
CUT = timedelta(milliseconds=1)


class LoggedPredictions:
    """The prediction log of one model's folder, read by id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "predictions"

    def digests(self, ids: Iterable[str]) -> dict[str, str]:
        """Give the bundle that answered each id; an id that the log does not hold, or not yet, is left out."""
        files = self._files()
        wanted: dict[Path, set[str]] = defaultdict(set)
        for identity in ids:
            moment = made_at(identity)
            if moment is not None:
                for path in _around(files, moment):
                    wanted[path].add(identity)
        found: dict[str, str] = {}
        for path, some in wanted.items():
            found |= _read(path, some - found.keys())
        return found

    def _files(self) -> dict[str, list[tuple[str, Path]]]:
        """List the files of each writing process, oldest first."""
        files: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for path in self._folder.glob("[0-9]*.parquet"):
            stamp, _, rest = path.stem.partition("-")
            files[rest.partition("-")[0]].append((stamp, path))
        return {writer: sorted(some) for writer, some in files.items()}


def _around(files: dict[str, list[tuple[str, Path]]], moment: datetime) -> list[Path]:
    latest = (moment + CUT).strftime(STAMP)
    paths = []
    for some in files.values():
        end = bisect_right(some, latest, key=lambda each: each[0])
        paths += [path for _, path in some[max(0, end - FILES_AROUND) : end]]
    return paths


def _read(path: Path, ids: set[str]) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not ids:
        return {}
    try:
        table = pq.read_table(path, columns=["id", "digest"], use_threads=False)
    except FileNotFoundError:
        # The log's keeper has removed it since it was listed.
        return {}
    rows = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), pa.string())))
    return dict(zip(rows["id"].to_pylist(), rows["digest"].to_pylist(), strict=True))
