"""Feature rows as the model takes them: one matrix of numbers, one of text.

Two inputs instead of one for each column: feeding 29 tensors costs more than
scoring the row does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Field

if TYPE_CHECKING:
    import pandas as pd

NUMBER = "number"
TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of features, in the order of the bundle's fields of each kind.

    `numbers` is float32 of shape `(rows, number fields)` with NaN for missing,
    `texts` holds `str` in an object array of shape `(rows, text fields)` with
    "" for missing.
    """

    numbers: NDArray[np.float32]
    texts: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, start: int, stop: int) -> Rows:
        """The rows from `start` up to `stop`."""
        return Rows(numbers=self.numbers[start:stop], texts=self.texts[start:stop])

    def take(self, at: Sequence[int]) -> Rows:
        """The rows at these places, in their order."""
        places = list(at)
        return Rows(numbers=self.numbers[places], texts=self.texts[places])


def stack(parts: Sequence[Rows]) -> Rows:
    """Put the rows of several requests below each other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        numbers=np.concatenate([part.numbers for part in parts]), texts=np.concatenate([part.texts for part in parts])
    )


def names_of(fields: Iterable[Field], kind: str) -> tuple[str, ...]:
    """List the fields of one kind, in order."""
    return tuple(field.name for field in fields if field.kind == kind)


def rows_from_frame(frame: pd.DataFrame, fields: Sequence[Field]) -> Rows:
    """Take a frame's features as the model takes them; missing text becomes ""."""
    numbers = np.empty((len(frame), len(names_of(fields, NUMBER))), dtype=np.float32)
    for at, name in enumerate(names_of(fields, NUMBER)):
        numbers[:, at] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    texts = np.empty((len(frame), len(names_of(fields, TEXT))), dtype=object)
    for at, name in enumerate(names_of(fields, TEXT)):
        texts[:, at] = frame[name].fillna("").to_numpy(dtype=object)
    return Rows(numbers=numbers, texts=texts)
