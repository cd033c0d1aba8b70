"""What the serving benchmarks serve: a sealed model of the size of the flights one."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from baton.core.bundle import Bundle, Field
from baton.core.errors import DependencyDown
from baton.core.profile import profile
from baton.core.release import Release
from baton.packaging.reader import open_contents
from baton.packaging.seal import seal
from baton.serving.release_file import write_release

MODEL = "bench"
TEXTS = ("carrier", "origin", "dest")
NUMBERS = tuple(f"number_{at}" for at in range(26))


def sealed(state: Path, *, trees: int = 250) -> Bundle:
    """Seal a model and release it: trees of 15 leaves on 3 texts and 26 numbers, of the flights' kinds.

    A third of the numbers are measurements of a few digits, a third counts,
    and of the last third one in five is missing.
    """
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    rng = np.random.default_rng(0)
    frame = drawn_rows(rng, 5_000)
    total = frame[list(NUMBERS[:5])].fillna(0).sum(axis=1) + rng.normal(0, 200, size=5_000)
    label = (total > total.quantile(0.8)).astype(int)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("text", ordinal, list(TEXTS)), ("number", "passthrough", list(NUMBERS))])
    model = LGBMClassifier(n_estimators=trees, num_leaves=15, learning_rate=0.05, random_state=0, n_jobs=1, verbose=-1)
    pipeline = Pipeline([("encode", encode), ("model", model)]).fit(frame, label)
    bundle = seal(
        state,
        model=MODEL,
        pipeline=pipeline,
        model_digest="0" * 64,
        fields=[Field(name=name, kind="text" if name in TEXTS else "number") for name in frame.columns],
        profile=profile(frame, pipeline.predict_proba(frame)[:, 1], text=TEXTS),
        holdout=frame.iloc[:1_000],
        golden=frame.iloc[:32],
        facts={},
    )
    write_release(state, Release(model=MODEL, epoch=1, version="1", champion=bundle.digest))
    return bundle


def example_rows(bundle: Bundle, count: int) -> list[dict[str, Any]]:
    """Give rows of the model."""
    golden: tuple[Mapping[str, Any], ...] = open_contents(bundle.path).golden.rows
    return [dict(golden[at % len(golden)]) for at in range(count)]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_up(url: str, *, seconds: float = 60.0) -> None:
    """Wait until a service answers, whatever it answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def wait_until_ready(url: str, *, seconds: float = 60.0) -> None:
    """Wait until a service of ours has a model to answer with."""
    wait_until_up(url, seconds=seconds)
    deadline = time.monotonic() + seconds
    while httpx.get(f"{url}/readyz", timeout=5).status_code != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise DependencyDown(what=f"{url} is not ready", why=f"{seconds:g} s have passed", fix="look into its log")
        time.sleep(0.02)


def drawn_rows(rng: np.random.Generator, count: int) -> pd.DataFrame:
    """Draw rows such as the model is for."""
    texts = {name: rng.choice([f"{name}_{at}" for at in range(30)], size=count) for name in TEXTS}
    numbers: dict[str, Any] = {}
    for at, name in enumerate(NUMBERS):
        if at % 3 == 0:
            numbers[name] = np.round(rng.normal(20, 9, size=count), 2)
        else:
            numbers[name] = rng.integers(0, 2_500, size=count).astype("float64")
        if at % 3 == 2:
            numbers[name] = np.where(rng.random(count) < 0.2, np.nan, numbers[name])
    return pd.DataFrame(texts | numbers)
