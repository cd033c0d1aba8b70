"""What a model may see and what it is judged on: the past to train, the newest days to judge.

    rows   ───────────────────────────────┬──────────── holdout ───────────┐
    labels known before holdout_start ────┘                               as_of

A row whose label came after the holdout began is in neither part: in
production it could not have been trained on, and it is too old to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from baton.core.errors import EmptyWindow

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A snapshot cut in time; both parts are ordered by prediction moment and id."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    holdout_start: datetime


def split(frame: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> Split:
    """Cut a snapshot into rows to train on and the newest `holdout_days` to judge on.

    Args:
        frame: Snapshot rows with `id`, `moment`, `label` and features, in any
            order; `label_known` says when each label came.
        spec: Names the window and the holdout.
        as_of: End of the holdout; nothing known later is used.

    Raises:
        EmptyWindow: No row is left to judge on, or fewer than
            `training.minimum_rows` to train on.
    """
    start = as_of - timedelta(days=spec.training.holdout_days)
    rows = _in_order(frame)
    inside = (rows["moment"] >= start) & (rows["moment"] < as_of) & (rows["label_known"] <= as_of)
    usable = rows["label_known"] < start
    if spec.training.window_days is not None:
        usable &= rows["moment"] >= start - timedelta(days=spec.training.window_days)
    train, holdout = rows[usable].reset_index(drop=True), rows[inside].reset_index(drop=True)
    _check_rows(frame, train, holdout, spec, start=start, as_of=as_of)
    return Split(train=train, holdout=holdout, holdout_start=start)


def known(frame: pd.DataFrame, spec: ModelSpec, *, as_of: datetime) -> pd.DataFrame:
    """Give every row whose label was known before `as_of`, inside the window: what a champion is refitted on."""
    rows = _in_order(frame)
    usable = rows["label_known"] < as_of
    if spec.training.window_days is not None:
        usable &= rows["moment"] >= as_of - timedelta(days=spec.training.window_days)
    return rows[usable].reset_index(drop=True)


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
            f" {start.isoformat()}, and {span}",
            fix="choose a later as_of, a shorter training.holdout_days or a longer training.window_days",
        )
