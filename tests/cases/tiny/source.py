"""Parcels of four months, drawn from a seed: after two months heavy parcels, no longer far ones, are late."""

from __future__ import annotations

import numpy as np
import pandas as pd

DAYS = 120
A_DAY = 40
FIRST = pd.Timestamp("2024-01-01", tz="UTC")
TURNED = FIRST + pd.Timedelta(days=56)
# An impossible weight, to be set aside.
TYPING_ERROR = 4_000.0


def read() -> dict[str, pd.DataFrame]:
    """Give `orders`, known a day before they leave, and `deliveries`, known as they arrive."""
    draw = np.random.default_rng(20240101)
    rows = DAYS * A_DAY
    leaves = FIRST + pd.to_timedelta(np.repeat(np.arange(DAYS), A_DAY) * 24 + np.tile(np.arange(A_DAY) % 10, DAYS), "h")
    parcels = pd.DataFrame(
        {
            "parcel_id": [f"p{number:05d}" for number in range(rows)],
            "leaves": leaves,
            "depot": draw.choice(["east", "north", "west"], rows),
            "kilometres": draw.uniform(1, 100, rows).round(1),
            "kilograms": draw.uniform(0.1, 30, rows).round(2),
        }
    )
    cause = np.where(parcels["leaves"] < TURNED, parcels["kilometres"] / 100, parcels["kilograms"] / 30)
    parcels["late"] = (draw.uniform(size=rows) < 0.05 + 0.8 * cause**2).astype(np.int64)
    arrives = parcels["leaves"] + pd.to_timedelta(draw.integers(60, 600, rows), "min")
    parcels.loc[100, "kilograms"] = TYPING_ERROR
    orders = parcels.drop(columns="late").assign(
        event_time=parcels["leaves"], known_time=parcels["leaves"] - pd.Timedelta(days=1)
    )
    deliveries = parcels[["parcel_id", "depot", "late"]].assign(event_time=arrives, known_time=arrives)
    return {"orders": orders, "deliveries": deliveries}
