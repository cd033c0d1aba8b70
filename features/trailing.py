"""Trailing aggregates: what an entity did in the hours before a moment.

A window is half open, `(moment - window, moment]`, on the time at which each
event *became known*. An event known later than the moment is never counted,
which is what keeps the future out of a training row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.features.asof_join import in_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailing:
    """Events of one kind, ordered by entity and known time, ready for look-up.

    Build it once with `trailing` and ask it for any number of windows: the
    cumulative sums make every look-up a pair of binary searches. Sums of whole
    numbers are exact, so a window's value never depends on what came after it.
    """

    entities: pd.Index
    clock: NDArray[np.int64]
    keys: NDArray[np.int64]
    totals: NDArray[np.float64]
    last: NDArray[np.float64]

    def count(self, at: pd.DataFrame, *, entity: str, time: str, window: pd.Timedelta) -> NDArray[np.float64]:
        """Count the events of each row's entity in the window that ends at its moment."""
        low, high = self._bounds(at, entity=entity, time=time, window=window)
        return (high - low).astype(np.float64)

    def mean(
        self,
        at: pd.DataFrame,
        *,
        entity: str,
        time: str,
        window: pd.Timedelta,
        prior: float = 0.0,
        weight: float = 0.0,
    ) -> NDArray[np.float64]:
        """Average the events' values in the window, drawn towards `prior` as if by `weight` more events.

        Args:
            at: One row per look-up, with columns `entity` and `time`.
            entity: Column of `at` that holds the entity.
            time: Column of `at` that holds the moment (aware, UTC).
            window: Length of the window.
            prior: Value that `weight` imaginary events have.
            weight: Number of imaginary events, 0 for the plain mean.

        Returns:
            Shape `(len(at),)`; NaN where the window is empty and `weight` is 0.
        """
        low, high = self._bounds(at, entity=entity, time=time, window=window)
        count = (high - low).astype(np.float64) + weight
        total = self.totals[high] - self.totals[low] + prior * weight
        mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(at), np.nan), where=count > 0)
        return mean

    def latest(self, at: pd.DataFrame, *, entity: str, time: str) -> NDArray[np.float64]:
        """Give the value of the entity's newest event known at the moment, NaN where there is none."""
        low, high = self._bounds(at, entity=entity, time=time, window=None)
        found = high > low
        return np.where(found, self.last[np.maximum(high - 1, 0)] if len(self.last) else np.nan, np.nan)

    def _bounds(
        self, at: pd.DataFrame, *, entity: str, time: str, window: pd.Timedelta | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        codes = self.entities.get_indexer(pd.Index(at[entity])).astype(np.int64)
        # Questions in the order of the answers are found three times as fast.
        sequence = in_runs(codes)
        codes, moments = codes[sequence], _nanoseconds(at[time])[sequence]
        bounds = np.zeros((2, len(at)), dtype=np.int64)
        bounds[0, sequence] = self._count(codes, None if window is None else moments - window.value)
        bounds[1, sequence] = self._count(codes, moments)
        bounds[:, sequence[codes < 0]] = 0
        return bounds[0], bounds[1]

    def _count(self, codes: NDArray[np.int64], moments: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Count the events that come before an entity's own, and those of its own known by each moment."""
        rank = 0 if moments is None else np.searchsorted(self.clock, moments, side="right")
        return np.searchsorted(self.keys, codes * _span(self.clock) + rank, side="right").astype(np.int64)


def trailing(events: pd.DataFrame, *, entity: str, time: str, value: str) -> Trailing:
    """Order events by entity and known time so that windows over them can be looked up.

    Args:
        events: One row per event; rows with a missing entity or value are left out.
        entity: Column that holds the entity.
        time: Column that holds when the event became known (aware, UTC).
        value: Column that holds a number, or a truth value counted as 0 or 1.
    """
    codes, entities = pd.factorize(events[entity])
    values = events[value].to_numpy(dtype=np.float64, na_value=np.nan)
    by_time, clock = _in_time(_nanoseconds(events[time]), (codes >= 0) & ~np.isnan(values))
    order = in_runs(codes[by_time])
    # Each entity's events are one run in time. With times as ranks, entity and
    # time fit one integer, and one search finds a place in all runs at once.
    begins = np.concatenate([[True], clock[1:] > clock[:-1]])[: len(clock)]
    ranks = np.maximum.accumulate(np.where(begins, np.arange(len(clock)), 0)) + 1
    return Trailing(
        entities=pd.Index(entities),
        clock=clock,
        keys=codes[by_time][order].astype(np.int64) * _span(clock) + ranks[order],
        totals=np.concatenate([[0.0], np.cumsum(values[by_time][order])]),
        last=values[by_time][order],
    )


def _in_time(times: NDArray[np.int64], kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the places of the kept events in order of time, and their times."""
    by_time = np.argsort(times, kind="stable")
    by_time = by_time[kept[by_time]]
    return by_time, times[by_time]


def _span(clock: NDArray[np.int64]) -> int:
    return len(clock) + 2


def _nanoseconds(times: pd.Series) -> NDArray[np.int64]:
    utc: NDArray[np.int64] = (
        times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]").view(np.int64)
    )
    return utc
