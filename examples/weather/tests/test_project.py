"""The project weather holds together: its file, its source and its features."""

from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest

from baton.core.spec import ModelSpec, load_spec
from baton.features.sample import sample_tables
from baton.features.source import load_definitions

PROJECT = Path(__file__).parents[1]
Tables = dict[str, pd.DataFrame]
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(PROJECT)


@pytest.fixture(scope="module")
def tables(spec: ModelSpec) -> Tables:
    return sample_tables(spec, as_of=NOW, rows=2_000)


def test_every_row_to_predict_has_an_id_of_its_own_and_all_features(spec: ModelSpec, tables: Tables) -> None:
    rows = load_definitions(spec).request(tables)
    assert len(rows)
    assert rows[spec.prediction.id].is_unique
    assert not set(spec.features.request) - set(rows.columns)


def test_what_comes_later_changes_no_feature_of_before(spec: ModelSpec, tables: Tables) -> None:
    times = {name: table.known_time for name, table in spec.source.tables.items()}
    known = {name: table.sort_values(times[name], kind="stable") for name, table in tables.items()}
    half = {name: table.head(len(table) // 2) for name, table in known.items()}
    before = load_definitions(spec).request(half).set_index(spec.prediction.id)
    after = load_definitions(spec).request(known).set_index(spec.prediction.id).loc[before.index]
    for name in spec.features.request:
        assert before[name].fillna("").tolist() == after[name].fillna("").tolist()


def test_every_declared_data_test_has_a_column_to_test(spec: ModelSpec, tables: Tables) -> None:
    for name, table in spec.source.tables.items():
        assert table.expectations
        for expectation in table.expectations:
            column = expectation.arguments.get("column")
            assert column is None or column in tables[name].columns
