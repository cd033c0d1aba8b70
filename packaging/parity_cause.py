"""Why an exported model answers one row differently from the trained one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baton.core.errors import listed

if TYPE_CHECKING:
    import pandas as pd

# One row may agree by chance, where an answer hardly moves.
DONORS = 12
# Whether both models agree on a frame of one row.
Agree = Callable[["pd.DataFrame"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What makes the difference, and what to do about it."""

    why: str
    fix: str


NEIGHBOURS = Cause(
    why="its answer depends on the rows beside it",
    fix="take out what looks at a whole batch, such as a scaling by the batch's own range",
)
FLIPS = Cause(
    why="too many rows lie so near the cut that their class changes",
    fix="use a trainer whose answers do not tie",
)
UNKNOWN = Cause(
    why="no column alone makes the difference",
    fix="mend the converter of the estimator, or use another trainer",
)


def cause_of(row: pd.DataFrame, usual: pd.DataFrame, *, numbers: Iterable[str], agree: Agree) -> Cause:
    """Find the cause by trying: which change of the row lets both models agree?

    First each number is rounded to float32, which is what the graph takes: a
    model that was fitted on doubles may decide between a number and what it is
    rounded to. Then each column alone takes the values of rows on which they
    agree, one after the other; the cause is a column of which any such value will do.

    Args:
        row: The row that they answer differently, a frame of one row.
        usual: Rows on which they agree, of the same columns.
        numbers: The number columns.
        agree: Asks both models.
    """
    finer = [name for name in numbers if _rounded(row, name) != float(row[name].iloc[0]) and row[name].notna().all()]
    if finer and agree(row.assign(**{name: _rounded(row, name) for name in finer})):
        alone = [name for name in finer if agree(row.assign(**{name: _rounded(row, name)}))] or finer
        changes = [f"{name}={float(row[name].iloc[0])!r} to {_rounded(row, name)!r}" for name in alone]
        return Cause(
            why=f"float32 rounds {listed(changes)}, and the trained model answers these differently",
            fix="fit on numbers that float32 holds, as a snapshot's are: round them, or count them from nearer by",
        )
    donors = usual.iloc[np.unique(np.linspace(0, len(usual) - 1, DONORS).astype(int))] if len(usual) else usual
    single = [name for name in row.columns if len(donors) and _takes_any(row, name, donors, agree)]
    if single:
        return Cause(
            why=f"it is {listed(f'{name}={shown(row[name].iloc[0])}' for name in single)} that makes the difference",
            fix="mend the converter of the step that reads it, or use another encoder",
        )
    return UNKNOWN


def _takes_any(row: pd.DataFrame, name: str, donors: pd.DataFrame, agree: Agree) -> bool:
    return all(agree(row.assign(**{name: donors[name].to_numpy()[at : at + 1]})) for at in range(len(donors)))


def shown(value: object) -> str:
    """Write a value of a row as a person would."""
    return repr(float(value) if isinstance(value, float) else value)


def _rounded(row: pd.DataFrame, name: str) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(row[name].iloc[0]))
