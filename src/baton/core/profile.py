"""The reference that a window is compared with, frozen when a model is sealed.

A number is kept as quantile edges with open ends and the share of rows in each
bin; text as the share of each known value. Missing values have a bin of their
own, so a window can be judged without the training data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import canonical_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BINS = 10
# Enough points to draw a distribution and to measure KS to 0.005.
GRID = 200
KNOWN_VALUES = 200
# Columns of answers, in a profile as in the prediction log.
SCORE = "score"
PREDICTED = "predicted"
SCORE_PREFIX = "score."


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column of the reference.

    `shares` has one share for each bin and the share of missing values last:
    `len(edges) + 2` of them for a number (bins open at both ends), and
    `len(values) + 2` for text (all other values together before missing).
    `quantiles` are `GRID + 1` evenly spaced quantiles of a number, lowest first.
    `floor` is the largest PSI of one comparable part of the reference against
    the whole: what the column shows when nothing has drifted.
    """

    name: str
    kind: str  # "number" or "text"
    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    floor: float = 0.0

    @property
    def missing(self) -> float:
        """Share of rows with no value, 0-1."""
        return self.shares[-1]

    def count(self, column: pd.Series) -> NDArray[np.float64]:
        """Count a window's rows in the same bins as `shares`, missing last."""
        import pandas as pd

        if self.kind == "text":
            text = column.fillna("").astype(str)
            codes = pd.Index(self.values).get_indexer(pd.Index(text))
            codes = np.where(codes < 0, len(self.values), codes)
            codes = np.where((text == "").to_numpy(), len(self.values) + 1, codes)
            return np.bincount(codes, minlength=len(self.shares)).astype(np.float64)
        numbers = column.to_numpy(dtype=np.float64)
        missing = np.isnan(numbers)
        codes = np.searchsorted(np.asarray(self.edges), numbers[~missing], side="left")
        counts = np.bincount(codes, minlength=len(self.shares)).astype(np.float64)
        counts[-1] = missing.sum()
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The reference of a model: its features' and its score's distribution over `rows` rows.

    Of several classes `score` is the text column `predicted`, the shares of
    the likeliest classes, and `classes` has the chance of each, as a number
    column `score.<class>`.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    score: ColumnProfile
    classes: tuple[ColumnProfile, ...] = ()

    def to_json(self) -> bytes:
        """Render the canonical JSON; `profile_from_json` reads it back."""
        return canonical_json(self)


def population_stability(reference: Sequence[float] | NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Measure how far a window's bins have moved from the reference's.

    PSI = sum of (current - reference) * ln(current / reference) over the bins,
    the symmetric Kullback-Leibler divergence (Siddiqi, Credit Risk Scorecards,
    2006). An empty bin counts as half a row, which keeps the index finite.

    Args:
        reference: Share of the reference in each bin, shape `(bins,)`, summing to 1.
        counts: Rows of the window in each bin, shape `(bins,)`.

    Returns:
        Population stability index, never negative: below 0.1 reads as stable,
        above 0.25 as drifted. NaN for a window with no rows.
    """
    total = counts.sum()
    if total == 0:
        return float("nan")
    least = 0.5 / total
    expected = np.maximum(np.asarray(reference, dtype=np.float64), least)
    current = np.maximum(counts / total, least)
    # A bin that is empty on both sides has nothing to say.
    both = (np.asarray(reference) > 0) | (counts > 0)
    return float(np.sum(((current - expected) * np.log(current / expected))[both]))


def profile_column(column: pd.Series, *, kind: str, parts: NDArray[np.int64] | None = None) -> ColumnProfile:
    """Freeze one column: ten quantile bins for a number, the most frequent values for text.

    Args:
        column: The reference's values.
        kind: "number" or "text".
        parts: Which comparable part of the reference each row belongs to, for
            `floor`; rows below 0 belong to none.
    """
    name = str(column.name)
    if kind == "text":
        present = column[column.notna() & (column != "")].astype(str)
        values = tuple(sorted(present.value_counts().index[:KNOWN_VALUES]))
        bins = ColumnProfile(name=name, kind=kind, values=values, shares=(0.0,) * (len(values) + 2))
    else:
        numbers = column.to_numpy(dtype=np.float64)
        numbers = numbers[~np.isnan(numbers)]
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        # Equal quantiles fall together where one value is frequent.
        edges = tuple(float(e) for e in np.unique(np.quantile(numbers, inner, method="lower"))) if len(numbers) else ()
        quantiles = tuple(float(q) for q in np.quantile(numbers, np.linspace(0, 1, GRID + 1))) if len(numbers) else ()
        bins = ColumnProfile(name=name, kind=kind, edges=edges, quantiles=quantiles, shares=(0.0,) * (len(edges) + 2))
    counts = bins.count(column)
    shares = counts / max(counts.sum(), 1.0)
    floor = 0.0
    if parts is not None:
        inside = [bins.count(column[parts == part]) for part in np.unique(parts[parts >= 0])]
        floor = max((population_stability(shares, part) for part in inside), default=0.0)
    return replace(bins, shares=tuple(float(s) for s in shares), floor=floor)


def profile(
    features: pd.DataFrame,
    score: Sequence[float] | NDArray[np.float64],
    *,
    text: Sequence[str],
    parts: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
) -> Profile:
    """Freeze the reference of a model from the features and scores of its training rows.

    Args:
        features: One row per training row, the model's columns only.
        score: The model's score of each row, shape `(len(features),)`, of
            several classes `(len(features), classes)`.
        text: Which columns hold text.
        classes: Names of the classes, in the order of their scores.
        parts: Which comparable part of the reference (say, which month) each
            row belongs to; their differences are each column's `floor`.
    """
    import pandas as pd

    kinds = {name: "text" if name in set(text) else "number" for name in features.columns}
    columns = tuple(profile_column(features[name], kind=kind, parts=parts) for name, kind in kinds.items())
    scores = np.asarray(score, dtype=np.float64)
    if scores.ndim == 1:
        answered = profile_column(pd.Series(scores, name=SCORE), kind="number", parts=parts)
        return Profile(rows=len(features), columns=columns, score=answered)
    if len(classes) != scores.shape[1]:
        raise ValueError(f"{scores.shape[1]} scores a row need as many classes, found {len(classes)}")
    called = pd.Series(np.asarray(classes, dtype=object)[np.argmax(scores, axis=1)], name=PREDICTED)
    chances = [pd.Series(scores[:, at], name=SCORE_PREFIX + name) for at, name in enumerate(classes)]
    return Profile(
        rows=len(features),
        columns=columns,
        score=profile_column(called, kind="text", parts=parts),
        classes=tuple(profile_column(each, kind="number", parts=parts) for each in chances),
    )


def profile_from_json(content: bytes | str) -> Profile:
    """Read a reference profile back from its canonical JSON."""
    fields = json.loads(content)
    return Profile(
        rows=fields["rows"],
        columns=tuple(_column(column) for column in fields["columns"]),
        score=_column(fields["score"]),
        classes=tuple(_column(column) for column in fields.get("classes", ())),
    )


def _column(fields: dict[str, Any]) -> ColumnProfile:
    values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in fields.items()}
    return ColumnProfile(**values)
