"""Rows of each task that are made up, for trying trainers: with text, missing numbers and a bit of luck each day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.policy import METRICS, Task
from baton.core.spec import spec_from

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from baton.core.spec import ModelSpec

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
ROWS, DAYS = 1_200, 30
MISSING = 0.1
CLASSES = ("early", "on time", "late")


def generated_spec(
    task: Task, *, trainer: str, folder: Path, calibration: str = "none", parameters: Mapping[str, Any] | None = None
) -> ModelSpec:
    """Give a project of a task that names a trainer, looked for in a folder."""
    spec = spec_from(
        {
            "name": "generated",
            "task": task,
            "seed": 7,
            "source": {"reader": "source.py:read", "tables": {"arrivals": {"key": ["parcel"]}}},
            "features": {"request": ["depot", "weight", "distance", "load"], "text": ["depot"]},
            "prediction": {"id": "parcel", "moment": "asked_at"},
            "label": {
                "table": "arrivals",
                "column": "outcome",
                "classes": list(CLASSES) if task == "multiclass" else [],
            },
            "training": {"trainer": trainer, "parameters": dict(parameters or {}), "calibration": calibration},
            "gate": {"metric": METRICS[task][0]},
        }
    )
    # A spec knows its folder where it was read from one.
    spec._folder = folder
    return spec


def generated_rows(task: Task, *, seed: int = 0) -> pd.DataFrame:
    """Give rows whose label depends on one number, the square of another, and the text."""
    import pandas as pd

    generator = np.random.default_rng(seed)
    day = np.arange(ROWS) * DAYS // ROWS
    moments = pd.Timestamp(START) + pd.to_timedelta(np.arange(ROWS) * 24 * DAYS / ROWS, unit="h")
    # Features are served as float32, so they are made of nothing finer.
    weight, load, distance = (generator.normal(size=ROWS).astype(np.float32).astype(np.float64) for _ in range(3))
    depot = generator.choice(["north", "south", "east", ""], size=ROWS, p=[0.5, 0.3, 0.15, 0.05])
    luck = generator.normal(0, 0.3, size=DAYS)[day]
    strength = weight + distance**2 + (depot == "south") + luck + generator.normal(0, 0.7, size=ROWS)
    return pd.DataFrame(
        {
            "id": [f"p{at:05}" for at in range(ROWS)],
            "moment": moments,
            "block": moments.strftime("%Y-%m-%d"),
            "label": _labels(task, strength),
            "label_known": moments + timedelta(hours=20),
            "depot": depot.astype(object),
            "weight": weight,
            "distance": np.where(generator.random(ROWS) < MISSING, np.nan, distance),
            "load": load,
        }
    )


def _labels(task: Task, strength: Any) -> Any:
    match task:
        case "binary":
            return (strength > np.quantile(strength, 0.6)).astype(np.float64)
        case "multiclass":
            return np.searchsorted(np.quantile(strength, (0.3, 0.7)), strength).astype(np.float64)
        case "regression":
            return strength * 10 + 50
