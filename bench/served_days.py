"""Fifty features as they are served day by day, with weekdays, days that share their luck, and faults on request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUMBERS, TEXTS = 40, 10
REFERENCE_DAYS = 84
# A Monday, like the first day of every simulated reference.
BEGIN = datetime(2024, 1, 1, tzinfo=timezone.utc)
ABSURD = 1e9
# The feature that faults befall: a bell curve with weekdays and days of its own, and a text with six values.
NUMBER, TEXT = "n00", "t00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What befalls one feature: a shift in standard deviations, or a share of rows that turn odd."""

    name: str
    shift: float = 0.0
    shift_a_day: float = 0.0
    missing: float = 0.0
    out_of_range: float = 0.0
    new_value: float = 0.0


class World:
    """Fifty features; `shared` scales what all rows of a day have in common, in standard deviations."""

    def __init__(self, seed: int, *, rows: int, shared: float = 0.1) -> None:
        self._draw = np.random.default_rng(seed)
        self.rows = rows
        self._weekly = np.where(np.arange(NUMBERS) % 2 == 0, 0.3, 0.0)[:, None] * np.sin(
            2 * np.pi * (np.arange(7) + np.arange(NUMBERS)[:, None]) / 7
        )
        self._shared = shared * (np.arange(NUMBERS) % 4 + 1) / 4
        self._luck = np.zeros(NUMBERS)
        self._missing = np.where(np.arange(NUMBERS) % 5 == 4, 0.2, np.where(np.arange(NUMBERS) % 5 == 3, 0.02, 0.0))
        self._values = [6 + 4 * text for text in range(TEXTS)]

    def day(self, index: int, *, fault: Fault | None = None, since: int = 0) -> pd.DataFrame:
        """Give the rows of one day, with one absurd value among them where a fault is at work."""
        weekday = index % 7
        # What a day shares lasts: four tenths of it are still there on the next.
        self._luck = 0.4 * self._luck + np.sqrt(1 - 0.4**2) * self._draw.normal(size=NUMBERS)
        bell = self._draw.normal(size=(self.rows, NUMBERS)) + self._weekly[:, weekday] + self._shared * self._luck
        if fault is not None:
            bell[:, 0] += fault.shift + fault.shift_a_day * (index - since + 1)
        columns: dict[str, Any] = {f"n{place:02}": _shaped(bell[:, place], place) for place in range(NUMBERS)}
        for place in range(NUMBERS):
            columns[f"n{place:02}"][self._draw.random(self.rows) < self._missing[place]] = np.nan
        for place, values in enumerate(self._values):
            weights = 1 / np.arange(1, values + 1) * np.where(np.arange(values) % 7 == weekday, 1.3, 1.0)
            drawn = self._draw.choice(values, size=self.rows, p=weights / weights.sum())
            columns[f"t{place:02}"] = np.array([f"v{value}" for value in range(values)], dtype=object)[drawn]
        if fault is not None:
            self._befall(columns, fault)
        return pd.DataFrame(columns)

    def reference(self) -> pd.DataFrame:
        """Give the rows of the reference's days, with their `day`."""
        return pd.concat([self.day(index).assign(day=index) for index in range(REFERENCE_DAYS)], ignore_index=True)

    def _befall(self, columns: dict[str, Any], fault: Fault) -> None:
        column = columns[NUMBER]
        column[self._draw.random(self.rows) < fault.out_of_range] = 12.0
        column[self._draw.random(self.rows) < fault.missing] = np.nan
        columns[TEXT][self._draw.random(self.rows) < fault.new_value] = "never seen"
        column[self._draw.integers(self.rows)] = ABSURD


def end_of(index: int) -> datetime:
    """Give the end of a day."""
    return BEGIN + timedelta(days=index + 1)


def _shaped(bell: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    """Give a bell curve another shape: skewed, mostly nothing, or of few values."""
    match place % 4:
        case 1:
            skewed: NDArray[np.float64] = np.exp(bell)
            return skewed
        case 2:
            return np.where(bell < 0.8, 0.0, bell)
        case 3:
            return np.clip(np.round(2 * bell), -4, 4)
        case _:
            return bell.copy()
