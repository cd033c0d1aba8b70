"""Requests are recomputed from landed tables, by the id or by the entities that they name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.spec import spec_from
from baton.flows.skew_replay import compare
from baton.monitoring.skew import Fault

START = pd.Timestamp("2024-03-01", tz="UTC")
END = START + pd.Timedelta(days=20)
COUNT = 300
SPEC = spec_from(
    {
        "name": "shops",
        "source": {"reader": "s.py:read", "tables": {"orders": {"key": ["id"]}, "visits": {"key": ["shop"]}}},
        "features": {
            "request": ["size"],
            "views": {
                "shop_hourly": {"entity": "shop", "values": ["visits_3h"]},
                "town_hourly": {"entity": "town", "values": ["mood"]},
            },
        },
        "prediction": {"id": "id", "moment": "placed"},
        "label": {"table": "orders", "column": "late"},
    }
)


def _mood(hour):
    return hour * 37 % 101 + 0.5


class Shops:
    """Counts of visits in three hours by shop, each hour, and a town's mood."""

    def request(self, tables):
        return tables["orders"]

    def views(self, tables, *, as_of):
        visits, steps = tables["visits"], pd.date_range(START, as_of, freq="h")
        hours = [
            visits[visits["shop"] == shop]["known_time"].sort_values().to_numpy("datetime64[ns]") for shop in "abc"
        ]
        ends = steps.to_numpy("datetime64[ns]")
        counts = [
            np.searchsorted(known, ends, side="right")
            - np.searchsorted(known, ends - np.timedelta64(3, "h"), side="right")
            for known in hours
        ]
        shops = pd.DataFrame({"shop": np.repeat(list("abc"), len(steps)), "event_timestamp": np.tile(steps, 3)})
        shops["visits_3h"] = np.concatenate(counts).astype(float)
        towns = pd.DataFrame({"town": "t", "event_timestamp": steps, "mood": _mood(np.arange(len(steps)))})
        return {"shop_hourly": shops, "town_hourly": towns}


@pytest.fixture
def tables():
    rng = np.random.default_rng(3)
    known = START + pd.to_timedelta(10 * rng.integers(0, 20 * 144, 4_000), unit="min")
    visits = pd.DataFrame({"shop": rng.choice(list("abc"), 4_000), "known_time": known})
    placed = START + pd.to_timedelta(rng.integers(5 * 1_440, 19 * 1_440, COUNT), unit="min")
    orders = pd.DataFrame({"id": [f"o{at}" for at in range(COUNT)], "placed": placed, "known_time": START})
    orders["shop"], orders["town"], orders["size"] = rng.choice(list("abc"), COUNT), "t", rng.random(COUNT)
    return {"orders": orders, "visits": visits}


def _honest(tables, *, by_id, windows="(]", hours_behind=0):
    """Serve the orders by a loop of its own."""
    served = []
    for order in tables["orders"].itertuples():
        step = order.placed.floor("h")
        known = tables["visits"].loc[tables["visits"]["shop"] == order.shop, "known_time"]
        begin = step - pd.Timedelta(hours=3)
        inside = (known > begin) & (known <= step) if windows == "(]" else (known >= begin) & (known < step)
        served.append(
            {
                "entity": order.id if by_id else f"{order.shop}|{order.town}",
                "moment": order.placed,
                "size": order.size,
                "visits_3h": float(inside.sum()),
                "mood": float(_mood((step - START) // pd.Timedelta(hours=1) - hours_behind)),
            }
        )
    return pd.DataFrame(served)


def _compare(tables, served):
    return compare(SPEC, tables, Shops(), served, as_of=END.to_pydatetime())


@pytest.mark.parametrize("by_id", [True, False], ids=["id", "entities"])
def test_honest_requests_are_not_skewed(tables, by_id):
    """E18: what is served and what is recomputed are the same."""
    report = _compare(tables, _honest(tables, by_id=by_id))

    assert (report.requests, report.unknown, report.skews) == (COUNT, 0, ())


def test_each_fault_is_named_by_its_feature(tables):
    """E18: a unit in the request, a zone in a view."""
    served = _honest(tables, by_id=True, hours_behind=5)
    served["size"] *= 1_000

    report = _compare(tables, served)

    assert {skew.feature: skew.fault for skew in report.skews} == {"size": Fault.UNIT, "mood": Fault.TIME_ZONE}


def test_windows_that_leave_their_end_out_are_named(tables):
    """E18: three hours that begin with their first moment and end before their last."""
    (skew,) = _compare(tables, _honest(tables, by_id=False, windows="[)")).skews

    assert (skew.feature, skew.fault) == ("visits_3h", Fault.WINDOW_BOUNDARY)


def test_requests_that_name_nothing_known_are_counted_apart(tables):
    served = _honest(tables, by_id=True)
    served.loc[:9, "entity"] = "somebody else"

    report = _compare(tables, served)

    assert (report.requests, report.unknown, report.skewed) == (COUNT - 10, 10, False)
