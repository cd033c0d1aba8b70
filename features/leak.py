"""The join audit: whether a training table holds only what was known at each row's moment.

A wrong join cannot be seen in its result, which is why it ships. It can be
seen by standing at a few moments of the past: features computed from nothing
but the rows that had landed by then must be the features that the table holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from baton.core.errors import DataRefused, listed
from baton.core.spec import ModelSpec, ViewSpec
from baton.features.row_order import by_moment
from baton.features.source import Definitions

# Enough to find a join that is wrong in 1 row of 50 with 98 % probability.
ROWS = 200
# The newest and one drawn: each costs as much as computing all views once.
MOMENTS = 2
# Rounding of sums, far below any difference that a join makes.
TOLERANCE = 1e-5


def audit_join(
    frame: pd.DataFrame,
    spec: ModelSpec,
    tables: Mapping[str, pd.DataFrame],
    definitions: Definitions,
    *,
    moments: int = MOMENTS,
    rows: int = ROWS,
) -> int:
    """Recompute a sample of rows from what had landed by their moment, and refuse the table if any differs.

    The newest moment of the table is always among the sample, so that views
    which were published too early are found too.

    Args:
        frame: The joined table with columns `id`, `moment` and every feature.
        spec: The project; its seed draws the sample.
        tables: The landed rows of each table.
        definitions: The project's feature definitions.
        moments: How many moments of the past to stand at.
        rows: How many rows to recompute in all, the newest before each moment.

    Returns:
        How many rows were recomputed.

    Raises:
        DataRefused: A feature differs; names each with the number of rows.
    """
    ordered = by_moment(frame)
    drawn = np.random.default_rng(spec.seed).integers(0, len(ordered), size=max(moments - 1, 0))
    found: dict[str, int] = {}
    for last in sorted({*drawn.tolist(), len(ordered) - 1}):
        sample = ordered.iloc[max(0, last + 1 - rows // moments) : last + 1]
        now = sample["moment"].iloc[-1]
        reference = known_at(now, spec, tables, definitions, ids=sample["id"])
        for name, count in leaks(sample, reference, names=spec.features.names).items():
            found[name] = found.get(name, 0) + count
    if found:
        columns = [f"{name} in {count} rows" for name, count in found.items()]
        raise DataRefused(
            what="the join is wrong: features are not what was known at the prediction moment",
            why=f"recomputed from what had landed by then, {listed(columns)} differ",
            fix="join as of the prediction moment, on the time at which a value became known",
        )
    return min(len(ordered), moments * (rows // moments))


def known_at(
    now: pd.Timestamp,
    spec: ModelSpec,
    tables: Mapping[str, pd.DataFrame],
    definitions: Definitions,
    *,
    ids: pd.Series,
) -> pd.DataFrame:
    """Compute the features of some rows from nothing but what was known by `now`, each as of its own moment.

    This is the reference: slow, and joined by pandas' own `merge_asof`. The
    index is the id; a row that was not known by `now` is not in it.
    """
    # Known at the moment itself still counts, and `as_of` is exclusive.
    as_of = now + pd.Timedelta(1, unit="us")
    known = {name: _before(table, as_of, spec.source.tables[name].known_time) for name, table in tables.items()}
    name, moment, features = spec.prediction.id, spec.prediction.moment, spec.features
    rows = definitions.request(known)
    rows = rows.loc[rows[name].isin(ids), list(dict.fromkeys([name, moment, *features.entities, *features.request]))]
    rows = rows.sort_values(moment, kind="stable")
    views = definitions.views(known, as_of=as_of.to_pydatetime())
    for view, values in views.items():
        rows = _looked_up(rows, values, features.views[view], moment=moment)
    return rows.set_index(name)


def _before(table: pd.DataFrame, as_of: pd.Timestamp, known_time: str) -> pd.DataFrame:
    """Copy the rows known before a moment; landed rows are in order, and a stretch of them is quickly copied."""
    known = table[known_time]
    if known.is_monotonic_increasing:
        return table.iloc[: int(known.searchsorted(as_of, side="left"))].reset_index(drop=True)
    return table[known < as_of].reset_index(drop=True)


def _looked_up(rows: pd.DataFrame, values: pd.DataFrame, view: ViewSpec, *, moment: str) -> pd.DataFrame:
    columns = [view.entity, "event_timestamp", *view.values]  # noqa: PD011 - a field of the spec, not a frame
    history = values.loc[values[view.entity].isin(rows[view.entity]), columns]
    joined = pd.merge_asof(
        rows,
        history.sort_values("event_timestamp", kind="stable"),
        left_on=moment,
        right_on="event_timestamp",
        by=view.entity,
        tolerance=None if view.ttl is None else pd.Timedelta(view.ttl),
    )
    return joined.drop(columns="event_timestamp") if moment != "event_timestamp" else joined


def leaks(rows: pd.DataFrame, reference: pd.DataFrame, *, names: tuple[str, ...]) -> dict[str, int]:
    """Count, by column, the rows whose feature is not the reference's; columns that agree are left out."""
    known = rows["id"].isin(reference.index)
    # A row that was not there at its own moment could not have been predicted.
    counts = {} if known.all() else {"the row itself": int((~known).sum())}
    rows, expected = rows[known], reference.loc[rows["id"][known]]
    for name in names:
        if pd.api.types.is_numeric_dtype(rows[name]):
            one, other = rows[name].to_numpy(np.float64), expected[name].to_numpy(np.float64)
            differs = ~np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        else:
            differs = (rows[name].fillna("").to_numpy() != expected[name].fillna("").to_numpy()).astype(np.bool_)
        if differs.any():
            counts[name] = int(differs.sum())
    return counts
