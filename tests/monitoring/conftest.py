"""A small served world: a reference, answers in a log, labels and a story."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.core.profile import Profile, profile
from baton.core.spec import DriftSpec
from baton.core.verdict import Check, Outcome, Verdict
from baton.monitoring.story import Day, Event, EventKind, Judged, Link, Month, Service, Story, Timing

START = datetime(2013, 7, 1, tzinfo=timezone.utc)
DIGEST = "a" * 64


def features(rows: int, *, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "delay": rng.normal(size=rows) + shift,
            "weekday": rng.integers(0, 7, size=rows).astype(float),
            "gust": np.where(rng.random(rows) < 0.7, np.nan, rng.gamma(2.0, 5.0, size=rows)),
            "carrier": rng.choice(["AA", "DL", "UA"], p=[0.5, 0.3, 0.2], size=rows),
        }
    )


def scores(frame: pd.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(1.5 - frame["delay"].to_numpy(), -50, 50)))


def answered(frame: pd.DataFrame, *, start: datetime = START, days: float = 28, digest: str = DIGEST) -> pd.DataFrame:
    """Give rows as the service logs them, evenly over some days."""
    rows = len(frame)
    moment = pd.to_datetime([start + timedelta(days=days * i / max(rows, 1)) for i in range(rows)], utc=True)
    log = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(rows)],
            "entity": [f"e{start:%m%d}{i}" for i in range(rows)],
            "served_at": moment,
            "moment": moment,
            "score": scores(frame),
            "digest": digest,
            "version": "1",
            "epoch": 1,
            "cohort": "champion",
            "queue_ms": 0.1,
            "batch_ms": 0.2,
            "compute_ms": 0.3,
        }
    )
    return pd.concat([log, frame.add_prefix("feature.")], axis=1)


def write(folder: Path, name: str, rows: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    rows.to_parquet(path, index=False)
    return path


def report(day: date, *, psi: float = 0.0, digest: str = DIGEST, level: Level | None = None) -> DriftReport:
    """Give a daily report with one score finding and nothing else."""
    level = level or (Level.ALARM if psi >= 0.25 else Level.OK)
    score = ColumnDrift(
        name="score",
        psi=psi,
        ks=0.0,
        missing=0.0,
        missing_reference=0.0,
        new_values=0.0,
        limit=0.25,
        why="",
        silent=False,
        level=level,
    )
    end = datetime(day.year, day.month, day.day, 4, tzinfo=timezone.utc)
    return DriftReport(
        model="m", digest=digest, start=end - timedelta(days=28), end=end, rows=25_000, score=score, columns=()
    )


@pytest.fixture(scope="session")
def world() -> SimpleNamespace:
    """Everything above by name: tests are no package and cannot import from here."""
    return SimpleNamespace(
        start=START,
        digest=DIGEST,
        features=features,
        scores=scores,
        answered=answered,
        write=write,
        report=report,
        verdict=verdict,
    )


@pytest.fixture(scope="session")
def training() -> pd.DataFrame:
    return features(20_000, seed=1)


@pytest.fixture(scope="session")
def reference(training: pd.DataFrame) -> Profile:
    parts = np.arange(len(training)) % 3
    return profile(training, scores(training), text=["carrier"], parts=parts)


@pytest.fixture
def policy() -> DriftSpec:
    return DriftSpec(limits="textbook", retrain_on="score", minimum_rows=500)


def verdict(*, gain: float, low: float, high: float, passed: bool) -> Verdict:
    check = Check(
        name="gain",
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        observed=gain,
        required=0.0,
        low=low,
        high=high,
        detail="better on average" if passed else "not better on average: the champion stays",
    )
    return Verdict(
        model="flights",
        intent="refresh",
        challenger="c" * 64,
        champion="d" * 64,
        epoch=1,
        holdout="h" * 64,
        rows=25_667,
        blocks=28,
        metric="log_loss",
        method="days",
        alpha=0.05,
        evidence="e" * 64,
        checks=(check,),
        rows_needed=None,
        policy={"margin": 0.005},
        judged_at=START,
    )


@pytest.fixture
def story() -> Story:
    months = tuple(
        Month(
            label=label,
            rows=27_000,
            late_rate=0.2,
            auc_retrained=fresh,
            auc_stale=stale,
            log_loss_retrained=0.4,
            log_loss_stale=0.41,
            gain=0.01,
            gain_low=-0.002,
            gain_high=0.02,
            score_psi=psi,
            version=version,
        )
        for label, fresh, stale, psi, version in (
            ("Jul", 0.763, 0.753, 0.30, "1"),
            ("Aug", None, None, None, "2"),
            ("Nov", 0.702, 0.706, 0.14, "2"),
        )
    )
    days = tuple(
        Day(
            day=date(2013, 7, 1) + timedelta(days=i),
            psi=None if i == 3 else 0.01 * i,
            level=Level.OK,
            version="1" if i < 20 else "2",
        )
        for i in range(40)
    )
    return Story(
        project="flights",
        question="Will this flight arrive <late>?",
        outcome="One challenger took over, one was refused.",
        stale_label="stale since March",
        as_of=START,
        warn=0.1,
        alarm=0.25,
        months=months,
        days=days,
        verdicts=(
            Judged(title="Version 2", verdict=verdict(gain=0.006, low=-0.001, high=0.013, passed=True)),
            Judged(title="Version 3", verdict=verdict(gain=-0.003, low=-0.009, high=0.003, passed=False)),
        ),
        events=(
            Event(at=START + timedelta(days=21), kind=EventKind.DRIFTED, line="The score drifts", figure="PSI 0.30"),
            Event(at=START + timedelta(days=22), kind=EventKind.PROMOTED, line="Version 2 takes over"),
            Event(at=START + timedelta(days=30), kind=EventKind.REFUSED, line="Version 3 is refused"),
        ),
        service=Service(requests=1_000, rows=249_435, lost=0, p50_ms=1.8, p99_ms=None, swaps=1),
        links=(
            Link(title="MLflow", target="http://127.0.0.1:5000"),
            Link(title="July drift", target="drift/july.html"),
            Link(title="Why?", target="baton why flights 2"),
            Link(title="Not a page", target="javascript:alert(1).html"),
        ),
        timings=(Timing(step="Land", seconds=21.3), Timing(step="Train", seconds=0.0)),
    )
