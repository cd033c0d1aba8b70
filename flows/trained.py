"""The training step: rows in, two sealed models and their evaluation out; trained once for each key.

A run that is killed after training, and a story that is told again, find what
they have trained by the run's key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.digest import finite
from baton.core.errors import IntegrityBroken, ParityFailed, SourceMissing
from baton.features.durable import write_json, write_parquet
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
    from baton.training.tuning import Tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A challenger: the bundle to serve, the twin to judge, and the twin's holdout with everybody's scores there.

    `tuned` are the parameters that a search has found, and `trials` what it has tried; none where it was not asked for.
    `left_out` counts the groups of the holdout with rows in the past, which the twin has not seen, and those rows.
    """

    bundle: Bundle
    twin: Contents
    evaluation: Evaluation
    holdout: pd.DataFrame
    holdout_start: datetime | None
    scores: NDArray[np.float64]
    baselines: Mapping[str, NDArray[np.float64]]
    rows: int
    tuned: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    left_out: Mapping[str, int]

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
    refuse_before_fitting(spec)
    learned = _learn(platform, spec, rows, parts, as_of=as_of)
    sealed = seal(platform, spec, snapshot, learned)
    place = _file(platform, key)
    write_parquet(place.with_suffix(".parquet"), _columns(learned, parts.holdout))
    made = {"bundle": sealed.bundle.digest, "twin": sealed.twin.digest, "rows": learned.refit.rows}
    # JSON sorts names, and a person reads a trial's columns in their order.
    trials = [list(trial.items()) for trial in learned.trials]
    # Last, so that what it names is there.
    write_json(place, {**made, "tuned": learned.tuned, "trials": trials, "evaluation": learned.evaluation})
    fresh = _found(platform, key, parts)
    assert fresh is not None  # it has just been written
    return fresh


def refuse_before_fitting(spec: ModelSpec) -> None:
    """Refuse what can be known to fail before hours of fitting: an estimator that cannot be exported, an odd test.

    Raises:
        ParityFailed: The trainer's encoders or its estimator have no export.
        SpecInvalid: A declared model test cannot be made.
    """
    from baton.packaging.onnx_encoders import encodable
    from baton.packaging.onnx_models import exportable
    from baton.training.trainer import trainer_of
    from baton.validation.declared import refuse_impossible

    refuse_impossible(spec.tests, spec.features.names, spec.features.text, task=spec.task)
    steps = [step for _, step in trainer_of(spec).build(spec, threads=1).steps]
    why = encodable(steps[0], set(spec.features.text)) or exportable(steps[-1], task=spec.task)
    if why is not None:
        raise ParityFailed(
            what=f"what trainer {spec.training.trainer} makes cannot be served",
            why=why,
            fix="choose a trainer whose model can be exported; see docs/reference/trainers.md",
        )


def _learn(platform: Platform, spec: ModelSpec, rows: pd.DataFrame, parts: Split, *, as_of: datetime) -> Learned:
    """Fit the twin without the holdout, measure it there, and refit on every known label."""
    from baton.training.baselines import baselines
    from baton.training.evaluate import evaluate
    from baton.training.fit import fit
    from baton.training.split import known
    from baton.training.tuning import tune

    everything = known(rows, spec, as_of=as_of)
    search = tune(spec, parts.train, threads=1) if spec.training.tuning else None
    tuned = search.parameters if search else {}
    # Fits side by side, one thread each: a fit on two threads waits for the
    # slower one at every split, and on busy cores takes ten times as long.
    with ThreadPoolExecutor(platform.settings.fits) as pool:
        twin, refit = pool.map(lambda part: fit(spec, part, threads=1, parameters=tuned), (parts.train, everything))
    plain = baselines(spec, parts.train)
    return Learned(
        twin=twin,
        refit=refit,
        baselines=plain,
        tuned=tuned,
        trials=_rows(search) if search else (),
        evaluation=evaluate(twin, parts.holdout, spec, baselines=plain),
        train=parts.train,
        known=everything,
        holdout=parts.holdout,
    )


def _rows(search: Tuning) -> tuple[dict[str, Any], ...]:
    """Lay out a search's trials, one row each, the tried parameters between number and result."""
    return tuple(
        {
            "trial": trial.number,
            **trial.parameters,
            search.metric: None if trial.value is None else finite(trial.value),
            "seconds": round(trial.seconds, 2),
            "failure": trial.failure,
        }
        for trial in search.trials
    )


def _columns(learned: Learned, holdout: pd.DataFrame) -> pd.DataFrame:
    """Lay the baselines' scores side by side, one column for each class of several."""
    import pandas as pd

    scores = {name: baseline.scores(holdout) for name, baseline in learned.baselines.items()}
    table = {f"{name}/{place}": column for name, found in scores.items() for place, column in _split(found)}
    return pd.DataFrame(table)


def _split(scores: NDArray[np.float64]) -> list[tuple[str, NDArray[np.float64]]]:
    if scores.ndim == 1:
        return [("", scores)]
    return [(str(place), scores[:, place]) for place in range(scores.shape[1])]


def _baselines(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the baselines' scores back in the shape that they had."""
    import pandas as pd

    table = pd.read_parquet(path)
    names = dict.fromkeys(column.partition("/")[0] for column in table.columns)
    wide = {name: [column for column in table.columns if column.partition("/")[0] == name] for name in names}
    return {
        name: table[columns[0]].to_numpy() if columns == [f"{name}/"] else table[columns].to_numpy()
        for name, columns in wide.items()
    }


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
        plain = _baselines(file.with_suffix(".parquet"))
    except (SourceMissing, IntegrityBroken, OSError):
        return None
    return Trained(
        bundle=bundle,
        twin=twin,
        evaluation=evaluation_from(said["evaluation"]),
        holdout=parts.holdout,
        holdout_start=parts.holdout_start,
        # The sealed twin is judged, not the fitted one: what is judged is what can be looked at later.
        scores=score(twin, parts.holdout),
        baselines=plain,
        rows=said["rows"],
        tuned=said["tuned"],
        trials=tuple(dict(trial) for trial in said.get("trials", ())),
        left_out={"left_out_groups": parts.groups, "left_out_rows": parts.group_rows} if parts.groups else {},
    )


def _file(platform: Platform, key: str) -> Path:
    return platform.folder / "trained" / f"{key}.json"
