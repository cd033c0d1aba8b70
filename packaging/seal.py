"""Seal a trained model: export it, prove it, and write the bundle that serving opens."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.bundle import Bundle, Field
from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import Misuse, listed
from baton.core.policy import Task
from baton.core.profile import Profile
from baton.core.whole_file import replace_file
from baton.packaging.bom import model_bom, software_bom
from baton.packaging.fallback import fallback_file
from baton.packaging.locked import requirements
from baton.packaging.manifest import (
    CARD,
    FACTS,
    FALLBACK,
    GOLDEN,
    LOCK,
    MANIFEST,
    ML_BOM,
    MODEL,
    PARITY,
    PROFILE,
    SBOM,
    SCHEMA,
    write_manifest,
)
from baton.packaging.model_card import model_card
from baton.packaging.onnx_export import export
from baton.packaging.parity import TOLERANCE, prove
from baton.packaging.reader import open_bundle
from baton.packaging.rows import NUMBER, rows_from_frame
from baton.packaging.scorer import Scorer
from baton.packaging.signature import SIGNATURE
from baton.packaging.signing_key import sign

if TYPE_CHECKING:
    import pandas as pd

    from baton.training.calibration import Calibration

BUNDLES = "bundles"
# Fewer would miss a branch of the encoders, more would slow every swap.
FEWEST_GOLDEN = 16
MOST_GOLDEN = 32
# Every class is a column of each answer and of the prediction log.
MOST_CLASSES = 1_000


def seal(
    folder: Path,
    *,
    model: str,
    pipeline: Any,
    model_digest: str,
    fields: Sequence[Field],
    profile: Profile,
    holdout: pd.DataFrame,
    golden: pd.DataFrame,
    facts: Mapping[str, Any],
    task: Task = "binary",
    classes: Sequence[str] = (),
    calibration: Calibration | None = None,
    epoch: int = 0,
    signing_key: Path | None = None,
) -> Bundle:
    """Write the bundle of a fitted pipeline; sealing the same thing twice gives the same digest.

    Args:
        folder: The model's state folder; the bundle is `bundles/<digest>` in it.
        model: The model's name.
        pipeline: The fitted pipeline.
        model_digest: The digest of the fitted pipeline's content.
        fields: The features in order.
        profile: The reference that served rows are compared with.
        holdout: Rows on which the export must answer as the pipeline does.
        golden: 16 to 32 rows whose answers a service must reproduce.
        facts: Where the model comes from: snapshot, metrics, dates; JSON values
            and aware times.
        task: What the model predicts.
        classes: The label's classes in the order of their scores; a model of
            several classes needs them, one of two may have none.
        calibration: What is done to the pipeline's chances; becomes a part of
            the graph.
        epoch: The ledger's epoch in force; the bundle is released in none before.
        signing_key: A private key from elsewhere; the installation's own where left out.

    Raises:
        ParityFailed: The model has no converter or answers differently.
        Misuse: The golden rows are too few or too many, or the classes are
            not those of the task.
    """
    if not FEWEST_GOLDEN <= len(golden) <= MOST_GOLDEN:
        raise Misuse(
            what="the model cannot be sealed",
            why=f"{len(golden)} golden rows were given, expected {FEWEST_GOLDEN} to {MOST_GOLDEN}",
            fix="pick golden rows from the holdout",
        )
    _check_classes(task, classes)
    exported = export(pipeline, fields, task=task, classes=classes, calibration=calibration)
    onnx = exported.onnx
    parity = prove(onnx, pipeline, holdout, fields=fields, task=task, calibration=calibration, cuts=exported.cuts)
    schema = {"fields": fields, "task": task, "classes": tuple(classes)}
    about: dict[str, Any] = {"model": model, "model_digest": model_digest, "task": task, "fields": fields}
    contents = {
        MODEL: onnx,
        SCHEMA: canonical_json({**schema, "opset": exported.opset, "ml_opset": exported.ml_opset}),
        PROFILE: profile.to_json(),
        PARITY: canonical_json(parity),
        GOLDEN: _golden(onnx, golden, fields),
        FACTS: canonical_json(facts),
        FALLBACK: fallback_file(profile),
        CARD: model_card(**about, classes=classes, parity=parity, facts=facts),
        SBOM: software_bom(),
        ML_BOM: model_bom(**about, graph_digest=digest_of_bytes(onnx), facts=facts),
        LOCK: requirements(),
    }
    manifest = write_manifest(model=model, model_digest=model_digest, contents=contents, epoch=epoch)
    return open_bundle(write_bundle(folder, {MANIFEST: manifest, **contents}, signing_key=signing_key))


def write_bundle(folder: Path, files: Mapping[str, bytes], *, signing_key: Path | None = None) -> Path:
    """Sign a bundle's files, the manifest among them, and write its folder; one that is there is signed again.

    Args:
        folder: The model's state folder.
        files: Every file's content but the signature's.
        signing_key: A private key from elsewhere; the installation's own where left out.
    """
    target = folder / BUNDLES / digest_of_bytes(files[MANIFEST])
    digests = {name: digest_of_bytes(content) for name, content in files.items()}
    signature = sign(folder, target.name, digests, key=signing_key)
    if target.exists():
        replace_file(target / SIGNATURE, signature)
    else:
        _write_folder(target, {**files, SIGNATURE: signature})
    return target


def _check_classes(task: Task, classes: Sequence[str]) -> None:
    counts: dict[Task, Container[int]] = {
        "binary": (0, 2),
        "multiclass": range(3, MOST_CLASSES + 1),
        "regression": (0,),
    }
    if len(classes) not in counts[task] or len(set(classes)) != len(classes):
        raise Misuse(
            what="the model cannot be sealed",
            why=f"its task is {task} and its classes are {listed(classes) or 'none'}",
            fix="set label.classes in model.yaml",
        )


def _golden(onnx: bytes, golden: pd.DataFrame, fields: Sequence[Field]) -> bytes:
    rows = rows_from_frame(golden, fields)
    requests: list[dict[str, Any]] = [{} for _ in range(len(rows))]
    columns = {NUMBER: iter(rows.numbers.T), "text": iter(rows.texts.T)}
    for field in fields:
        for request, value in zip(requests, next(columns[field.kind]), strict=True):
            missing = value == "" or value != value  # noqa: PLR0124 - NaN alone differs from itself
            request[field.name] = None if missing else float(value) if field.kind == NUMBER else value
    return canonical_json({"rows": requests, "scores": Scorer(onnx).score(rows).tolist(), "tolerance": TOLERANCE})


def _write_folder(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files beside the target, then rename: a bundle is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".sealing-", dir=target.parent))
    try:
        draft.chmod(0o755)
        for name, content in contents.items():
            with (draft / name).open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        _sync_folder(draft)
        draft.rename(target)
        _sync_folder(target.parent)
    except OSError:
        # Another process that sealed the same model first has made the same folder.
        if not target.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
