"""Skew by replay: features as they were served beside the same features recomputed as of their moment.

A fault is named where replaying it gives what was served: the same history
read some hours earlier or later is a wrong time zone, an older value a stale
store, a constant where nothing was known a null default, one factor a wrong
unit, and windows that end a moment too soon a wrong boundary. What none of
them gives is skew all the same, and is called unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.monitoring.view_replay import ViewReplay

# Fewer rows than this that differ are told and not named: chance has a name for anything.
LEAST = 5
# A name must give what was served in so many of the rows that differ, and contradict no more of the others.
SHARE = 0.95
# A shift gives every value; a shorter or longer one gives most of those that seldom change.
SHIFTED = 0.99
# Served values have passed through 32-bit numbers.
TOLERANCE = 1e-5
# Of values that are few, another row's is often among an entity's older ones.
CHANCE = 0.8
# Distinct values from which a factor is no accident.
DISTINCT = 3
HOUR = timedelta(hours=1)
# The offsets of the world's time zones, taken for UTC or UTC for them, nearest first.
QUARTERS = (10, 14, 18, 22, 23, 26, 35, 38, 42, 51, 55)
ZONES = sorted(
    {
        sign * offset
        for offset in [*(h * HOUR for h in range(1, 15)), *(q * HOUR / 4 for q in QUARTERS)]
        for sign in (1, -1)
    },
    key=lambda offset: (abs(offset), offset),
)
# A day in minutes and in hours.
DAYS = (1_440, 24)

Column = NDArray[Any]
Rows = NDArray[np.bool_]


class Fault(Enum):
    """What makes a served feature differ from its recomputed one."""

    NULL_DEFAULT = "null default"
    UNIT = "unit"
    WINDOW_BOUNDARY = "window boundary"
    TIME_ZONE = "time zone"
    STALENESS = "staleness"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """One feature's rows that differ, and what gives the served values."""

    feature: str
    fault: Fault
    detail: str
    rows: int
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One feature as served and as recomputed.

    `otherwise` has values that another rule would have given, by its fault;
    `replay` and `name` are there for what is looked up in a view, and `fresh`
    is how old the store's values may be.
    """

    feature: str
    served: Column
    expected: Column
    otherwise: Mapping[Fault, Column] = field(default_factory=dict)
    replay: ViewReplay | None = None
    fresh: timedelta = timedelta(0)


def name_skew(replayed: Replayed) -> Skew | None:
    """Name what makes a feature differ, or give None where too few rows do."""
    differs = ~same(replayed.served, replayed.expected)
    if replayed.replay is not None and replayed.fresh and differs.any():
        differs &= ~replayed.replay.held(replayed.feature, replayed.served, same, within=replayed.fresh)
    if differs.sum() < LEAST:
        return None
    fault, detail = next(
        (
            (fault, detail)
            for fault, detail, given, whole in _guesses(replayed, differs)
            if given[differs].mean() >= (SHIFTED if fault is Fault.TIME_ZONE else SHARE)
            and (not whole or given.mean() >= SHARE)
        ),
        (Fault.UNEXPLAINED, "no replay gives what was served"),
    )
    return Skew(feature=replayed.feature, fault=fault, detail=detail, rows=len(differs), differing=int(differs.sum()))


def same(one: Column, other: Column) -> Rows:
    """Tell where two columns agree: numbers to the precision of what is served, missing with missing."""
    if np.dtype(object) in (one.dtype, other.dtype):
        equal: Rows = (
            pd.Series(one).fillna("").astype(str).to_numpy() == pd.Series(other).fillna("").astype(str).to_numpy()
        )
        return equal
    return np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE / 1e3, equal_nan=True)


def _guesses(replayed: Replayed, differs: Rows) -> Iterator[tuple[Fault, str, Rows, bool]]:
    """Give each fault with the rows in which it gives what was served, and whether all rows must bear it out."""
    served, expected, replay = replayed.served, replayed.expected, replayed.replay
    lost, made_up = pd.isna(served) & ~pd.isna(expected), ~pd.isna(served) & pd.isna(expected)
    yield Fault.NULL_DEFAULT, "missing, though it was known", lost, False
    if (made_up & differs).any():
        usual = pd.Series(served[made_up & differs]).mode().iloc[0]
        yield Fault.NULL_DEFAULT, f"{usual} where nothing was known", made_up & (served == usual), False
    if np.dtype(object) not in (served.dtype, expected.dtype):
        yield from _clocks(served, expected)
        yield from _units(served, expected, differs)
    for fault, values in replayed.otherwise.items():
        yield fault, "a window that ends just before its moment", same(served, values), True
    if replay is None:
        return
    shifted = {offset: same(served, replay.values(replayed.feature, shift=offset)) for offset in ZONES}
    for offset, given in shifted.items():
        yield Fault.TIME_ZONE, f"as of {_hours(offset)}", given, True
    for offset, given in shifted.items():
        summer = shifted.get(offset + HOUR)
        if summer is not None:
            changed = _from_then_on(given, summer, replay.order)
            yield Fault.TIME_ZONE, f"as of {_hours(offset)}, until a clock was changed by an hour", changed, True
    older = replay.held(replayed.feature, served, same)
    chance = replay.held(replayed.feature, np.roll(served, 1), same)
    if chance[differs].mean() <= CHANCE:
        behind = replay.behind(replayed.feature, served, same)[differs & older]
        yield Fault.STALENESS, f"values that were replaced {_ago(behind)} before", older, False


def _clocks(served: Column, expected: Column) -> Iterator[tuple[Fault, str, Rows, bool]]:
    """Tell of minutes and hours of the day that another zone's clock has shown."""
    for period in DAYS:
        present = ~np.isnan(expected)
        day = expected[present]
        # A number that fills no day is no time of day.
        if not len(day) or day.min() < 0 or day.max() >= period or np.ptp(day) < period / 2:
            continue
        difference = (served - expected) % period
        moved = pd.Series(difference[difference != 0]).mode()
        if moved.empty:
            continue
        ahead = float(moved.iloc[0])
        if ahead * 24 / period * HOUR in ZONES or (ahead - period) * 24 / period * HOUR in ZONES:
            given = np.isclose(difference, ahead) | (np.isnan(served) & ~present)
            yield Fault.TIME_ZONE, f"a clock that is {ahead * 24 / period:g} hours ahead", given, True


def _units(served: Column, expected: Column, differs: Rows) -> Iterator[tuple[Fault, str, Rows, bool]]:
    present = ~np.isnan(served) & ~np.isnan(expected)
    known = differs & present
    # A zero is a zero in every unit; of a shifted scale, such as Fahrenheit, it is not.
    x, y = expected[known], served[known]
    if len(np.unique(x)) < DISTINCT:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = float(np.nanmedian(y / x))
        order = np.argsort(x, kind="stable")
        half = len(x) // 2
        low, high = order[:half], order[-half:]
        slope = float(np.nanmedian((y[high] - y[low]) / (x[high] - x[low])))
    for scale, offset in ((factor, 0.0), (slope, float(np.median(y - slope * x)) if np.isfinite(slope) else np.nan)):
        if np.isfinite([scale, offset]).all() and scale:
            given = np.isclose(served, scale * expected + offset, rtol=1e-3, atol=1e-6 * np.abs(y).max())
            told = f"{scale:.6g} times" + (f" and {offset:+.6g}" if offset else "")
            yield Fault.UNIT, told, given | (np.isnan(served) & np.isnan(expected)), True


def _from_then_on(before: Rows, after: Rows, order: NDArray[np.int64]) -> Rows:
    """Give the rows that one rule explains up to some moment, and another from then on; the best moment, either way."""
    best: Rows = before
    for first, second in ((before, after), (after, before)):
        gained = np.concatenate([[0], np.cumsum(first[order].astype(int) - second[order].astype(int))])
        at = int(gained.argmax())
        given = np.empty_like(first)
        given[order[:at]], given[order[at:]] = first[order[:at]], second[order[at:]]
        best = given if given.sum() > best.sum() else best
    return best


def _hours(offset: timedelta) -> str:
    hours = abs(offset) / HOUR
    return f"{hours:g} hours {'before' if offset < timedelta(0) else 'after'} the moment"


def _ago(behind: NDArray[np.float64]) -> str:
    if not len(behind):
        return "some time"
    hours = float(np.median(behind)) / 3_600
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
