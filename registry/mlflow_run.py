"""A run in MLflow's words: metrics, parameters, tags, tables, dataset and model file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json, plain
from baton.core.run import Run
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.mlflow_words import check_tag, one_line, without_markup
from baton.registry.model_card import QUESTION, model_card
from baton.registry.verdict_text import verdict_line

KEY_TAG = "baton.key"
STATUS_TAG = "baton.status"
LOGGING, REGISTERED, ABANDONED = "logging", "registered", "abandoned"
VERDICT_TAG = "baton.verdict"
BUNDLE_TAG = "baton.bundle"
DECISION_TAG = "baton.decision"
REASON_TAG = "baton.reason"
# Whom a page names as a run's author and source.
AUTHOR = "baton"
# MLflow keeps 36 characters of a dataset's digest, 250 of a name, 6,000 of a parameter.
DATASET_DIGEST = 36
LONGEST_NAME = 250
LONGEST_PARAMETER = 6_000
# What MLflow takes in the name of a metric or a parameter.
NOT_IN_NAMES = re.compile(r"[^\w ./-]", re.ASCII)
# Of what decides between champion and challenger, the strictest first.
COMPARISONS = ("proven_better", "not_worse", "better_on_average", "beats_constant")
# Marks a file as a table, which MLflow then shows as one.
TABLES_TAG = "mlflow.loggedArtifacts"


def metrics(run: Run) -> dict[str, float]:
    """Give every figure of the evaluation and of the verdict that is a number, what a person compares first."""
    evaluation, verdict = run.evaluation, run.verdict
    figures: dict[str, float | None] = {name: measure.value for name, measure in evaluation.metrics.items()}
    decisive = _comparison(verdict)
    if decisive is not None:
        figures |= {"gain": decisive.observed, "gain_low": decisive.low, "gain_high": decisive.high}
    for name, measure in evaluation.metrics.items():
        figures[f"{name}_standard_error"] = measure.standard_error
    for baseline, values in evaluation.baselines.items():
        figures |= {f"{baseline}_{name}": value for name, value in values.items()}
    figures |= {
        "holdout_rows": float(evaluation.rows),
        "holdout_blocks": float(evaluation.blocks),
        "latency_ms": evaluation.latency_ms,
        "size_bytes": float(evaluation.size_bytes),
        **{f"checks_{outcome.value}": float(count) for outcome, count in _counts(verdict).items()},
    }
    known = {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}
    return {_name(name): float(value) for name, value in known.items()}


def parameters(run: Run) -> dict[str, str]:
    """Give the parameters as text."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(plain(value)) for name, value in run.parameters.items()
    }
    return {_name(name): one_line(text, longest=LONGEST_PARAMETER) for name, text in texts.items()}


def run_name(run: Run) -> str:
    """Give the name that heads the run's page."""
    return one_line(run.name, longest=LONGEST_NAME)


def run_tags(run: Run) -> dict[str, str]:
    """Give what finds a run again and what its page shows, what a person reads first.

    The question and the verdict's reason stand in the card, where there is room.
    """
    told = {check_tag(name): one_line(value) for name, value in run.tags.items() if name != QUESTION}
    # A commit that a page can link to; `baton.commit` says whether there were changes besides.
    commit = told.get("baton.commit", "").removesuffix("+changes")
    # Nothing that a caller passes takes the place of what was measured.
    return {
        **told,
        **version_tags(run),
        STATUS_TAG: LOGGING,
        "baton.model": run.bundle.model_digest,
        "baton.snapshot": run.snapshot.digest,
        TABLES_TAG: json.dumps([{"path": name, "type": "table"} for name in tables(run)]),
        "mlflow.note.content": model_card(run),
        "mlflow.user": AUTHOR,
        "mlflow.source.name": AUTHOR,
        "mlflow.source.type": "JOB",
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def version_tags(run: Run) -> dict[str, str]:
    """Give the verdict, why, and what finds the version again; the list of versions shows every tag."""
    return {**tags_of_verdict(run.verdict), BUNDLE_TAG: run.bundle.digest, KEY_TAG: run.key}


def tags_of_verdict(verdict: Verdict) -> dict[str, str]:
    """Give what changes where a version is judged again."""
    return {
        DECISION_TAG: verdict.decision.value,
        REASON_TAG: without_markup(one_line(verdict_line(verdict).partition(": ")[2])),
        VERDICT_TAG: verdict.id,
    }


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
    gives = [ColSpec(type=kinds[kind], name=name) for name, kind in _answers(run).items()]
    return ModelSignature(inputs=Schema(takes), outputs=Schema(gives))


def tables(run: Run) -> dict[str, dict[str, Any]]:
    """Give what the run's page shows as tables: every check, the metrics beside the baselines, every slice, its own."""
    evaluation, baselines = run.evaluation, run.evaluation.baselines
    checks = [
        [c.name, c.outcome.value, c.observed, c.required, c.low, c.high, one_line(c.detail)] for c in run.verdict.checks
    ]
    metrics_of = [
        [name, measure.value, measure.standard_error, *(values.get(name) for values in baselines.values())]
        for name, measure in evaluation.metrics.items()
    ]
    slices = [[p.column, p.value, p.rows, p.measure.value, p.measure.standard_error] for p in evaluation.slices]
    own = {title: rows for title, rows in run.tables.items() if rows}
    return {
        **{f"{_name(t)}.json": _table(list(rows[0]), [list(row.values()) for row in rows]) for t, rows in own.items()},
        "checks.json": _table(["check", "outcome", "observed", "required", "low", "high", "finding"], checks),
        "metrics.json": _table(["metric", "value", "standard error", *baselines], metrics_of),
        "slices.json": _table(["column", "value", "rows", run.verdict.metric, "standard error"], slices),
    }


def write_files(run: Run, folder: Path) -> None:
    """Write what the run's page holds as files: evaluation, verdict, tables and figures."""
    (folder / "verdict.json").write_bytes(run.verdict.to_json())
    (folder / "evaluation.json").write_bytes(canonical_json(_finite(plain(run.evaluation))))
    for name, table in tables(run).items():
        (folder / name).write_bytes(canonical_json(table))
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


def _comparison(verdict: Verdict) -> Check | None:
    known = {check.name: check for check in verdict.checks if check.low is not None}
    return next((known[name] for name in COMPARISONS if name in known), None)


def _counts(verdict: Verdict) -> dict[Outcome, int]:
    return {outcome: sum(check.outcome is outcome for check in verdict.checks) for outcome in Outcome}


def _answers(run: Run) -> dict[str, str]:
    match run.bundle.task:
        case "binary":
            return {"score": "number"}
        case "multiclass":
            return {**dict.fromkeys(run.bundle.classes, "number"), "label": "text"}
        case "regression":
            return {"value": "number"}


def _name(text: str) -> str:
    return NOT_IN_NAMES.sub("_", text)[:LONGEST_NAME]


def _table(columns: list[str], rows: Sequence[list[Any]]) -> dict[str, Any]:
    return {"columns": columns, "data": _finite(plain(list(rows)))}


def _finite(value: Any) -> Any:
    """Put None where a number is NaN or infinite, which JSON could not carry."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
