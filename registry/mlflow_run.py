"""A run in MLflow's words: metrics, parameters, tags, dataset and model file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json, plain
from baton.core.run import Run
from baton.registry.model_card import QUESTION, model_card

KEY_TAG = "baton.key"
STATUS_TAG = "baton.status"
# Whom a page names as a run's author and source.
AUTHOR = "baton"
# MLflow keeps 36 characters of a dataset's digest.
DATASET_DIGEST = 36


def metrics(run: Run) -> dict[str, float]:
    """Give every figure of the evaluation and of the verdict that is a number, what a person compares first."""
    evaluation, verdict = run.evaluation, run.verdict
    figures: dict[str, float | None] = {name: measure.value for name, measure in evaluation.metrics.items()}
    gains = [check for check in verdict.checks if check.low is not None]
    for check in gains[-1:]:
        figures |= {"gain": check.observed, "gain_low": check.low, "gain_high": check.high}
    for name, measure in evaluation.metrics.items():
        figures[f"{name}_standard_error"] = measure.standard_error
    for baseline, values in evaluation.baselines.items():
        figures |= {f"{baseline}_{name}": value for name, value in values.items()}
    figures |= {
        "holdout_rows": float(evaluation.rows),
        "holdout_blocks": float(evaluation.blocks),
        "latency_ms": evaluation.latency_ms,
        "size_bytes": float(evaluation.size_bytes),
    }
    return {name: float(value) for name, value in figures.items() if value is not None and math.isfinite(value)}


def parameters(run: Run) -> dict[str, str]:
    """Give the parameters as text."""
    return {
        name: value if isinstance(value, str) else json.dumps(plain(value)) for name, value in run.parameters.items()
    }


def run_tags(run: Run) -> dict[str, str]:
    """Give what finds a run again and what its page shows, what a person reads first.

    The question and the verdict's reason stand in the card, where there is room.
    """
    commit = run.tags.get("commit")
    return {
        **version_tags(run),
        STATUS_TAG: "logging",
        **{name: value for name, value in run.tags.items() if name != QUESTION},
        "baton.verdict": run.verdict.id,
        "baton.bundle": run.bundle.digest,
        "baton.model": run.bundle.model_digest,
        "baton.snapshot": run.snapshot.digest,
        "mlflow.note.content": model_card(run),
        "mlflow.user": AUTHOR,
        "mlflow.source.name": AUTHOR,
        "mlflow.source.type": "JOB",
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def version_tags(run: Run) -> dict[str, str]:
    """Give the verdict and what finds the version again; the list of versions shows every tag of every version."""
    return {"baton.decision": run.verdict.decision.value, KEY_TAG: run.key}


def dataset_input(run: Run) -> Any:
    """Give the snapshot as the run's input dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    snapshot = run.snapshot
    span = {"rows": snapshot.rows, "start": snapshot.start, "end": snapshot.end, "as_of": snapshot.as_of}
    dataset = Dataset(
        name=f"snapshot of {snapshot.as_of:%Y-%m-%d}",
        digest=snapshot.digest[:DATASET_DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(snapshot.path)}),
        schema=json.dumps({"mlflow_colspec": signature(run).inputs.to_dict()}),
        profile=json.dumps(plain(span)),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag(key="mlflow.data.context", value="training")])


def signature(run: Run) -> Any:
    """Give what the model takes and gives, as MLflow declares it."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {"number": DataType.double, "text": DataType.string}
    takes = [ColSpec(type=kinds[field.kind], name=field.name, required=field.required) for field in run.bundle.fields]
    return ModelSignature(inputs=Schema(takes), outputs=Schema([ColSpec(type=DataType.double, name="score")]))


def write_files(run: Run, folder: Path) -> None:
    """Write what the run's page holds as files: evaluation, verdict and figures."""
    (folder / "verdict.json").write_bytes(run.verdict.to_json())
    (folder / "evaluation.json").write_bytes(canonical_json(_finite(plain(run.evaluation))))
    figures = folder / "figures"
    figures.mkdir()
    for title, path in run.figures.items():
        (figures / f"{title}{path.suffix}").write_bytes(path.read_bytes())


def write_model(run: Run, folder: Path, *, run_id: str, model_id: str) -> None:
    """Write MLflow's model file beside which the bundle is logged.

    Its only flavor names the bundle: MLflow shows the model and can neither
    load nor serve it, since what is served is verified first.
    """
    from mlflow.models import Model

    flavor = {"bundle": "bundle", "digest": run.bundle.digest, "model_digest": run.bundle.model_digest}
    model = Model(
        artifact_path="model", run_id=run_id, model_id=model_id, flavors={"baton": flavor}, signature=signature(run)
    )
    model.save(str(folder / "MLmodel"))


def _finite(value: Any) -> Any:
    """Put None where a number is NaN or infinite, which JSON could not carry."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
