"""Small judged runs with a bundle of a few files, ready to be registered."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from baton.core.bundle import Bundle, Field
from baton.core.digest import digest_of_bytes
from baton.core.evaluation import Evaluation, Measure
from baton.core.run import Run
from baton.core.snapshot import Snapshot
from baton.core.verdict import Check, Outcome, Verdict

NOW = datetime(2024, 3, 1, 6, tzinfo=timezone.utc)
# Every byte there is, and more of them than one piece of an upload.
MODEL = bytes(range(256)) * 4_000
PROMOTE = Check(
    name="not_worse",
    outcome=Outcome.PASSED,
    observed=0.01,
    required=0.0,
    low=0.004,
    high=0.016,
    detail="log_loss gain +0.01000, low end must be above 0",
)
HOLD = Check(
    name="not_worse",
    outcome=Outcome.FAILED,
    observed=-0.02,
    required=0.0,
    low=-0.03,
    high=-0.01,
    detail="log_loss gain -0.02000, low end must be above 0",
)


def judged_run(folder: Path, number: int, *, check: Check = PROMOTE, model: str = "parcels") -> Run:
    """Give the run of a number: other numbers have other keys, bundles and verdicts."""
    bundle = _bundle(folder / f"bundle-{number}", number, model=model)
    figure = folder / f"gain-{number}.png"
    figure.write_bytes(b"\x89PNG\r\n\x1a\n")
    return Run(
        key=digest_of_bytes(f"key {number}".encode()),
        name=f"2024-03-{number:02} by hand",
        snapshot=Snapshot(
            path=folder / "snapshot.parquet",
            digest=digest_of_bytes(b"snapshot"),
            columns=("parcel",),
            rows=5_000,
            start=NOW - timedelta(days=90),
            end=NOW,
            as_of=NOW,
        ),
        evaluation=Evaluation(
            model=bundle.model_digest,
            holdout=digest_of_bytes(b"holdout"),
            rows=2_800,
            blocks=28,
            metrics={"log_loss": Measure(value=0.44, standard_error=0.01)},
            baselines={"constant": {"log_loss": 0.55}},
            latency_ms=1.2,
            size_bytes=len(MODEL),
        ),
        verdict=_verdict(bundle, number, check=check),
        bundle=bundle,
        parameters={"trainer": "logistic"},
        tags={"baton.trigger": "by hand", "baton.question": "Will this parcel arrive late?"},
        figures={"gain": figure},
    )


def _bundle(path: Path, number: int, *, model: str) -> Bundle:
    path.mkdir(parents=True)
    (path / "model.onnx").write_bytes(MODEL + bytes([number]))
    manifest = f'{{"number": {number}}}\n'.encode()
    (path / "manifest.json").write_bytes(manifest)
    return Bundle(
        path=path,
        digest=digest_of_bytes(manifest),
        model=model,
        model_digest=digest_of_bytes(MODEL + bytes([number])),
        fields=(Field(name="weight", kind="number"),),
    )


def _verdict(bundle: Bundle, number: int, *, check: Check) -> Verdict:
    return Verdict(
        model=bundle.model,
        intent="refresh",
        challenger=bundle.digest,
        champion=digest_of_bytes(b"champion"),
        epoch=number,
        holdout=digest_of_bytes(b"holdout"),
        rows=2_800,
        blocks=28,
        metric="log_loss",
        method="paired t over blocks",
        alpha=0.05 / 30,
        evidence=digest_of_bytes(b"evidence"),
        checks=(check,),
        rows_needed=None,
        policy={},
        judged_at=NOW,
    )
