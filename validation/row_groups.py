"""Rows grouped by the values of one column, each group under a name that a person understands.

Text, and a number of few values, is grouped by value. Any other number is cut
into quartiles, closed above: `distance in 500..1,000` holds 1,000 and not 500.
Rows without a value are a group of their own, and a value that is no printable
text is written as a literal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# Weekdays, flags and grades are kinds, not quantities.
FEW_VALUES = 10
QUARTILES = (0.25, 0.5, 0.75)
# Digits of an edge: more are shown only where two names would be the same.
DIGITS = (4, 6, 9, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The group of each row: `names[codes]`; every group has a row."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows of each group, shape `(groups,)`."""
        return np.bincount(self.codes, minlength=len(self.names))


def grouped(column: pd.Series, *, text: bool, reference: Sequence[float] = ()) -> Grouping:
    """Group rows by one column.

    Args:
        column: The rows' values.
        text: Whether they are text; the empty text is no value.
        reference: Numbers, or evenly spaced quantiles of them, whose quartiles
            cut a number of many values; its own where left out.
    """
    name = str(column.name)
    if text:
        return _by_value(name, _present_text(column), column.to_numpy(dtype=object))
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    present = ~np.isnan(numbers)
    if len(np.unique(numbers[present])) <= FEW_VALUES:
        return _by_value(name, present, numbers)
    edges = np.unique(np.quantile(np.asarray(reference) if len(reference) else numbers[present], QUARTILES))
    codes = np.where(present, np.searchsorted(edges, numbers, side="left"), len(edges) + 1)
    return _compact([*_interval_names(name, edges), f"{name} missing"], codes)


def crossed(groupings: Sequence[Grouping]) -> Grouping:
    """Group rows by several groupings at once, each pair of groups by the names of both."""
    found = groupings[0]
    for other in groupings[1:]:
        names = [f"{first}, {second}" for first, second in itertools.product(found.names, other.names)]
        found = _compact(names, found.codes * len(other.names) + other.codes)
    return found


def _present_text(column: pd.Series) -> NDArray[np.bool_]:
    return (column.notna() & (column != "")).to_numpy(dtype=bool)


def _by_value(name: str, present: NDArray[np.bool_], values: NDArray[np.object_] | NDArray[np.float64]) -> Grouping:
    found, places = np.unique(values[present].astype(object), return_inverse=True)
    codes = np.full(len(values), len(found), dtype=np.int64)
    codes[present] = places
    return _compact([*(f"{name}={_written(value)}" for value in found), f"{name} missing"], codes)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.17g}"
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _interval_names(name: str, edges: NDArray[np.float64]) -> list[str]:
    for digits in DIGITS:
        shown = [f"{edge:,.{digits}g}" for edge in edges]
        if len(set(shown)) == len(edges):
            break
    inner = [f"{name} in {low}..{high}" for low, high in itertools.pairwise(shown)]
    return [f"{name} up to {shown[0]}", *inner, f"{name} above {shown[-1]}"]


def _compact(names: Sequence[str], codes: NDArray[np.int64]) -> Grouping:
    """Leave out the groups that have no row."""
    kept, places = np.unique(codes, return_inverse=True)
    return Grouping(names=tuple(names[code] for code in kept), codes=places.astype(np.int64))
