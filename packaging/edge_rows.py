"""The rows that no holdout holds: missing, unseen, far out, and on the very cuts of a model's trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from baton.core.bundle import Field
from baton.packaging.onnx_encoders import UNSEEN
from baton.packaging.onnx_trees import largest_float32_not_above
from baton.packaging.rows import NUMBER, TEXT, names_of

if TYPE_CHECKING:
    import pandas as pd

# Cuts are tried evenly over all of a model's, each with its two neighbours.
MOST_CUTS = 256
FAR_OUT = (np.nan, 0.0, -1e6, 1e6, float(np.finfo(np.float32).max), float(np.finfo(np.float32).min))


def edge_rows(
    frame: pd.DataFrame, *, fields: Sequence[Field], cuts: Mapping[str, Sequence[float]] | None = None
) -> pd.DataFrame:
    """Make edge rows from a holdout's.

    Each column in turn is missing, unseen and far out, then all of them at
    once; and each number lies on cuts of the model and beside them.

    Args:
        frame: Holdout rows, at least one.
        fields: The features.
        cuts: Values of a number column at which the model decides.
    """
    import pandas as pd

    base = frame.iloc[[0]]
    changes: list[dict[str, float | str]] = []
    for values, names in ((FAR_OUT, names_of(fields, NUMBER)), (("", UNSEEN), names_of(fields, TEXT))):
        for value in values:
            changes += [{name: value} for name in names]
            changes.append(dict.fromkeys(names, value))
    changes.append(dict.fromkeys(names_of(fields, NUMBER), np.nan) | dict.fromkeys(names_of(fields, TEXT), ""))
    rows = [base.assign(**change) for change in changes if change]
    return pd.concat([*rows, _on_cuts(frame, cuts or {})], ignore_index=True)


def _on_cuts(frame: pd.DataFrame, cuts: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Put rows of the holdout, one after the other, on a cut and its two neighbours."""
    all_cuts = [(name, cut) for name, values in cuts.items() for cut in values]
    picked = [all_cuts[at] for at in np.unique(np.linspace(0, len(all_cuts) - 1, MOST_CUTS).astype(int)) if all_cuts]
    placed = [(name, value) for name, cut in picked for value in _around(cut)]
    rows = frame.iloc[np.arange(len(placed)) % len(frame)].reset_index(drop=True)
    for name in {name for name, _ in placed}:
        values = rows[name].to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        at = [place for place, (column, _) in enumerate(placed) if column == name]
        values[at] = [placed[place][1] for place in at]
        rows[name] = values
    return rows


def _around(cut: float) -> list[float]:
    on = np.float32(largest_float32_not_above(cut))
    largest = np.finfo(np.float32).max
    around = (on, np.nextafter(on, np.float32(-np.inf)), np.nextafter(on, np.float32(np.inf)))
    return [float(np.clip(each, -largest, largest)) for each in around]
