"""A challenger that nobody sees: paired with the champion, never waited for, and left alone where it fails."""

import threading
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton.core.release import Mode, Release
from baton.core.rollout import Arm
from baton.packaging.rows import Rows
from baton.serving.shadow import GIVEN_UP, Shadow, Shown
from baton.serving.traffic import Traffic, read_traffic

RELEASE = Release(
    model="m", epoch=1, version="1", champion="a" * 64, challenger="b" * 64, mode=Mode.SHADOW, rollout="r", revision=3
)
ROWS = Rows(numbers=np.zeros((2, 1), dtype=np.float32), texts=np.zeros((2, 0), dtype=object))


def predictor(digest, score):
    return SimpleNamespace(bundle=SimpleNamespace(digest=digest), release=RELEASE, score=score)


CHAMPION = predictor("a" * 64, None)


def shown(shadow, *, ids=("1", "2"), scores=(0.2, 0.4), rollout="r"):
    return Shown(
        rollout=rollout,
        shadow=shadow,
        champion=CHAMPION,
        ids=ids,
        entities=["x"] * len(ids),
        served_at=datetime(2024, 1, 1, tzinfo=timezone.utc),
        rows=ROWS,
        scores=np.asarray(scores),
        milliseconds=1.0,
    )


@pytest.fixture
def traffic(tmp_path):
    traffic = Traffic(tmp_path)
    traffic.follow(RELEASE)
    return traffic


@pytest.fixture
def shadow(tmp_path, traffic):
    shadow = Shadow(tmp_path, traffic=traffic, most_rows=10)
    yield shadow
    shadow.stop()


def until(met, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.005)


def pairs(tmp_path, rollout="r"):
    files = sorted((tmp_path / "shadow" / rollout).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_each_row_is_paired_with_the_champions(shadow, tmp_path, traffic):
    shadow.add(shown(predictor("b" * 64, lambda _: np.asarray([0.5, 0.1]))))
    until(lambda: shadow.fates["paired"] == 2)
    shadow.stop()

    found = pairs(tmp_path)
    assert [(row["id"], row["champion"], row["challenger"]) for row in found] == [("1", 0.2, 0.5), ("2", 0.4, 0.1)]
    assert [row["difference"] for row in found] == pytest.approx([0.3, -0.3])
    assert {row["champion_digest"][0] + row["challenger_digest"][0] for row in found} == {"ab"}
    assert all(row["challenger_ms"] >= 0 for row in found)


def test_of_several_classes_the_distance_of_their_chances_is_kept(shadow, tmp_path):
    answers = np.asarray([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    shadow.add(shown(predictor("b" * 64, lambda _: answers), scores=[[0.5, 0.3, 0.2], [0.2, 0.7, 0.1]]))
    until(lambda: shadow.fates["paired"] == 2)
    shadow.stop()

    assert [row["difference"] for row in pairs(tmp_path)] == pytest.approx([0.0, 0.1])


def test_pairs_of_two_rollouts_are_kept_apart(shadow, tmp_path):
    challenger = predictor("b" * 64, lambda _: np.asarray([0.5, 0.1]))
    for rollout in ("r", "s"):
        shadow.add(shown(challenger, rollout=rollout))
    until(lambda: shadow.fates["paired"] == 4)
    shadow.stop()

    assert (len(pairs(tmp_path)), len(pairs(tmp_path, "s"))) == (2, 2)


def test_a_slow_challenger_is_not_waited_for_and_what_does_not_fit_is_dropped(shadow):
    """B15: user latency unchanged; the queue is bounded."""
    hanging = threading.Event()

    def slow(_):
        hanging.wait(20)
        return np.asarray([0.5, 0.1])

    started = time.perf_counter()
    for _ in range(100):
        shadow.add(shown(predictor("b" * 64, slow)))
    took = time.perf_counter() - started
    assert took < 0.5
    # Ten rows fit, and the two that are being computed.
    assert shadow.fates["dropped"] >= 200 - 12
    hanging.set()


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError()], ids=["crashing", "out of memory"])
def test_a_failing_challenger_is_counted_and_given_up(shadow, tmp_path, traffic, error):
    """B15: the champion's answers are as they were, and the judge hears of each failure."""
    asked = []

    def fail(_):
        asked.append(1)
        raise error

    failing = predictor("b" * 64, fail)
    for at in range(GIVEN_UP + 5):
        shadow.add(shown(failing))
        until(lambda at=at: shadow.fates["failed"] + shadow.fates["dropped"] == 2 * (at + 1))
    assert shadow.gave_up(failing)
    assert len(asked) == GIVEN_UP
    ((path, content),) = traffic.content()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (stage,) = read_traffic(tmp_path, "r")
    assert (stage.revision, stage.of(Arm.CHALLENGER).errors) == (3, GIVEN_UP)


def test_another_challenger_starts_with_a_clean_slate(shadow):
    def fail(_):
        raise RuntimeError("broken")

    failing = predictor("b" * 64, fail)
    for at in range(GIVEN_UP):
        shadow.add(shown(failing))
        until(lambda at=at: shadow.fates["failed"] == 2 * (at + 1))
    shadow.add(shown(predictor("c" * 64, lambda _: np.asarray([0.5, 0.1]))))
    until(lambda: shadow.fates["paired"] == 2)


def test_counts_of_a_process_that_was_killed_are_added_to_those_of_the_next(tmp_path):
    for _ in range(2):
        traffic = Traffic(tmp_path)
        traffic.follow(RELEASE)
        traffic.answered(Arm.CHAMPION, 3.0, [0.5])
        traffic.failed(Arm.CHALLENGER)
        ((path, content),) = traffic.content()
        assert traffic.content() == []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    (stage,) = read_traffic(tmp_path, "r")
    assert (stage.champion.requests, stage.challenger.errors, stage.champion.scores.total) == (2, 2, 1.0)
    assert read_traffic(tmp_path, "another") == ()


def test_counts_of_a_rollout_that_is_over_are_not_lost(tmp_path, traffic):
    traffic.answered(Arm.CHAMPION, 3.0, [0.5])
    traffic.follow(Release(model="m", epoch=2, version="2", champion="b" * 64))
    traffic.answered(Arm.CHAMPION, 3.0, [0.5])

    ((path, _),) = traffic.content()
    assert path.parent.name == "r"
    assert traffic.content() == []
