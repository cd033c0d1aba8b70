"""A drawing as values, and the arithmetic that places things on it: round ticks, scales, broken lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point with a shape and the words that a pointer or a screen reader finds there."""

    x: float
    y: float
    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line as SVG points, one run for each stretch without a gap."""

    name: str
    style: str
    runs: tuple[str, ...]
    end_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing of `width` by `height`; the frame leaves room for the axes and the lines' names."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    limits: tuple[Tick, ...] = ()
    marks: tuple[Mark, ...] = ()


def digits(ticks: Sequence[float]) -> int:
    """Give how many digits after the point tell round ticks apart: 2 for steps of 0.05, 3 for 0.005."""
    step = min((after - before for before, after in itertools.pairwise(ticks)), default=1.0)
    return max(0, -math.floor(math.log10(step) + 1e-9))


def scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """Map values between `low` and `high` to points between `start` and `stop`."""
    return lambda value: round(start + (value - low) * (stop - start) / (high - low), 2)


def ticks(low: float, high: float) -> list[float]:
    """List about five round values that reach around `low` and `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * TICKS >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, max(last, first + 1) + 1)]


def points(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Write points as SVG does."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


def runs(points: Sequence[tuple[float, float | None]]) -> tuple[str, ...]:
    """Split a line where a value is missing."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{x:.1f},{y:.1f}")
    return tuple(" ".join(run) for run in runs if run)


def apart(first: float, second: float, least: float = 16.0) -> tuple[float, float]:
    """Move two labels apart where they would cover each other."""
    gap = least - abs(first - second)
    if gap <= 0:
        return first, second
    half = gap / 2 if first <= second else -gap / 2
    return first - half, second + half


def month_starts(first: date, last: date) -> list[date]:
    """List the first days of the months between two days."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    months = [(first.year + (first.month - 1 + i) // 12, (first.month - 1 + i) % 12 + 1) for i in range(count)]
    return [day for year, month in months if first <= (day := date(year, month, 1)) <= last]
