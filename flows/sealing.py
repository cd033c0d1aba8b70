"""From a fitted challenger to two bundles: the refit that is served, and the twin that is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.bundle import Bundle, Field

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.compose import Platform
    from baton.core.snapshot import Snapshot
    from baton.core.spec import ModelSpec
    from baton.flows.challenge import Learned
    from baton.training.fit import Fitted

# The profile's comparable parts are months: shorter ones differ by weather alone.
PART_DAYS = 28
# Evaluated and golden rows of a bundle come from the holdout, evenly spread.
GOLDEN_ROWS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The refit's bundle, which is served, and the twin's, which later challengers are judged against."""

    bundle: Bundle
    twin: Bundle


def seal(platform: Platform, spec: ModelSpec, snapshot: Snapshot, learned: Learned) -> Sealed:
    """Export twin and refit with their parity proofs, and seal each into a bundle."""
    twin = _seal(platform, spec, learned, learned.twin, facts={"part": "twin", "snapshot": snapshot.digest})
    bundle = _seal(
        platform,
        spec,
        learned,
        learned.refit,
        facts={
            "part": "refit",
            "snapshot": snapshot.digest,
            "as_of": snapshot.as_of,
            "twin": twin.digest,
            "twin_trained_until": learned.twin.trained_until,
        },
    )
    return Sealed(bundle=bundle, twin=twin)


def _seal(platform: Platform, spec: ModelSpec, learned: Learned, fitted: Fitted, *, facts: Mapping[str, Any]) -> Bundle:
    from baton.core.profile import profile
    from baton.flows.challenge import recipe
    from baton.packaging.seal import seal as seal_bundle
    from baton.training.fit import predict

    names = list(spec.features.names)
    return seal_bundle(
        platform.folder,
        model=spec.name,
        model_digest=fitted.digest,
        pipeline=fitted.pipeline,
        fields=_fields(spec, learned.known),
        profile=profile(
            learned.known[names],
            predict(fitted, learned.known).tolist(),
            text=spec.features.text,
            parts=_parts(learned.known),
        ),
        holdout=learned.holdout[names],
        golden=learned.holdout[names].iloc[:: max(len(learned.holdout) // GOLDEN_ROWS, 1)].head(GOLDEN_ROWS),
        facts={
            **facts,
            "trained_from": fitted.trained_from,
            "trained_until": fitted.trained_until,
            "rows": fitted.rows,
            "base_rate": fitted.base_rate,
            "config": spec.digest,
            "recipe": recipe(spec),
            "metrics": {name: measure.value for name, measure in learned.evaluation.metrics.items()},
        },
    )


def _fields(spec: ModelSpec, rows: pd.DataFrame) -> tuple[Field, ...]:
    text = set(spec.features.text)
    return tuple(
        Field(name=name, kind="text", known=tuple(sorted(set(rows[name]) - {""})))
        if name in text
        else Field(name=name, kind="number")
        for name in spec.features.names
    )


def _parts(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Number the comparable parts of the reference, newest 0; a part cut short at the old end belongs to none."""
    moments = rows["moment"]
    days = ((moments.max() - moments).dt.total_seconds() // 86_400).to_numpy(dtype=np.int64)
    parts = days // PART_DAYS
    whole = (int(days.max()) + 1) // PART_DAYS
    return np.where(parts < whole, parts, -1)
