"""Finished work is found again by what went into it, and only by that."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from baton.core.spec import load_spec
from baton.features.landing import Landing
from baton.features.snapshot import freeze, frozen, refresh
from baton.features.snapshot_key import snapshot_key
from baton.features.source import load_definitions, read_tables
from baton.testing.feature_store import MemoryFeatureStore

AS_OF = pd.Timestamp("2020-01-02T06:00Z").to_pydatetime()
LATER = pd.Timestamp("2020-02-01T00:00Z").to_pydatetime()


class _NoStore:
    """A store that must not be asked."""

    def historical(self, rows, *, moment):
        raise AssertionError("the work was done again")


def _land(spec, folder, *, as_of=AS_OF, **changed):
    landing = Landing(folder, spec)
    for batch in landing.pending({**read_tables(spec), **changed}, as_of=as_of).values():
        landing.land(batch, batch.rows)
    return landing


def _freeze(spec, landing, folder, *, as_of=AS_OF):
    store, definitions = MemoryFeatureStore(spec), load_definitions(spec)
    refresh(spec, landing, definitions, store, as_of=as_of)
    return freeze(spec, landing, definitions, store, as_of=as_of, folder=folder)


def _edit(spec, name, old, new):
    file = spec.folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return load_spec(spec.folder)


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_the_same_work_is_not_done_twice(shop, tmp_path):
    landing, folder = _land(shop, tmp_path / "l"), tmp_path / "s"
    assert frozen(shop, landing, as_of=AS_OF, folder=folder) is None
    snapshot = _freeze(shop, landing, folder)
    again = Landing(tmp_path / "l", load_spec(shop.folder))
    assert frozen(shop, again, as_of=AS_OF, folder=folder) == snapshot
    assert freeze(shop, again, load_definitions(shop), _NoStore(), as_of=AS_OF, folder=folder) == snapshot


def test_what_lands_later_changes_no_key(shop, tmp_path):
    landing = _land(shop, tmp_path / "l")
    snapshot = _freeze(shop, landing, tmp_path / "s")
    _land(shop, tmp_path / "l", as_of=LATER)
    assert frozen(shop, landing, as_of=AS_OF, folder=tmp_path / "s") == snapshot
    assert frozen(shop, landing, as_of=LATER, folder=tmp_path / "s") is None


def test_two_moments_with_the_same_rows_each_get_their_own(shop, tmp_path):
    landing, soon = _land(shop, tmp_path / "l"), AS_OF + timedelta(minutes=1)
    first, second = (_freeze(shop, landing, tmp_path / "s", as_of=moment) for moment in (AS_OF, soon))
    assert first.digest == second.digest
    assert frozen(shop, landing, as_of=AS_OF, folder=tmp_path / "s") == first
    assert frozen(shop, landing, as_of=soon, folder=tmp_path / "s") == second


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("features.py", "size=1.0", "size=2.0", False),
        ("source.py", "[0, 1, 0]", "[0, 1, 1]", False),
        ("model.yaml", "ttl_hours: 6", "ttl_hours: 7", False),
        ("model.yaml", "block: day", "block: hour", False),
        ("model.yaml", "name: shop", "name: shop\ntraining: {holdout_days: 3}\nseed: 5", True),
    ],
    ids=["definitions", "reader", "a view's ttl", "the block", "training and seed"],
)
def test_the_key_is_that_of_what_makes_the_rows(  # noqa: PLR0917 - fixtures and a table
    shop, tmp_path, name, old, new, same
):
    landing = _land(shop, tmp_path / "l")
    key = snapshot_key(shop, landing, as_of=AS_OF)
    edited = _edit(shop, name, old, new)
    assert (snapshot_key(edited, Landing(tmp_path / "l", edited), as_of=AS_OF) == key) is same


def test_a_changed_row_a_moment_and_a_start_change_the_key(shop, tmp_path):
    one = _land(shop, tmp_path / "one")
    orders = read_tables(shop)["orders"]
    other = _land(shop, tmp_path / "other", orders=orders.assign(returned=1 - orders["returned"]))
    soon = AS_OF + timedelta(minutes=1)
    asked = [(one, AS_OF, None), (other, AS_OF, None), (one, soon, None), (one, AS_OF, AS_OF - timedelta(days=1))]
    assert len({snapshot_key(shop, landing, as_of=a, start=s) for landing, a, s in asked}) == 4


@pytest.mark.parametrize("ending", ["parquet", "json", "key"])
def test_a_snapshot_that_was_tampered_with_is_made_anew(shop, tmp_path, ending):
    landing, folder = _land(shop, tmp_path / "l"), tmp_path / "s"
    snapshot = _freeze(shop, landing, folder)
    content = snapshot.path.read_bytes()
    _flip({"key": next((folder / "keys").iterdir())}.get(ending, snapshot.path.with_suffix(f".{ending}")))
    assert frozen(shop, landing, as_of=AS_OF, folder=folder) is None
    assert _freeze(shop, landing, folder) == snapshot
    assert snapshot.path.read_bytes() == content
    assert frozen(shop, landing, as_of=AS_OF, folder=folder) == snapshot


def test_a_snapshot_and_its_digest_changed_together_are_not_reused(shop, tmp_path):
    landing, folder = _land(shop, tmp_path / "l"), tmp_path / "s"
    snapshot = _freeze(shop, landing, folder)
    other = _freeze(shop, landing, folder, as_of=AS_OF - timedelta(hours=20))
    for ending in (".parquet", ".json"):
        snapshot.path.with_suffix(ending).write_bytes(other.path.with_suffix(ending).read_bytes())
    assert frozen(shop, landing, as_of=AS_OF, folder=folder) is None


def test_code_that_was_edited_after_it_was_loaded_is_neither_trusted_nor_remembered(shop, tmp_path):
    landing, folder = _land(shop, tmp_path / "l"), tmp_path / "s"
    store, old = MemoryFeatureStore(shop), load_definitions(shop)
    refresh(shop, landing, old, store, as_of=AS_OF)
    edited = _edit(shop, "features.py", "size=1.0", "size=2.0")
    before = freeze(edited, landing, old, store, as_of=AS_OF, folder=folder)
    assert frozen(edited, landing, as_of=AS_OF, folder=folder) is None
    assert _freeze(edited, landing, folder).digest != before.digest


def test_definitions_that_are_not_the_projects_code_are_never_remembered(shop, tmp_path):
    landing, definitions, store = _land(shop, tmp_path / "l"), load_definitions(shop), MemoryFeatureStore(shop)

    class Wrapped:
        request, views = definitions.request, definitions.views

    refresh(shop, landing, Wrapped(), store, as_of=AS_OF)
    freeze(shop, landing, Wrapped(), store, as_of=AS_OF, folder=tmp_path / "s")
    assert frozen(shop, landing, as_of=AS_OF, folder=tmp_path / "s") is None
