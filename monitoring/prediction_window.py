"""Windows over the prediction log: what the service answered between two moments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from baton.core.errors import EmptyWindow, IntegrityBroken
from baton.core.profile import PREDICTED, SCORE, SCORE_PREFIX

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FEATURE_PREFIX = "feature."
TWO = 2
TIMES = ("served_at", "moment")
# A writer's unfinished file starts with one of these and is renamed when whole.
UNFINISHED = (".", "_")


class _File(NamedTuple):
    """One file as it was seen: enough to notice that it has changed."""

    path: str
    modified_ns: int
    size: int


class _Span(NamedTuple):
    """The first and last prediction moment in a file."""

    first: datetime
    last: datetime


class PredictionLog:
    """A folder of answered rows that remembers the files it has read.

    A watch that looks back 28 days every day reads one new file a day, not
    28, and of files outside its window only the moments. Files are whole when
    they appear; one that changes is read again, and the rows of files outside
    the window are let go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spans: dict[_File, _Span | None] = {}
        self._rows: dict[_File, Any] = {}

    def read(self, *, start: datetime, end: datetime, digest: str | None = None) -> pd.DataFrame:
        """Give the rows answered for moments in `[start, end)`; see `read_predictions`."""
        if start >= end:
            raise EmptyWindow(
                what="no window to read", why=f"{start:%F %R} is not before {end:%F %R}", fix="swap start and end"
            )
        files = _files(self._folder)
        self._spans = {file: self._spans[file] if file in self._spans else _span(file.path) for file in files}
        inside = [file for file, span in self._spans.items() if span and span.first < end and span.last >= start]
        # With no row in the window, the newest file still lends its columns.
        needed = inside or files[-1:]
        loaded = {file: self._rows[file] if file in self._rows else _load(file.path) for file in needed}
        self._rows = {file: rows for file, rows in loaded.items() if rows is not None}
        if not self._rows:
            raise EmptyWindow(
                what=f"no predictions in {self._folder}",
                why="the service has answered nothing yet",
                fix="serve a release and send requests, then ask again",
            )
        return _window(list(self._rows.values()), start, end, digest)


def read_predictions(folder: Path, *, start: datetime, end: datetime, digest: str | None = None) -> pd.DataFrame:
    """Read what was answered for prediction moments in `[start, end)`, oldest first.

    The same entity asked twice for one moment counts once, with its newest
    answer; a shadow's answer stands beside the champion's, as it has a cohort
    of its own. Files that appear while reading are left to the next reading.

    Args:
        folder: The log; Parquet files at any depth.
        start: First moment (aware, UTC) that counts.
        end: First moment (aware, UTC) that no longer counts.
        digest: Only answers of the bundle with this digest.

    Returns:
        One row per answer, times as aware UTC, one column `feature.<name>` per
        feature, and the answer in `score`; of several classes in `predicted`
        and one column `score.<class>` for each. A window without answers has these columns and no rows.

    Raises:
        EmptyWindow: The log holds no file at all, or the window has no length.
        IntegrityBroken: A file is not Parquet.
    """
    return PredictionLog(folder).read(start=start, end=end, digest=digest)


def features_of(window: pd.DataFrame) -> pd.DataFrame:
    """Give a window's features under their own names."""
    names = [name for name in window.columns if name.startswith(FEATURE_PREFIX)]
    return window[names].rename(columns=lambda name: name.removeprefix(FEATURE_PREFIX))


def answers_of(frame: pd.DataFrame, *, score: str = SCORE, classes: Sequence[str] = ()) -> NDArray[np.float64]:
    """Give the answers in a frame's columns, shape `(rows,)`, of several classes `(rows, classes)`.

    Args:
        frame: Rows with a column `score`, or of several classes one column
            `<score>.<class>` for each.
        score: Name of the column, or of the columns up to the dot.
        classes: The classes in the order of their scores; none for a model of
            two classes or a regression.

    Returns:
        The answers, NaN where the frame does not hold them.
    """
    columns = answer_columns(score, classes=classes)
    # A log of models of another task has none of them.
    values = frame.reindex(columns=columns).to_numpy(dtype=np.float64)
    return values if len(classes) > TWO else values[:, 0]


def with_answers(
    frame: pd.DataFrame, answers: NDArray[np.float64], *, score: str = SCORE, classes: Sequence[str] = ()
) -> pd.DataFrame:
    """Give a frame with a model's answers, in the columns that `answers_of` reads; the likeliest class goes along."""
    columns = answer_columns(score, classes=classes)
    each = dict(zip(columns, answers.reshape(len(frame), len(columns)).T, strict=True))
    if score == SCORE and len(columns) > 1:
        each = {PREDICTED: np.asarray(classes, dtype=object)[np.argmax(answers, axis=1)], **each}
    return frame.assign(**each)


def answer_columns(score: str, *, classes: Sequence[str] = ()) -> list[str]:
    """Name the columns of a model's answers."""
    return [f"{score}.{name}" for name in classes] if len(classes) > TWO else [score]


def judged_columns(window: pd.DataFrame) -> pd.DataFrame:
    """Give everything of a window that is judged, named as in its report: features, and what was answered."""
    answered = [name for name in window if name in (SCORE, PREDICTED) or str(name).startswith(SCORE_PREFIX)]
    return features_of(window).join(window[answered])


def _files(folder: Path) -> list[_File]:
    """List the log's whole files with size and time, in a fixed order."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(UNFINISHED)]
        for name in names:
            if name.startswith(UNFINISHED) or not name.endswith(".parquet"):
                continue
            path = os.path.join(place, name)  # noqa: PTH118 - a year's log is listed every day, and paths cost more than stats
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                # Moved between listing and looking; its rows are under another name.
                continue
            found.append(_File(path, status.st_mtime_ns, status.st_size))
    return sorted(found)


def _span(path: str) -> _Span | None:
    """Give a file's first and last moment, nothing where it has no rows or has been moved away."""
    import pyarrow.compute as pc

    rows = _load(path, columns=["moment"])
    if rows is None or rows.num_rows == 0:
        return None
    ends = pc.min_max(rows["moment"]).as_py()
    return _Span(ends["min"], ends["max"])


def _load(path: str, *, columns: list[str] | None = None) -> Any:
    """Read one file with its times as UTC, or nothing where it has been moved away meanwhile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A daily log is one small file a day; threads would cost more than they save.
        rows = pq.ParquetFile(path).read(columns=columns, use_threads=False)
    except FileNotFoundError:
        return None
    except pa.ArrowException as error:
        raise IntegrityBroken(
            what=f"{path} cannot be read", why="it is not a whole Parquet file", fix="restore it or move it away"
        ) from error
    for name in TIMES:
        if name in rows.schema.names:
            utc = rows[name].cast(pa.timestamp("us", tz="UTC"))
            rows = rows.set_column(rows.schema.get_field_index(name), name, utc)
    return rows


def _window(tables: list[Any], start: datetime, end: datetime, digest: str | None) -> pd.DataFrame:
    """Cut the window out of the files that reach into it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Permissive: a feature that was missing all day has no type of its own.
    table = pa.concat_tables(tables, promote_options="permissive")
    moment = table["moment"]
    wanted = pc.and_(
        pc.greater_equal(moment, pa.scalar(start, moment.type)), pc.less(moment, pa.scalar(end, moment.type))
    )
    if digest is not None:
        wanted = pc.and_(wanted, pc.equal(table["digest"], digest))
    return _newest(table.filter(wanted).to_pandas())


def _newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the newest answer of each entity, moment and cohort, ordered by moment and entity."""
    rows = rows.sort_values("served_at", kind="stable")
    # A row that names no entity is its own.
    who = rows["entity"].where(rows["entity"].fillna("") != "", rows["id"])
    kept = rows[~rows[["moment", "cohort"]].assign(who=who).duplicated(keep="last")]
    return kept.sort_values(["moment", "entity", "cohort"], kind="stable", ignore_index=True)
