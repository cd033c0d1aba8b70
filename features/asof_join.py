"""The join that training lives by: for each row, the newest value of its entity that was known at its moment."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NOTHING = -1


def newest_known(
    rows: pd.DataFrame,
    history: pd.DataFrame,
    *,
    on: list[str],
    moment: str,
    event: str,
    created: str | None = None,
    ttl: timedelta | None = None,
) -> NDArray[np.int64]:
    """Find, for each row, the position of its entity's newest value known at the row's moment.

    All values of all entities are one ordered run of integers (entity, then
    rank of event time), so a single binary search answers every row; nothing
    is multiplied and de-duplicated afterwards.

    Args:
        rows: One look-up per row.
        history: One value per row, in any order.
        on: Columns that name the entity, in both frames; a missing one finds nothing.
        moment: Column of `rows`; a value counts from its time on, that moment included.
        event: Column of `history` with the event time.
        created: Column of `history` with the time at which the value itself
            became known, where that is not the event time. A value created
            after the moment is passed over for the newest one that was there.
        ttl: Age, event time to moment, beyond which a value counts as missing.

    Returns:
        Shape `(len(rows),)`: positions in `history`, `NOTHING` where no value was known.
    """
    if history.empty or rows.empty:
        return np.full(len(rows), NOTHING, dtype=np.int64)
    asked, had = _entities(rows, history, on)
    moments, events = nanoseconds(rows[moment]), nanoseconds(history[event])
    known = events if created is None else np.maximum(events, nanoseconds(history[created]))
    # Of two values with one event time the one created last is the correction.
    by_time = np.argsort(events, kind="stable") if created is None else np.lexsort((known, events))
    by_entity = in_runs(had[by_time])
    order, clock = by_time[by_entity], events[by_time]
    # Values of one event time share a rank: that of the first of them.
    ranks = np.maximum.accumulate(np.where(np.diff(clock, prepend=clock[0] - 1) > 0, np.arange(len(clock)), 0))
    span = np.int64(len(clock) + 2)
    keys = had[order] * span + ranks[by_entity] + 1
    asked_keys = asked * span + np.searchsorted(clock, moments, side="right")
    # Questions in the order of the answers are found three times as fast.
    sequence = in_runs(asked)
    place = np.empty(len(rows), dtype=np.int64)
    place[sequence] = np.searchsorted(keys, asked_keys[sequence], side="right") - 1
    if created is not None:
        place = _step_back(place, known[order], had[order], asked, moments)
    found = np.where(place >= 0, order[np.maximum(place, 0)], NOTHING)
    valid = (place >= 0) & (asked >= 0) & (had[found] == asked)
    if ttl is not None:
        valid &= moments - events[found] <= ttl // timedelta(microseconds=1) * 1_000
    return np.where(valid, found, NOTHING)


def nanoseconds(times: pd.Series) -> NDArray[np.int64]:
    """Give aware times as nanoseconds since 1970 UTC; times without a zone are UTC."""
    utc = times if pd.api.types.is_datetime64_any_dtype(times.dtype) else pd.to_datetime(times, utc=True)
    count: NDArray[np.int64] = utc.to_numpy(dtype="datetime64[ns]").view(np.int64)
    return count


def in_runs(entities: NDArray[np.int64]) -> NDArray[np.intp]:
    """Order numbered entities into one run each, every run in the order in which it was; unknown ones come first."""
    # Integers of two bytes are sorted by their digits, not by comparing them.
    narrow = np.min_scalar_type(int(entities.max(initial=0)) + 1)
    return np.argsort((entities + 1).astype(narrow), kind="stable")


def _entities(rows: pd.DataFrame, history: pd.DataFrame, on: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the entities of both frames alike, negative where unknown or missing."""
    if len(on) == 1:
        had, names = pd.factorize(history[on[0]])
        return pd.Index(names).get_indexer(pd.Index(rows[on[0]])).astype(np.int64), had.astype(np.int64)
    had, names = pd.factorize(pd.MultiIndex.from_frame(history[on]))
    return names.get_indexer(pd.MultiIndex.from_frame(rows[on])).astype(np.int64), had.astype(np.int64)


def _step_back(
    place: NDArray[np.int64],
    known: NDArray[np.int64],
    had: NDArray[np.int64],
    asked: NDArray[np.int64],
    moments: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Pass over values that happened before the moment but were not known yet."""
    while True:
        safe = np.maximum(place, 0)
        late = (place >= 0) & (had[safe] == asked) & (known[safe] > moments)
        if not late.any():
            return place
        place = place - late
