"""Rows of a small world whose truth is known: being late depends on delay and rain, not on seats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

ROWS = 2_000


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    delay, rain = rng.normal(size=ROWS), rng.random(ROWS)
    frame = pd.DataFrame(
        {
            "id": [f"flight-{n:04d}" for n in range(ROWS)],
            "moment": pd.date_range("2013-03-01", periods=ROWS, freq="10min", tz="UTC"),
            "carrier": rng.choice(["AA", "DL", "UA", ""], size=ROWS, p=[0.3, 0.3, 0.3, 0.1]),
            "delay": delay,
            "rain": np.where(rng.random(ROWS) < 0.05, np.nan, rain),
            "seats": rng.choice([50.0, 150.0, 300.0], size=ROWS),
        }
    )
    chance = 1 / (1 + np.exp(-(delay + rain)))
    return frame.assign(label=(rng.random(ROWS) < chance).astype(np.float64), block=frame["moment"].dt.date)
