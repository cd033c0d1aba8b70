"""The reference that a window is compared with, frozen when a model is sealed.

A number is kept as quantile edges with open ends and the share of rows in each
bin; text as the share of each known value. Missing values have a bin of their
own, and how days differ without drift is kept beside them, so a window can be
judged without the training data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import canonical_json
from baton.core.outlook import Outlook
from baton.core.variation import Variation, variation

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BINS = 10
# Enough points to draw a distribution and to measure KS to 0.005.
GRID = 200
KNOWN_VALUES = 200
# Known values rarer than this are judged together: with a row or two each they would be all noise.
RARE = 0.01
# A text with fewer rows a value than this, or whole numbers of which hardly any comes twice, name rows: they are ids.
ROWS_PER_VALUE = 5
UNIQUE = 0.95
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
    the whole: what the column shows when nothing has drifted. `outside` is the
    share beyond `span`, `distinct` the number of different values, `id_like`
    whether they name rows, and `variation` how days differ, where they are known.
    """

    name: str
    kind: str  # "number" or "text"
    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    floor: float = 0.0
    outside: float = 0.0
    distinct: int = 0
    id_like: bool = False
    variation: Variation | None = None

    @property
    def span(self) -> tuple[float, float] | None:
        """The middle 99 % of a number; beyond it a value counts as outside, whatever one absurd row was."""
        return (self.quantiles[1], self.quantiles[-2]) if self.quantiles else None

    @property
    def judged(self) -> NDArray[np.int64]:
        """The judged bin of each bin of `shares`: rare known values share one, and all other bins are their own."""
        places = np.arange(len(self.shares))
        if self.kind == "text":
            rare = (np.asarray(self.shares) < RARE) & (places < len(self.values))
            places = np.where(rare, len(self.shares), places)
        return np.unique(places, return_inverse=True)[1].astype(np.int64)

    def pooled(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up counts or shares, shape `(..., bins)`, over the bins that are judged together."""
        places = self.judged
        sums = np.zeros((*counts.shape[:-1], int(places.max()) + 1))
        for place, bin_ in enumerate(places):
            sums[..., bin_] += counts[..., place]
        return sums

    @property
    def missing(self) -> float:
        """Share of rows with no value, 0-1."""
        return self.shares[-1]

    def codes(self, column: pd.Series) -> NDArray[np.int64]:
        """Give the bin of each row, in the order of `shares`, missing last."""
        import pandas as pd

        if self.kind == "text":
            text = column.fillna("").astype(str)
            codes = pd.Index(self.values).get_indexer(pd.Index(text))
            codes = np.where(codes < 0, len(self.values), codes)
            return np.where((text == "").to_numpy(), len(self.values) + 1, codes).astype(np.int64)
        numbers = column.to_numpy(dtype=np.float64)
        codes = np.searchsorted(np.asarray(self.edges), numbers, side="left")
        return np.where(np.isnan(numbers), len(self.edges) + 1, codes).astype(np.int64)

    def count(self, column: pd.Series) -> NDArray[np.float64]:
        """Count a window's rows in the same bins as `shares`, missing last."""
        return np.bincount(self.codes(column), minlength=len(self.shares)).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The reference of a model: its features' and its score's distribution over `rows` rows.

    Of several classes `score` is the text column `predicted`, the shares of
    the likeliest classes, and `classes` has the chance of each, as a number
    column `score.<class>`. `outlook` is how well the score is calibrated, of two classes.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    score: ColumnProfile
    classes: tuple[ColumnProfile, ...] = ()
    outlook: Outlook | None = None

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


def profile_column(
    column: pd.Series,
    *,
    kind: str,
    parts: NDArray[np.int64] | None = None,
    days: NDArray[np.datetime64] | None = None,
) -> ColumnProfile:
    """Freeze one column: ten quantile bins for a number, the most frequent values for text.

    Args:
        column: The reference's values.
        kind: "number" or "text".
        parts: Which comparable part of the reference each row belongs to, for
            `floor`; rows below 0 belong to none.
        days: The day of each row, for `variation`.
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
        if edges and edges[0] == numbers.min():
            # Below the least value is another place than at it, where it is frequent.
            edges = (float(np.nextafter(edges[0], -np.inf)), *edges)
        quantiles = tuple(float(q) for q in np.quantile(numbers, np.linspace(0, 1, GRID + 1))) if len(numbers) else ()
        bins = ColumnProfile(name=name, kind=kind, edges=edges, quantiles=quantiles, shares=(0.0,) * (len(edges) + 2))
    counts = bins.count(column)
    shares = counts / max(counts.sum(), 1.0)
    bins = replace(bins, shares=tuple(float(s) for s in shares), **_identity(column, kind))
    bins = replace(bins, outside=float(_outside(bins, column).mean()) if len(column) else 0.0)
    floor = 0.0
    if parts is not None:
        inside = [bins.pooled(bins.count(column[parts == part])) for part in np.unique(parts[parts >= 0])]
        floor = max((population_stability(bins.pooled(shares), part) for part in inside), default=0.0)
    return replace(bins, floor=floor, variation=None if days is None else _variation(bins, column, days))


def profile(
    features: pd.DataFrame,
    score: Sequence[float] | NDArray[np.float64],
    *,
    text: Sequence[str],
    parts: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    days: NDArray[np.datetime64] | None = None,
    outlook: Outlook | None = None,
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
        days: The day of each row, as `datetime64[D]`; how days differ is each
            column's `variation`.
        outlook: How well the score is calibrated on rows that the model has not seen.
    """
    import pandas as pd

    blocks: dict[str, Any] = {"parts": parts, "days": days}
    kinds = {name: "text" if name in set(text) else "number" for name in features.columns}
    columns = tuple(profile_column(features[name], kind=kind, **blocks) for name, kind in kinds.items())
    scores = np.asarray(score, dtype=np.float64)
    if scores.ndim == 1:
        answered = profile_column(pd.Series(scores, name=SCORE), kind="number", **blocks)
        return Profile(rows=len(features), columns=columns, score=answered, outlook=outlook)
    if len(classes) != scores.shape[1]:
        raise ValueError(f"{scores.shape[1]} scores a row need as many classes, found {len(classes)}")
    called = pd.Series(np.asarray(classes, dtype=object)[np.argmax(scores, axis=1)], name=PREDICTED)
    chances = [pd.Series(scores[:, at], name=SCORE_PREFIX + name) for at, name in enumerate(classes)]
    return Profile(
        rows=len(features),
        columns=columns,
        score=profile_column(called, kind="text", **blocks),
        classes=tuple(profile_column(each, kind="number", **blocks) for each in chances),
    )


def profile_from_json(content: bytes | str) -> Profile:
    """Read a reference profile back from its canonical JSON."""
    fields = json.loads(content)
    return Profile(
        rows=fields["rows"],
        columns=tuple(_column(column) for column in fields["columns"]),
        score=_column(fields["score"]),
        classes=tuple(_column(column) for column in fields.get("classes", ())),
        outlook=_outlook(fields.get("outlook")),
    )


def _outlook(fields: dict[str, Any] | None) -> Outlook | None:
    if fields is None:
        return None
    return Outlook(**{**fields, "shared": tuple(fields["shared"]), "error": tuple(fields["error"])})


def _column(fields: dict[str, Any]) -> ColumnProfile:
    values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in fields.items()}
    varied = values.pop("variation", None)
    if varied is not None:
        weekdays = tuple(tuple(shares) for shares in varied["weekdays"])
        varied = Variation(**{**varied, "weekdays": weekdays, "weekday_days": tuple(varied["weekday_days"])})
    return ColumnProfile(**values, variation=varied)


def _identity(column: pd.Series, kind: str) -> dict[str, Any]:
    """Say how many different values there are, and whether they name rows."""
    present = column[column.notna() & (column != "")] if kind == "text" else column.dropna()
    distinct = int(present.nunique())
    if kind == "text":
        return {"distinct": distinct, "id_like": distinct > max(KNOWN_VALUES, len(present) / ROWS_PER_VALUE)}
    numbers = present.to_numpy(dtype=np.float64)
    whole = len(numbers) > KNOWN_VALUES and bool((numbers == np.round(numbers)).all())
    return {"distinct": distinct, "id_like": whole and distinct >= UNIQUE * len(numbers)}


def _outside(bins: ColumnProfile, column: pd.Series) -> NDArray[np.bool_]:
    if bins.kind == "text" or bins.span is None:
        return np.zeros(len(column), dtype=np.bool_)
    numbers = column.to_numpy(dtype=np.float64)
    low, high = bins.span
    beyond: NDArray[np.bool_] = (numbers < low) | (numbers > high)
    return beyond


def _variation(bins: ColumnProfile, column: pd.Series, days: NDArray[np.datetime64]) -> Variation:
    names, of_day = np.unique(days.astype("datetime64[D]"), return_inverse=True)
    places = of_day * len(bins.shares) + bins.codes(column)
    counts = np.bincount(places, minlength=len(names) * len(bins.shares)).reshape(len(names), -1).astype(np.float64)
    outside = np.bincount(of_day, weights=_outside(bins, column), minlength=len(names)).astype(np.float64)
    # The first day of 1970 was a Thursday.
    weekdays = (names.astype(np.int64) + 3) % 7
    return variation(bins.pooled(counts), weekdays, missing=counts[:, -1], outside=outside)
