"""Four features of a parcel: three from its order, one from its depot's last week."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from baton.features.trailing import trailing

WEEK = pd.Timedelta(days=7)


def request(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give one row per ordered parcel."""
    return tables["orders"][["parcel_id", "leaves", "depot", "kilometres", "kilograms"]].copy()


def views(tables: Mapping[str, pd.DataFrame], *, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Give each depot's share of late parcels over a week, whenever a parcel of it arrives."""
    arrived = tables["deliveries"][tables["deliveries"]["known_time"] < as_of]
    at = arrived[["depot", "known_time"]].rename(columns={"known_time": "event_timestamp"})
    at = at.drop_duplicates().reset_index(drop=True)
    late = trailing(arrived, entity="depot", time="known_time", value="late")
    at["depot_late_7d"] = late.mean(at, entity="depot", time="event_timestamp", window=WEEK, prior=0.3, weight=5.0)
    return {"depot_rate": at}
