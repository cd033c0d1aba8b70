"""The training step: rows in, two sealed models and their evaluation out; trained once for each key.

A run that is killed after training, and a story that is told again, find what
they have trained by the run's key.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from baton.core.errors import IntegrityBroken, SourceMissing
from baton.features.durable import write_json
from baton.flows.run_record import evaluation_from
from baton.flows.sealed_model import score
from baton.flows.sealing import Learned, seal

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from baton.compose import Platform
    from baton.core.bundle import Bundle
    from baton.core.evaluation import Evaluation
    from baton.core.snapshot import Snapshot
    from baton.core.spec import ModelSpec
    from baton.packaging.reader import Contents
    from baton.training.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A challenger: the bundle to serve, the twin to judge, and the twin's holdout with its scores there."""

    bundle: Bundle
    twin: Contents
    evaluation: Evaluation
    holdout: pd.DataFrame
    holdout_start: datetime
    scores: NDArray[np.float64]
    rows: int

    @property
    def labels(self) -> NDArray[np.float64]:
        """The holdout's labels, 0 or 1."""
        return self.holdout["label"].to_numpy(dtype=np.float64)


def train(platform: Platform, spec: ModelSpec, snapshot: Snapshot, *, key: str, as_of: datetime) -> Trained:
    """Fit, measure and seal a challenger, or find the one that this key has trained before."""
    from baton.features.snapshot import frame
    from baton.training.split import split

    rows = frame(snapshot)
    parts = split(rows, spec, as_of=as_of)
    found = _found(platform, key, parts)
    if found is not None:
        return found
    learned = _learn(platform, spec, rows, parts, as_of=as_of)
    sealed = seal(platform, spec, snapshot, learned)
    made = {"bundle": sealed.bundle.digest, "twin": sealed.twin.digest, "rows": learned.refit.rows}
    write_json(_file(platform, key), {**made, "evaluation": learned.evaluation})
    fresh = _found(platform, key, parts)
    assert fresh is not None  # it has just been written
    return fresh


def _learn(platform: Platform, spec: ModelSpec, rows: pd.DataFrame, parts: Split, *, as_of: datetime) -> Learned:
    """Fit the twin without the holdout, measure it there, and refit on every known label."""
    from baton.training.evaluate import evaluate
    from baton.training.fit import fit
    from baton.training.split import known

    everything = known(rows, spec, as_of=as_of)
    # Two fits side by side, one thread each: a fit on two threads waits for
    # the slower one at every split, and on busy cores takes ten times as long.
    with ThreadPoolExecutor(platform.settings.fits) as pool:
        twin, refit = pool.map(lambda part: fit(spec, part, threads=1), (parts.train, everything))
    evaluation = evaluate(twin, parts.holdout, spec)
    return Learned(twin=twin, refit=refit, evaluation=evaluation, known=everything, holdout=parts.holdout)


def _found(platform: Platform, key: str, parts: Split) -> Trained | None:
    """Open what a key has trained, verified; None where it has trained nothing, or not all of it is whole."""
    from baton.packaging.reader import open_bundle, open_contents

    file = _file(platform, key)
    if not file.is_file():
        return None
    said = json.loads(file.read_bytes())
    try:
        twin = open_contents(platform.bundles / said["twin"])
        bundle = open_bundle(platform.bundles / said["bundle"])
    except (SourceMissing, IntegrityBroken):
        return None
    return Trained(
        bundle=bundle,
        twin=twin,
        evaluation=evaluation_from(said["evaluation"]),
        holdout=parts.holdout,
        holdout_start=parts.holdout_start,
        # The sealed twin is judged, not the fitted one: what is judged is what can be looked at later.
        scores=score(twin, parts.holdout),
        rows=said["rows"],
    )


def _file(platform: Platform, key: str) -> Path:
    return platform.folder / "trained" / f"{key}.json"
