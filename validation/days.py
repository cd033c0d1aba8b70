"""Whether days look like the days before them: limits come from how much those days differed among themselves.

A day is the 24 hours that end at some number of days before the end of a batch,
so that every batch, whenever it is cut, ends with a whole one. Of each day many
statistics are known. One is outside if it lies beyond the smallest or the
largest of the days before by more than `width` times the distance between those
two. Were all days alike, such a gap would be very rare; seasons move slowly, so
the days before move with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

# A quarter of a year: whatever weekdays and weather do has been seen, and seasons are followed.
COMPARED_DAYS = 91
# With fewer days behind it, a day is compared with nothing.
LEAST_DAYS = 14
# Days with a value of the statistic: a table may rest at weekends.
LEAST_VALUES = 8
# A share of rows has to move by this much to mean anything, beside what chance moves it.
LEAST_SHARE = 0.02
# Standard errors of one day that are chance.
CHANCE = 5.0
# A count has to change by a quarter to mean anything; counts are compared by their logarithm.
LEAST_COUNT = 0.22
# Numbers that are equal but for rounding.
ROUNDING = 1e-9


class Scale(Enum):
    """How differences of a statistic are measured."""

    SHARE = "share"
    NUMBER = "number"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One statistic of one column, of one day after another; NaN on a day that has none.

    `rows` is how many rows each day has, `unit` the width of the distribution
    of a column of numbers over all days.
    """

    column: str | None
    name: str
    scale: Scale
    values: NDArray[np.float64]
    rows: NDArray[np.float64]
    unit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A statistic of one day beyond its limits; `excess` is how many times the width it lies beyond."""

    column: str | None
    statistic: str
    day: int
    observed: float
    low: float
    high: float
    excess: float


def outside(statistics: Sequence[Statistic], *, newest: int, days: int, width: float) -> list[Outside]:
    """Find what is outside on the newest days, the farthest first.

    Args:
        statistics: Each with one value a day, in order.
        newest: How many of the days are to be judged, from the last one back.
        days: How many days before it a day is compared with, at most.
        width: How far beyond those days' range, in ranges, is still inside.
    """
    found = [
        each
        for statistic in statistics
        for day in range(max(LEAST_DAYS, len(statistic.values) - newest), len(statistic.values))
        if (each := _judged(statistic, day, days=days, width=width))
    ]
    return sorted(found, key=lambda each: -each.excess)


def _judged(statistic: Statistic, day: int, *, days: int, width: float) -> Outside | None:
    counts = statistic.scale is Scale.COUNT
    values = np.log(statistic.values + 0.5) if counts else statistic.values
    before, observed = values[max(0, day - days) : day], values[day]
    before = before[np.isfinite(before)]
    if len(before) < LEAST_VALUES or np.isnan(observed):
        return None
    lowest, highest = float(before.min()), float(before.max())
    room = width * (highest - lowest) + _chance(statistic, day, lowest, highest)
    low, high = lowest - room, highest + room
    if low <= observed <= high:
        return None
    if counts:
        low, high = np.exp(low) - 0.5, np.exp(high) - 0.5
    return Outside(
        column=statistic.column,
        statistic=statistic.name,
        day=day,
        observed=float(statistic.values[day]),
        low=float(max(low, 0.0) if statistic.scale is not Scale.NUMBER else low),
        high=float(min(high, 1.0) if statistic.scale is Scale.SHARE else high),
        excess=float(max(lowest - observed, observed - highest) / max(room, ROUNDING)),
    )


def _chance(statistic: Statistic, day: int, lowest: float, highest: float) -> float:
    """Give how far chance alone may move the value of one day."""
    if statistic.scale is Scale.SHARE:
        likely = min(max(highest, LEAST_SHARE), 1 - min(lowest, 1 - LEAST_SHARE), 0.5)
        return max(LEAST_SHARE, CHANCE * float(np.sqrt(likely * (1 - likely) / max(statistic.rows[day], 1.0))))
    if statistic.scale is Scale.COUNT:
        return LEAST_COUNT
    # The error of a mean or a quantile, in widths of the distribution, is of the order of one by the root of n.
    error = CHANCE * statistic.unit / float(np.sqrt(max(statistic.rows[day], 1.0)))
    return max(error, ROUNDING * max(abs(lowest), abs(highest), 1.0))
