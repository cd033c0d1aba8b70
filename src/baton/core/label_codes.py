"""Labels as numbers: 0 or 1, the place of a class among those declared, or the number itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def label_codes(values: pd.Series, classes: Sequence[str]) -> pd.Series:
    """Give a label column as float64, NaN where there is no label, or one that is no declared class.

    Args:
        values: Labels as they have landed: text, numbers or truth values.
        classes: The declared classes in order; none where labels are numbers already.
    """
    if not classes:
        return values.astype(float)
    places = {name: float(at) for at, name in enumerate(classes)}
    return values.map(lambda value: places.get(_text(value), math.nan)).astype(float)


def _text(value: object) -> str:
    # A column of whole numbers with gaps is read as floats.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
