"""The offline store as Feast uses it: created times, types and order."""

from __future__ import annotations

import pandas as pd
import pytest

START = pd.Timestamp("2020-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)


@pytest.fixture(params=[True, False], ids=["latest", "all"])
def store(request, tmp_path):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Int64, String

    history = pd.DataFrame(
        {
            "who": ["a", "a", "b"],
            "at": [START, START, START],
            "made": [START, START + 2 * DAY, START],
            "count": [1, 2, 3],
            "name": ["one", "two", "three"],
        }
    )
    history.to_parquet(tmp_path / "v.parquet")
    opened = FeatureStore(
        config=RepoConfig(
            project="p",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{tmp_path}/r.db"},
            online_store={"type": "sqlite", "path": f"{tmp_path}/o.db"},
            offline_store={"type": "baton.features.asof_store.AsofOfflineStore"},
            materialization={"pull_latest_features": request.param},
            entity_key_serialization_version=3,
        )
    )
    who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
    source = FileSource(path=f"{tmp_path}/v.parquet", timestamp_field="at", created_timestamp_column="made")
    schema = [Field(name="who", dtype=String), Field(name="count", dtype=Int64), Field(name="name", dtype=String)]
    opened.apply([who, FeatureView(name="v", entities=[who], schema=schema, source=source)])
    return opened


@pytest.fixture
def rows():
    return pd.DataFrame({"who": ["a", "b", "x", "a"], "event_timestamp": [START + 3 * DAY, START, START, START + DAY]})


def _joined(store, rows, **options):
    return store.get_historical_features(entity_df=rows, features=["v:count", "v:name"], **options)


def test_a_late_correction_is_never_joined(store, rows):
    for options in ({}, {"filter_by_created_timestamp": True}):
        joined = _joined(store, rows, **options).to_df()
        assert joined["who"].tolist() == ["a", "b", "x", "a"]
        assert joined["name"].fillna("").tolist() == ["two", "three", "", "one"]


def test_whole_numbers_stay_whole_where_some_are_missing(store, rows):
    assert str(_joined(store, rows).to_arrow().schema.field("count").type) == "int64"
    assert _joined(store, rows).to_df()["count"].fillna(-1).tolist() == [2, 3, -1, 1]


def test_full_names_carry_the_view(store, rows):
    assert "v__count" in _joined(store, rows, full_feature_names=True).to_df().columns


def test_a_query_instead_of_rows_is_refused(store):
    with pytest.raises(Exception, match="data frames, not queries"):
        _joined(store, "select 1").to_df()


def test_materialising_takes_the_newest_value_known_by_then(store):
    for end, name in ((START + DAY, "one"), (START + 3 * DAY, "two")):
        store.materialize(START - DAY, end)
        answer = store.get_online_features(features=["v:name"], entity_rows=[{"who": "a"}]).to_dict()
        assert answer["name"] == [name]


def test_every_value_known_by_then_can_be_pulled(store):
    from feast.infra.offline_stores.file_source import FileSource

    from baton.features.asof_store import AsofOfflineStore

    view = store.get_feature_view("v")
    assert isinstance(view.batch_source, FileSource)
    job = AsofOfflineStore.pull_all_from_table_or_query(
        store.config, view.batch_source, ["who"], ["count"], "at", "made", START.to_pydatetime(), START.to_pydatetime()
    )
    assert job.to_df()["count"].tolist() == [1, 3]
