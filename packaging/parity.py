"""The proof that an exported model answers as the trained one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Field
from baton.core.errors import EmptyWindow, ParityFailed, listed
from baton.packaging.onnx_encoders import UNSEEN
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of, rows_from_frame
from baton.packaging.scorer import Scorer

if TYPE_CHECKING:
    import pandas as pd

# Float32 sums of some hundred leaves differ from double sums by about 1e-7.
TOLERANCE = 1e-5
HALF = 0.5
SINGLES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two implementations of one model are apart on the same rows.

    `difference` is the largest absolute difference of probability,
    `batch_difference` that of a row alone against the same row in a batch.
    Flips count the rows on different sides of a cut.
    """

    rows: int
    edge_rows: int
    difference: float
    batch_difference: float
    flips_at_half: int
    flips_at_base_rate: int
    base_rate: float
    tolerance: float

    @property
    def proven(self) -> bool:
        """Whether every row agrees within the tolerance; no rows prove nothing."""
        return self.rows > 0 and max(self.difference, self.batch_difference) <= self.tolerance


def prove(onnx: bytes, pipeline: Any, frame: pd.DataFrame, *, fields: Sequence[Field]) -> Parity:
    """Compare both models on every row of a holdout and on the edge rows made from it.

    Args:
        onnx: The exported model.
        pipeline: The fitted pipeline.
        frame: Holdout rows; columns that are no field are left out.
        fields: The features in the order of the export.

    Raises:
        EmptyWindow: The holdout has no rows.
        ParityFailed: A row differs by more than `TOLERANCE`, or depends on its
            batch; names the worst row and its values.
    """
    import pandas as pd

    if frame.empty:
        raise EmptyWindow(what="parity cannot be proven", why="the holdout has no rows", fix="pass a holdout")
    holdout = frame[[field.name for field in fields]]
    edges = edge_rows(holdout, fields=fields)
    together = pd.concat([holdout, edges], ignore_index=True)
    expected = np.asarray(pipeline.predict_proba(together), dtype=np.float64)[:, 1]
    scorer, rows = Scorer(onnx), rows_from_frame(together, fields)
    scores = scorer.score(rows)
    gaps = _gaps(scores, expected)
    alone = _alone(scorer, rows, scores)
    base_rate = float(expected[: len(holdout)].mean())
    parity = Parity(
        rows=len(holdout),
        edge_rows=len(edges),
        difference=float(gaps.max()),
        batch_difference=float(alone.max()),
        flips_at_half=_flips(scores, expected, HALF),
        flips_at_base_rate=_flips(scores, expected, base_rate),
        base_rate=base_rate,
        tolerance=TOLERANCE,
    )
    if not parity.proven:
        worst = int(np.argmax(np.fmax(gaps, alone)))
        raise ParityFailed(
            what=f"the exported model differs by {max(parity.difference, parity.batch_difference):.3g}",
            why=f"row {worst} gives {scores[worst]:.6f}, expected {expected[worst]:.6f} +- {TOLERANCE:g}, "
            f"at {listed(f'{name}={value!r}' for name, value in together.iloc[worst].items())}",
            fix="mend the converter of the step that reads these columns",
        )
    return parity


def edge_rows(frame: pd.DataFrame, *, fields: Sequence[Field]) -> pd.DataFrame:
    """Make the rows that no holdout holds: each column missing, unseen and far out, and all of them at once."""
    import pandas as pd

    base = frame.iloc[[0]]
    changes: list[dict[str, float | str]] = []
    extremes = (np.nan, 0.0, -1e6, 1e6, float(np.finfo(np.float32).max), float(np.finfo(np.float32).min))
    for values, names in ((extremes, names_of(fields, NUMBER)), (("", UNSEEN), names_of(fields, TEXT))):
        for value in values:
            changes += [{name: value} for name in names]
            changes.append(dict.fromkeys(names, value))
    changes.append(dict.fromkeys(names_of(fields, NUMBER), np.nan) | dict.fromkeys(names_of(fields, TEXT), ""))
    return pd.concat([base.assign(**change) for change in changes if change], ignore_index=True)


def _alone(scorer: Scorer, rows: Rows, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how much evenly picked rows change when they are scored alone."""
    gaps = np.zeros(len(rows))
    for at in np.unique(np.linspace(0, len(rows) - 1, SINGLES).astype(int)):
        gaps[at] = abs(float(scorer.score(rows.part(at, at + 1))[0]) - scores[at])
    return gaps


def _gaps(scores: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    # A NaN differs from everything, also from a NaN: neither is an answer.
    return np.nan_to_num(np.abs(scores - expected), nan=np.inf)


def _flips(scores: NDArray[np.float64], expected: NDArray[np.float64], cut: float) -> int:
    return int(np.count_nonzero((scores >= cut) != (expected >= cut)))
