"""The flights project and the year of its source."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from baton.core.spec import ModelSpec, load_spec
from baton.features.source import Definitions, load_definitions, read_tables


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return load_spec(Path(__file__).parents[2] / "examples" / "flights")


@pytest.fixture(scope="session")
def year(spec) -> dict[str, pd.DataFrame]:
    return read_tables(spec)


@pytest.fixture(scope="session")
def definitions(spec) -> Definitions:
    return load_definitions(spec)


@pytest.fixture(scope="session")
def known(spec, year):
    """Give what was known before a moment, ordered as it lands."""

    def before(as_of):
        tables = {name: table[table["known_time"] < pd.Timestamp(as_of)] for name, table in year.items()}
        keys = {name: ["known_time", *table.key] for name, table in spec.source.tables.items()}
        return {name: table.sort_values(keys[name], ignore_index=True) for name, table in tables.items()}

    return before
