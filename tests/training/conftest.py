"""A small project and a small snapshot frame, generated: 60 days of rows with a rate of their own each day."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from baton.core.spec import ModelSpec, spec_from

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
DAYS = 60
ROWS_PER_DAY = 100


def make_spec(**training) -> ModelSpec:
    return spec_from(
        {
            "name": "parcels",
            "seed": 7,
            "source": {"reader": "source.py:read", "tables": {"arrivals": {"key": ["parcel"]}}},
            "features": {"request": ["depot", "weight", "distance", "load"], "text": ["depot"]},
            "prediction": {"id": "parcel", "moment": "asked_at"},
            "label": {"table": "arrivals", "column": "late", "wait_hours": 24},
            "training": {"parameters": {"n_estimators": 30}, "holdout_days": 14, "minimum_rows": 500, **training},
        }
    )


def make_frame(*, seed: int = 0, days: int = DAYS) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = days * ROWS_PER_DAY
    day = np.arange(rows) // ROWS_PER_DAY
    asked = pd.Timestamp(START) + pd.to_timedelta(np.sort(generator.uniform(0, days * 24, rows)), unit="h").floor("s")
    number = {name: generator.normal(size=rows).astype(np.float32).astype(np.float64) for name in ("weight", "load")}
    depot = generator.choice(["north", "south", "east", ""], size=rows, p=[0.5, 0.3, 0.15, 0.05])
    distance = np.where(generator.random(rows) < 0.1, np.nan, number["weight"] ** 2).astype(np.float32)
    luck = generator.normal(0, 0.8, size=days)[day]
    chance = 1 / (1 + np.exp(1.2 - number["weight"] - (depot == "south") - luck))
    return pd.DataFrame(
        {
            "id": [f"p{i:06}" for i in range(rows)],
            "moment": asked,
            "block": asked.strftime("%Y-%m-%d"),
            "label": (generator.random(rows) < chance).astype(np.float64),
            "label_known": asked + timedelta(hours=20),
            "depot": depot.astype(object),
            "weight": number["weight"],
            "distance": distance.astype(np.float64),
            "load": number["load"],
        }
    )


@pytest.fixture
def spec() -> ModelSpec:
    return make_spec()


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def as_of() -> datetime:
    return START + timedelta(days=DAYS + 1)


@pytest.fixture(name="make_spec", scope="session")
def _make_spec():
    return make_spec
