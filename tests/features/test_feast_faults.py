"""Feast's store where processes die, files are lost and two apply at once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from datetime import timedelta
from threading import Event, Thread

import numpy as np
import pandas as pd
import pytest

from baton.features.feast_store import FeastFeatureStore
from baton.serving.online_map import read_map
from baton.serving.online_store import opened

NOON = pd.Timestamp("2020-01-03T12:00Z").to_pydatetime()
LATER = NOON + timedelta(hours=6)
ENTITIES = [{"shop": shop, "town": town} for shop in "xyz" for town in "tu"]
# The store's own process state, Feast's import above all, is what a child begins with.
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def filled(shop, views, tmp_path):
    store = FeastFeatureStore(tmp_path / "store", shop)
    store.publish(views)
    store.materialize(as_of=NOON)
    return store


def _killed_after_one_view(folder, spec):
    from feast.infra.online_stores.sqlite import SqliteOnlineStore

    write = SqliteOnlineStore.online_write_batch

    def write_and_die(*arguments, **named):
        write(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    SqliteOnlineStore.online_write_batch = write_and_die
    FeastFeatureStore(folder, spec).materialize(as_of=LATER)


def test_materialising_that_dies_half_way_leaves_values_readable_and_is_done_again(filled, shop, tmp_path):
    """E15: the mark is not moved, no entity loses its values, and the next run ends as one that was left alone."""
    mark = (tmp_path / "store" / "online.json").read_bytes()
    child = FORK.Process(target=_killed_after_one_view, args=(tmp_path / "store", shop))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL

    again = FeastFeatureStore(tmp_path / "store", shop)
    said = json.loads((tmp_path / "store" / "materialized.json").read_bytes())["as_of"]
    assert pd.Timestamp(said) == NOON
    assert (tmp_path / "store" / "online.json").read_bytes() == mark
    assert again.online(ENTITIES)["heat"].notna().all()

    again.materialize(as_of=LATER)
    again.materialize(as_of=LATER)
    offline = again.historical(pd.DataFrame(ENTITIES).assign(now=pd.Timestamp(LATER)), moment="now")
    for name in ("visits", "heat"):
        np.testing.assert_array_equal(again.online(ENTITIES)[name], offline[name])


def test_reads_never_fail_while_values_are_written(filled, tmp_path):
    """E15: serving's reader, asked all the while that the store is filled again and again."""
    found = read_map(tmp_path / "store")
    assert found is not None
    wanted = [(view, each[view.entity]) for view in found.views for each in ENTITIES]
    wanted = list({(view.name, entity): (view, entity) for view, entity in wanted}.values())
    ended, seen, failures = Event(), [], []

    def read():
        store = opened(found, url=None, seconds=0.5)

        async def ask():
            while not ended.is_set():
                try:
                    seen.append(len(await store.read(wanted)))
                except Exception as error:  # noqa: BLE001 - whatever fails is counted
                    failures.append(error)
            await store.close()

        asyncio.run(ask())

    reader = Thread(target=read)
    reader.start()
    try:
        for hour in range(4):
            filled.materialize(as_of=NOON + timedelta(hours=hour))
    finally:
        ended.set()
        reader.join(60)

    assert not failures
    assert set(seen) == {len(wanted)}


@pytest.mark.parametrize("hurt", ["gone", "empty", "cut", "emptied"])
def test_a_registry_that_was_lost_is_made_anew_from_the_declarations(filled, shop, tmp_path, hurt):
    """E16: no registry is ever taken for one of a model without features."""
    file = tmp_path / "store" / "registry.db"
    before = filled.online(ENTITIES)
    if hurt == "gone":
        file.unlink()
    elif hurt == "empty":
        file.write_bytes(b"")
    elif hurt == "cut":
        file.write_bytes(b"SQLite format 3\x00 and then nothing of it")
    else:
        opened_again = FeastFeatureStore(tmp_path / "store", shop)._open()
        for name in shop.features.views:
            opened_again.registry.delete_feature_view(name, opened_again.project)

    again = FeastFeatureStore(tmp_path / "store", shop)
    asked = pd.DataFrame(ENTITIES).assign(now=pd.Timestamp(NOON))

    np.testing.assert_array_equal(again.online(ENTITIES)["heat"], before["heat"])
    np.testing.assert_array_equal(again.historical(asked, moment="now")["heat"], before["heat"])


APPLY = """
import pickle, sys
from pathlib import Path
from baton.features.feast_store import FeastFeatureStore
FeastFeatureStore(Path(sys.argv[1]), pickle.loads(Path(sys.argv[2]).read_bytes()))._feast()
"""


def test_of_two_that_apply_at_once_both_end_with_every_view(filled, shop, tmp_path):
    """E17: they wait for each other."""
    (tmp_path / "store" / "applied.json").unlink()
    (tmp_path / "shop.pickle").write_bytes(pickle.dumps(shop))
    # Processes of their own: a fork of this one has whatever other tests have left running in it.
    command = [sys.executable, "-c", APPLY, str(tmp_path / "store"), str(tmp_path / "shop.pickle")]
    children = [subprocess.Popen(command) for _ in range(3)]

    assert [child.wait(240) for child in children] == [0, 0, 0]
    names = {view.name for view in FeastFeatureStore(tmp_path / "store", shop)._feast().list_feature_views()}
    assert names == set(shop.features.views)
