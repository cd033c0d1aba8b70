"""Windows over the prediction log: what the service answered between two moments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
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
# The cohort of a bundle's constant, which the service gives where every model fails and the project asks for it.
UNCOMPUTED = "degraded-constant"
TIMES = ("served_at", "moment")
# What tells one answer from another, and an earlier from a later one.
IDENTITY = ["id", "entity", "served_at", "moment", "cohort"]
# A writer's unfinished file starts with one of these and is renamed when whole.
UNFINISHED = (".", "_")


class _File(NamedTuple):
    """One file as it was seen: enough to notice that it has changed."""

    path: str
    modified_ns: int
    size: int


class PredictionLog:
    """A folder of answered rows that remembers what it has read.

    A watch that looks back 28 days every day reads one day's new files, and of
    files from before its window no more than the last moment. Files are whole
    when they appear; where one changes or goes, all are read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Last moment of each file, None of one without rows.
        self._lasts: dict[_File, datetime | None] = {}
        # Every row from this moment on of these files is in the table.
        self._since = datetime.max.replace(tzinfo=timezone.utc)
        self._held: set[_File] = set()
        self._table: Any = None

    def read(self, *, start: datetime, end: datetime, digest: str | None = None) -> pd.DataFrame:
        """Give the rows answered for moments in `[start, end)`; see `read_predictions`."""
        if start >= end:
            raise EmptyWindow(
                what="no window to read", why=f"{start:%F %R} is not before {end:%F %R}", fix="swap start and end"
            )
        table = self._from(start)
        if table is None:
            raise EmptyWindow(
                what=f"no predictions in {self._folder}",
                why="the service has answered nothing yet",
                fix="serve a release and send requests, then ask again",
            )
        rows: pd.DataFrame = table.take(_newest(_inside(table, start, end, digest=digest))).to_pandas()
        return rows

    def count(self, *, start: datetime, end: datetime) -> int:
        """Count the rows that `read` would give; none where there is no log yet."""
        table = self._from(start)
        return 0 if table is None else int((~_identities(_inside(table, start, end)).duplicated()).sum())

    def forget(self, *, before: datetime) -> None:
        """Let go of the rows for moments before one, which are read again where they are asked for."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._table is not None and before > self._since:
            moment = self._table["moment"]
            self._table = self._table.filter(pc.greater_equal(moment, pa.scalar(before, moment.type)))
            self._since = before

    def _from(self, start: datetime) -> Any:
        """Give a table of all rows for moments from `start` on, maybe more; None where there is no file."""
        import pyarrow as pa

        files = _files(self._folder)
        if start < self._since or not self._held.issubset(files):
            self._since, self._held, self._table = start, set(), None
        self._lasts = {file: self._lasts[file] if file in self._lasts else _last(file.path) for file in files}
        new = [f for f, last in self._lasts.items() if f not in self._held and last is not None and last >= self._since]
        if not new and self._table is None:
            # With no row to give, the newest file still lends its columns.
            new = files[-1:]
        loaded = {file: _load(file.path) for file in new}
        tables = [table for table in (self._table, *loaded.values()) if table is not None]
        if len(tables) > 1 or self._table is None:
            self._held |= {file for file, rows in loaded.items() if rows is not None}
            # Permissive: a feature that was missing all day has no type of its own.
            # In one piece: a month of small pieces takes longer to filter than to join.
            whole = pa.concat_tables(tables, promote_options="permissive").combine_chunks() if tables else None
            self._table = whole
        return self._table


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
    return sorted(_listed(os.fspath(folder)))


def _listed(folder: str) -> Iterator[_File]:
    # A year's log is listed every day, and a path object a file would cost more than its stat.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(UNFINISHED):
                continue
            if entry.is_dir():
                yield from _listed(entry.path)
            elif entry.name.endswith(".parquet"):
                # One that was moved between listing and looking is under another name.
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    yield _File(entry.path, status.st_mtime_ns, status.st_size)


def _last(path: str) -> datetime | None:
    """Give a file's last moment, nothing where it has no rows or has been moved away."""
    import pyarrow.compute as pc

    rows = _load(path, columns=["moment"])
    return None if rows is None or rows.num_rows == 0 else pc.max(rows["moment"]).as_py()


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


def _inside(table: Any, start: datetime, end: datetime, *, digest: str | None = None) -> Any:
    """Give what orders and tells apart the rows of a window, and where in the table each is, as `at`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    moment = table["moment"]
    wanted = pc.and_(
        pc.greater_equal(moment, pa.scalar(start, moment.type)), pc.less(moment, pa.scalar(end, moment.type))
    )
    if digest is not None:
        wanted = pc.and_(wanted, pc.equal(table["digest"], digest))
    # Answers that no model has computed would move any distribution of answers.
    wanted = pc.and_(wanted, pc.fill_null(pc.not_equal(table["cohort"], UNCOMPUTED), fill_value=True))
    # The features, most of a row, are moved once, and only at the end.
    return table.select(IDENTITY).append_column("at", pa.array(np.arange(table.num_rows))).filter(wanted)


def _newest(rows: Any) -> Any:
    """Give where the newest answer of each entity, moment and cohort is, ordered by moment and entity."""
    import pyarrow.compute as pc

    order = pc.sort_indices(rows, [(name, "ascending") for name in ("moment", "entity", "cohort", "served_at")])
    last = ~_identities(rows).take(order.to_numpy()).duplicated(keep="last").to_numpy()
    return rows["at"].take(order.filter(last))


def _identities(table: Any) -> pd.DataFrame:
    """Give what tells one row from another: whom it is about, when, and which model answered; as numbers."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    entity = pc.fill_null(table["entity"].cast(pa.string()), "")
    # A row that names no entity is its own.
    who = pc.if_else(pc.equal(entity, ""), table["id"].cast(pa.string()), entity)
    names = {"who": who, "cohort": table["cohort"].cast(pa.string())}
    codes = {name: pc.rank(column, tiebreaker="dense").to_numpy() for name, column in names.items()}
    return pd.DataFrame({"moment": table["moment"].cast(pa.int64()).to_numpy(), **codes})
