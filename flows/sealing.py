"""From two fits to two bundles: the refit that is served, and the twin that is judged.

The twin is trained without the holdout, so it can be judged there; the refit
is the same recipe on every known label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.bundle import Bundle, Field
from baton.flows.sealed_model import recipe
from baton.validation.purity import row_prints, write_prints

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from baton.compose import Platform
    from baton.core.evaluation import Evaluation
    from baton.core.outlook import Outlook
    from baton.core.snapshot import Snapshot
    from baton.core.spec import ModelSpec
    from baton.training.baselines import Baseline
    from baton.training.fit import Fitted

# The profile's comparable parts are months: shorter ones differ by weather alone.
PART_DAYS = 28
# Golden requests come from the holdout.
GOLDEN_ROWS = 24
# A reference of this many rows, evenly spread, shows the same distribution as all.
REFERENCE_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A challenger's twin, trained on `train` and measured on the holdout, and its refit on all known rows."""

    twin: Fitted
    refit: Fitted
    baselines: Mapping[str, Baseline]
    tuned: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    evaluation: Evaluation
    train: pd.DataFrame
    known: pd.DataFrame
    holdout: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The refit's bundle, which is served, and the twin's, which later challengers are judged against."""

    bundle: Bundle
    twin: Bundle


def seal(platform: Platform, spec: ModelSpec, snapshot: Snapshot, learned: Learned) -> Sealed:
    """Export twin and refit with their parity proofs, and seal each into a bundle."""
    seen = {"snapshot": snapshot.digest, "as_of": snapshot.as_of}
    with ThreadPoolExecutor(1) as pool:
        # Hashing rows leaves the interpreter to others, as scoring them does.
        prints = [pool.submit(row_prints, rows, spec.features.names) for rows in (learned.train, learned.known)]
        # Nobody watches a twin: its reference need only be there.
        twin = _seal(platform, spec, learned, learned.twin, reference=learned.holdout, facts={**seen, "part": "twin"})
        reference = learned.known.iloc[:: -(-len(learned.known) // REFERENCE_ROWS)]
        whole = {**seen, "part": "refit", "twin": twin.digest}
        bundle = _seal(platform, spec, learned, learned.refit, reference=reference, facts=whole)
    for sealed, of_its_rows in zip((twin, bundle), prints, strict=True):
        write_prints(training_rows(platform, sealed.digest), of_its_rows.result())
    return Sealed(bundle=bundle, twin=twin)


def training_rows(platform: Platform, bundle: str) -> Path:
    """Where the hashes of a bundle's training rows are kept."""
    return platform.folder / "training_rows" / f"{bundle}.parquet"


def _seal(
    platform: Platform,
    spec: ModelSpec,
    learned: Learned,
    fitted: Fitted,
    *,
    reference: pd.DataFrame,
    facts: Mapping[str, Any],
) -> Bundle:
    from baton.core.profile import profile
    from baton.packaging.seal import seal as seal_bundle
    from baton.training.fit import predict
    from baton.validation.golden import golden_rows

    names = list(spec.features.names)
    head = platform.ledger.head(spec.name)
    holdout = learned.holdout[names]
    held = predict(fitted, learned.holdout)
    scores = held if reference is learned.holdout else predict(fitted, reference)
    return seal_bundle(
        platform.folder,
        model=spec.name,
        model_digest=fitted.digest,
        pipeline=fitted.pipeline,
        fields=fields_of(spec, learned.known),
        profile=profile(
            reference[names],
            scores,
            text=spec.features.text,
            parts=_parts(reference),
            days=_days(spec, reference),
            classes=fitted.classes,
            outlook=_outlook(spec, learned, held if fitted is learned.twin else None),
        ),
        holdout=holdout,
        golden=holdout.iloc[golden_rows(holdout, held, text=spec.features.text, count=GOLDEN_ROWS)],
        task=spec.task,
        classes=fitted.classes,
        calibration=fitted.calibration,
        epoch=head.epoch if head else 0,
        signing_key=platform.settings.signing_key,
        facts={
            **facts,
            "trained_from": fitted.trained_from,
            "trained_until": fitted.trained_until,
            "rows": fitted.rows,
            "base_rate": fitted.base_rate,
            "parameters": fitted.parameters,
            "config": spec.digest,
            "recipe": recipe(spec),
            "metrics": {name: measure.value for name, measure in learned.evaluation.metrics.items()},
        },
    )


def fields_of(spec: ModelSpec, rows: pd.DataFrame) -> tuple[Field, ...]:
    """Give the columns that the model takes, text with every value that it has met."""
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


def _outlook(spec: ModelSpec, learned: Learned, held: NDArray[np.float64] | None) -> Outlook | None:
    """Measure calibration by day where neither fit has learnt: the twin's, on the holdout, stands for the refit's."""
    from baton.training.fit import predict
    from baton.training.outlook import outlook

    if spec.task != "binary":
        return None
    scores = predict(learned.twin, learned.holdout) if held is None else held
    labels = learned.holdout["label"].to_numpy(dtype=np.float64)
    return outlook(labels, scores, _days(spec, learned.holdout))


def _days(spec: ModelSpec, rows: pd.DataFrame) -> NDArray[np.datetime64]:
    """Give the day of each row in the project's zone."""
    local = rows["moment"].dt.tz_convert(spec.prediction.timezone).dt.tz_localize(None)
    days: NDArray[np.datetime64] = local.to_numpy().astype("datetime64[D]")
    return days
