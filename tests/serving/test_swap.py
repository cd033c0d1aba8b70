"""The champion follows the release pointer and survives a bad one."""

import asyncio
import logging

import pytest

from baton.serving.metrics import Metrics
from baton.serving.release_file import RELEASE_FILE
from baton.serving.swap import FIRST_BACKOFF_S, Champion


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def champion(state, clock):
    return Champion(state, model="flights", max_batch_rows=8, metrics=Metrics(), clock=clock)


def look(champion):
    asyncio.run(champion.look())
    return champion.current.release if champion.current else None


def failures(champion):
    text = champion._metrics.render()[0].decode()
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("baton_swap_failures_total{"))


def test_no_pointer_means_no_champion(champion):
    assert look(champion) is None
    assert failures(champion) == 0


def test_the_pointers_release_is_taken_into_service(champion, release):
    for epoch, number in enumerate((0, 1, 0), start=1):
        expected = release(number, epoch=epoch)
        assert look(champion) == expected


def test_a_corrupt_bundle_keeps_the_last_good_one(champion, release, state, sealed):
    first = release(0)
    look(champion)
    graph = state / "bundles" / sealed.bundles[1].digest / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    release(1)

    assert look(champion) == first
    assert failures(champion) == 1
    assert "model.onnx" in str(champion.failure)


def test_a_garbled_pointer_keeps_the_last_good_one(champion, release, state):
    first = release(0)
    look(champion)
    (state / RELEASE_FILE).write_bytes(b"{")

    assert look(champion) == first
    assert failures(champion) == 1


def test_a_lost_pointer_keeps_the_last_good_one(champion, release, state):
    first = release(0)
    look(champion)
    (state / RELEASE_FILE).unlink()

    assert look(champion) == first


def test_another_models_release_is_refused(champion, release):
    release(0, model="taxis")

    assert look(champion) is None
    assert "expected 'flights'" in str(champion.failure)


def test_a_failure_is_said_once_and_tried_again_after_growing_pauses(champion, release, clock, caplog):
    release(0, champion="0" * 64)
    with caplog.at_level(logging.ERROR):
        tried = []
        for second in range(16):
            clock.now = second * FIRST_BACKOFF_S
            look(champion)
            tried.append(failures(champion))

    assert [at for at in range(16) if tried[at] != (tried[at - 1] if at else 0)] == [0, 1, 3, 7, 15]
    assert [record.message for record in caplog.records] == ["swap_failed"]


def test_a_new_pointer_is_tried_at_once(champion, release, clock):
    release(0, champion="0" * 64)
    look(champion)
    good = release(1)

    assert look(champion) == good
    assert champion.failure is None


def test_a_bundle_that_is_mended_comes_into_service(champion, release, state, sealed, clock):
    folder = state / "bundles" / sealed.bundles[0].digest
    away = folder.rename(folder.with_name("away"))
    good = release(0)
    look(champion)
    away.rename(folder)
    clock.now = FIRST_BACKOFF_S

    assert look(champion) == good
