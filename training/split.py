"""What a model may see and what it is judged on: the past to train, the newest days to judge.

    rows   ───────────────────────────────┬──────────── holdout ───────────┐
    labels known before holdout_start ────┘                               as_of

A row whose label came after the holdout began is in neither part: in
production it could not have been trained on, and it is too old to judge. Where
rows belong to groups, as the visits of one patient, the rows of a group that
the holdout judges are not trained on either.

Rows without a time of their own are drawn instead: a share of them, the same
rows for ever, is judged on and never trained on.

A calibration, and a search for parameters, are cut from the training rows in
the same way: whole blocks, the newest ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from baton.core.errors import EmptyWindow

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A snapshot cut in two; both parts are ordered by prediction moment and id.

    `holdout_start` is None where rows were drawn, not cut in time. `groups` of
    the holdout were also in the past, and `group_rows` rows of them are
    therefore not trained on.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    holdout_start: datetime | None
    groups: int = 0
    group_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """Training rows cut once more: the older ones are fitted on, the newest blocks are kept for another purpose."""

    older: pd.DataFrame
    newest: pd.DataFrame


def split(frame: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> Split:
    """Cut a snapshot into rows to train on and the newest `holdout_days`, or a drawn share, to judge on.

    Args:
        frame: Snapshot rows with `id`, `moment`, `label` and features, in any
            order; `label_known` says when each label came.
        spec: Names the window and the holdout.
        as_of: End of the holdout; nothing known later is used.

    Raises:
        EmptyWindow: No row is left to judge on, or fewer than
            `training.minimum_rows` to train on.
    """
    if spec.training.split == "random":
        return _drawn(frame, spec, as_of=as_of)
    rows = _in_order(frame)
    end = _end(rows, spec, as_of=as_of)
    start = end - timedelta(days=spec.training.holdout_days)
    inside = (rows["moment"] >= start) & (rows["moment"] < end) & (rows["label_known"] <= as_of)
    usable = rows["label_known"] < start
    if spec.training.window_days is not None:
        usable &= rows["moment"] >= start - timedelta(days=spec.training.window_days)
    past, holdout = rows[usable].reset_index(drop=True), rows[inside].reset_index(drop=True)
    shared = _shared(past, holdout, spec.training.group)
    train = past[~shared].reset_index(drop=True) if shared.any() else past
    groups = int(past[spec.training.group][shared].nunique()) if spec.training.group else 0
    _check_rows(frame, train, holdout, spec, start=start, as_of=end, group_rows=int(shared.sum()))
    return Split(train=train, holdout=holdout, holdout_start=start, groups=groups, group_rows=int(shared.sum()))


def _end(rows: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> datetime:
    """Give where the holdout's days end: at `as_of`, or just behind the newest row of a history that has ended."""
    moments = rows["moment"][rows["label_known"] <= as_of]
    if spec.training.holdout_ends == "as_of" or moments.empty:
        return as_of
    newest: datetime = moments.max().to_pydatetime() + timedelta(microseconds=1)
    return min(newest, as_of)


def _drawn(frame: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> Split:
    """Draw the holdout by what a row says, so that a row, and every row equal to it, is on its side for ever."""
    import pandas as pd

    rows = _in_order(frame[frame["label_known"] <= as_of])
    # A label may be corrected, and an id given anew: neither moves a row.
    drawn_by = [spec.training.group] if spec.training.group else list(spec.features.names)
    hashes = pd.util.hash_pandas_object(
        rows[drawn_by], index=False, hash_key=f"{spec.seed:016d}"[-16:], categorize=False
    )
    inside = (hashes.to_numpy() >> np.uint64(11)) / 2.0**53 < spec.training.holdout_share
    train, holdout = rows[~inside].reset_index(drop=True), rows[inside].reset_index(drop=True)
    if holdout.empty or len(train) < spec.training.minimum_rows:
        raise EmptyWindow(
            what=f"{len(train)} rows to train on and {len(holdout)} to judge on",
            why=f"training.minimum_rows is {spec.training.minimum_rows}, and {len(rows)} rows have labels",
            fix="land more rows, or lower training.minimum_rows or training.holdout_share",
        )
    return Split(train=train, holdout=holdout, holdout_start=None)


def known(frame: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> pd.DataFrame:
    """Give every row whose label was known before `as_of`, inside the window: what a champion is refitted on."""
    rows = _in_order(frame)
    usable = rows["label_known"] < as_of
    if spec.training.window_days is not None:
        usable &= rows["moment"] >= as_of - timedelta(days=spec.training.window_days)
    return rows[usable].reset_index(drop=True)


def newest(train: pd.DataFrame, *, share: float, group: str | None, purpose: str) -> Newest:
    """Cut the newest share of training rows off, whole blocks of them.

    Args:
        train: Rows ordered by time, with their `block`.
        share: At least this share of the rows, 0-1, is kept.
        group: Feature whose rows stay together; the older rows of a kept group are left out.
        purpose: What the newest rows are kept for, for the message.

    Raises:
        EmptyWindow: There are too few blocks, or every older row is of a kept group.
    """
    codes = _blocks(train)
    counts = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    kept = counts[::-1].cumsum()[::-1]
    first = int(np.flatnonzero(kept >= share * len(train))[-1]) if len(counts) else 0
    rows = train[codes >= first]
    past = train[codes < first]
    older = past[~_shared(past, rows, group)]
    if older.empty:
        lost = f", and {len(past)} older rows are of groups among the newest" if len(past) else ""
        raise EmptyWindow(
            what=f"no training row is left beside the {purpose}",
            why=f"{len(train)} rows of {len(counts)} blocks cannot give up their newest {share:.0%}{lost}",
            fix=f"train on a longer training.window_days, or lower the share of the {purpose}",
        )
    return Newest(older=older.reset_index(drop=True), newest=rows.reset_index(drop=True))


def _blocks(train: pd.DataFrame) -> NDArray[np.int64]:
    """Number the blocks in the order of their first rows."""
    import pandas as pd

    return pd.factorize(train["block"])[0].astype(np.int64)


def _shared(past: pd.DataFrame, newer: pd.DataFrame, group: str | None) -> NDArray[np.bool_]:
    """Say which rows of the past are of a group among the newer rows; a row without a group is alone."""
    if group is None:
        return np.zeros(len(past), dtype=bool)
    named = past[group].notna() & (past[group] != "")
    return (past[group].isin(newer[group].unique()) & named).to_numpy(dtype=bool)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Order rows by prediction moment and id; a snapshot is ordered already, and sorting a year takes a second."""
    moments, ids = frame["moment"].to_numpy(dtype="datetime64[ns]"), frame["id"].to_numpy()
    tied = moments[1:] == moments[:-1]
    if ((moments[1:] > moments[:-1]) | (tied & (ids[1:] >= ids[:-1]))).all():
        return frame
    return frame.sort_values(["moment", "id"], kind="stable")


def _check_rows(
    frame: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    spec: ModelSpec,
    *,
    start: datetime,
    as_of: datetime,
    group_rows: int,
) -> None:
    moments = frame["moment"]
    span = f"the snapshot spans {moments.min()} to {moments.max()}" if len(frame) else "the snapshot is empty"
    if holdout.empty:
        raise EmptyWindow(
            what="no labelled rows to judge on",
            why=f"the holdout is {start.isoformat()} to {as_of.isoformat()}, but {span}",
            fix="choose an as_of inside the data, or a longer training.holdout_days",
        )
    if len(train) < spec.training.minimum_rows:
        raise EmptyWindow(
            what=f"{len(train)} rows to train on",
            why=f"training.minimum_rows is {spec.training.minimum_rows}, labels must be known before"
            f" {start.isoformat()}{_of_groups(group_rows, spec)}, and {span}",
            fix="choose a later as_of, a shorter training.holdout_days or a longer training.window_days",
        )


def _of_groups(rows: int, spec: ModelSpec) -> str:
    return f", {rows} rows are of a {spec.training.group} that the holdout judges" if rows else ""
