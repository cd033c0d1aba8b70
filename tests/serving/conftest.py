"""Two sealed bundles of one model, and services of them."""

import shutil
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest

from baton.core.bundle import Field
from baton.core.profile import profile
from baton.core.release import Release
from baton.packaging.rows import rows_from_frame
from baton.packaging.seal import seal
from baton.serving.app import create_app
from baton.serving.release_file import write_release
from baton.serving.serving_settings import ServingSettings

MODEL, OTHER = "flights", "fares"
FIELDS = (
    Field(name="carrier", kind="text"),
    Field(name="distance", kind="number"),
    Field(name="delay", kind="number"),
)


def _rows(count, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "carrier": rng.choice(["AA", "UA", ""], size=count),
            "distance": rng.integers(50, 2500, size=count).astype("float64"),
            "delay": np.where(rng.random(count) < 0.2, np.nan, rng.integers(-20, 90, size=count)),
        }
    )
    return frame, (rng.random(count) < 0.2 + 0.3 * (frame["delay"] > 20)).astype(int)


def _fitted(trees):
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("text", ordinal, ["carrier"]), ("number", "passthrough", ["distance", "delay"])])
    model = LGBMClassifier(n_estimators=trees, num_leaves=7, n_jobs=1, random_state=0, verbose=-1)
    return Pipeline([("encode", encode), ("model", model)]).fit(*_rows(2_000, seed=1))


def _sealed(folder, model, pipeline, number, holdout):
    return seal(
        folder,
        model=model,
        pipeline=pipeline,
        model_digest=f"{number}" * 64,
        fields=FIELDS,
        profile=profile(holdout, pipeline.predict_proba(holdout)[:, 1], text=["carrier"]),
        holdout=holdout,
        golden=holdout.iloc[:16],
        facts={"number": number},
    )


@pytest.fixture(scope="session")
def sealed(tmp_path_factory):
    """A state folder with two bundles, and rows with each bundle's answers."""
    folder = tmp_path_factory.mktemp("sealed")
    holdout = _rows(200, seed=2)[0]
    pipelines = [_fitted(20), _fitted(40)]
    bundles = [_sealed(folder, MODEL, pipeline, at, holdout) for at, pipeline in enumerate(pipelines)]
    requests = [
        {name: None if value == "" or pd.isna(value) else value for name, value in row.items()}
        for row in holdout.to_dict("records")
    ]
    return SimpleNamespace(
        folder=folder,
        bundles=bundles,
        requests=requests,
        table=rows_from_frame(holdout, FIELDS),
        scores={b.digest: p.predict_proba(holdout)[:, 1] for b, p in zip(bundles, pipelines, strict=True)},
    )


@pytest.fixture
def state(sealed, tmp_path):
    """A state folder of its own, with both bundles and no release."""
    for part in ("bundles", "signers"):
        shutil.copytree(sealed.folder / part, tmp_path / MODEL / part)
    return tmp_path / MODEL


@pytest.fixture
def release(sealed, state):
    """Write and give the release of the first or second bundle."""

    def write(number, *, epoch=None, **changes):
        made = Release(
            model=MODEL, epoch=epoch or number + 1, version=str(number + 1), champion=sealed.bundles[number].digest
        )
        made = replace(made, **changes)
        write_release(state, made)
        return made

    return write


@pytest.fixture(scope="session")
def other_sealed(sealed, tmp_path_factory):
    """A state folder of another model, of the same rows, with a bundle and its answers."""
    folder = tmp_path_factory.mktemp("other") / OTHER
    pipeline = _fitted(60)
    holdout = _rows(200, seed=2)[0]
    bundle = _sealed(folder, OTHER, pipeline, 7, holdout)
    write_release(folder, Release(model=OTHER, epoch=1, version="70", champion=bundle.digest))
    return SimpleNamespace(folder=folder, bundle=bundle, scores=pipeline.predict_proba(holdout)[:, 1])


@pytest.fixture
def other(other_sealed, tmp_path):
    """The other model's state folder, for one test."""
    shutil.copytree(other_sealed.folder, tmp_path / OTHER)
    return SimpleNamespace(folder=tmp_path / OTHER, bundle=other_sealed.bundle, scores=other_sealed.scores)


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def client_of():
    """A client of the service in this process, on a folder and with settings of one's own."""

    @asynccontextmanager
    async def client(folder, **settings):
        app = create_app(lambda: ServingSettings(folder=folder, model="flights", **settings))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as asking,
        ):
            yield asking

    return client
