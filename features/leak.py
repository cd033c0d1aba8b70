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
from baton.core.spec import ModelSpec
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
    ordered = frame.sort_values(["moment", "id"], ignore_index=True)
    drawn = np.random.default_rng(spec.seed).integers(0, len(ordered), size=max(moments - 1, 0))
    found: dict[str, int] = {}
    for last in sorted({*drawn.tolist(), len(ordered) - 1}):
        sample = ordered.iloc[max(0, last + 1 - rows // moments) : last + 1]
        now = sample["moment"].iloc[-1]
        for name, count in leaks(sample, known_at(now, spec, tables, definitions), names=spec.features.names).items():
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
    now: pd.Timestamp, spec: ModelSpec, tables: Mapping[str, pd.DataFrame], definitions: Definitions
) -> pd.DataFrame:
    """Compute the features of every request row as they stood at `now` or at the row's own earlier moment.

    This is the reference: slow, by pandas' own `merge_asof`, from rows known by
    `now` alone. The index is the id.
    """
    # Known at the moment itself still counts, and `as_of` is exclusive.
    as_of = now + pd.Timedelta(1, unit="us")
    known = {
        name: table[table[spec.source.tables[name].known_time] < as_of].reset_index(drop=True)
        for name, table in tables.items()
    }
    moment = spec.prediction.moment
    rows = definitions.request(known)
    recent = rows[rows[moment] <= now].sort_values(moment, kind="stable").tail(ROWS)
    for name, values in definitions.views(known, as_of=as_of.to_pydatetime()).items():
        view = spec.features.views[name]
        history = values[values[view.entity].isin(recent[view.entity])]
        recent = pd.merge_asof(
            recent,
            history.sort_values("event_timestamp", kind="stable").rename(columns={"event_timestamp": f"_{name}"}),
            left_on=moment,
            right_on=f"_{name}",
            by=view.entity,
            tolerance=None if view.ttl is None else pd.Timedelta(view.ttl),
        )
    return recent.set_index(spec.prediction.id)


def leaks(rows: pd.DataFrame, reference: pd.DataFrame, *, names: tuple[str, ...]) -> dict[str, int]:
    """Count, by column, the rows whose feature is not the reference's; columns that agree are left out."""
    expected = reference.reindex(rows["id"])
    counts = {}
    for name in names:
        if pd.api.types.is_numeric_dtype(rows[name]):
            one, other = rows[name].to_numpy(np.float64), expected[name].to_numpy(np.float64)
            differs = ~np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        else:
            differs = (rows[name].fillna("").to_numpy() != expected[name].fillna("").to_numpy()).astype(np.bool_)
        if differs.any():
            counts[name] = int(differs.sum())
    return counts
