"""Requests share batches, and nothing else."""

import asyncio
import threading
import time

import numpy as np
import pytest

from baton.core.errors import DependencyDown
from baton.packaging.rows import Rows
from baton.serving.batcher import Batcher
from baton.serving.turned_away import DeadlineExceeded, ModelFailed, Overloaded


class Doubler:
    """A predictor that doubles each row's number, and fails on a negative one."""

    def __init__(self, *, takes_s=0.0):
        self.batches = []
        self.takes_s = takes_s
        self.gate = threading.Event()
        self.gate.set()

    def score(self, rows):
        self.gate.wait(5)
        time.sleep(self.takes_s)
        self.batches.append(len(rows))
        if (rows.numbers < 0).any():
            raise ValueError("negative")
        return rows.numbers[:, 0].astype("float64") * 2


def rows(*numbers):
    return Rows(numbers=np.array([[n] for n in numbers], dtype="float32"), texts=np.empty((len(numbers), 0), object))


def run(story, **limits):
    async def with_batcher():
        batcher = Batcher(**{"max_batch_rows": 64, "max_wait_ms": 2.0} | limits)
        batcher.start()
        try:
            return await asyncio.wait_for(story(batcher), 20)
        finally:
            await batcher.stop()

    return asyncio.run(with_batcher())


def test_each_request_gets_its_own_rows_back():
    """A11."""
    model = Doubler()

    async def story(batcher):
        return await asyncio.gather(*(batcher.score(model, rows(n, n + 0.5)) for n in range(100)))

    answers = run(story)

    assert [answer.scores.tolist() for answer in answers] == [[2 * n, 2 * n + 1] for n in range(100)]
    assert len(model.batches) < 10
    assert max(model.batches) == 64


def test_requests_that_arrive_while_computing_share_the_next_batch():
    model = Doubler()

    async def story(batcher):
        model.gate.clear()
        first = asyncio.create_task(batcher.score(model, rows(1)))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batcher.score(model, rows(n))) for n in range(5)]
        await asyncio.sleep(0.05)
        model.gate.set()
        return await asyncio.gather(first, *others)

    answers = run(story)

    assert model.batches == [1, 5]
    assert answers[1].batch_rows == 5
    assert answers[1].queue_ms > 40 > answers[0].queue_ms
    assert answers[0].compute_ms > 90


def test_only_the_bad_request_of_a_batch_fails():
    """A9, A10: its neighbours are answered as if alone."""
    model = Doubler()

    async def story(batcher):
        work = (batcher.score(model, rows(n if n != 7 else -1)) for n in range(20))
        return await asyncio.gather(*work, return_exceptions=True)

    answers = run(story)

    assert isinstance(answers[7], ModelFailed)
    assert isinstance(answers[7].__cause__, ValueError)
    assert [a.scores[0] for n, a in enumerate(answers) if n != 7] == [2 * n for n in range(20) if n != 7]


def test_a_batch_has_one_predictor_from_end_to_end():
    old, new = Doubler(), Doubler()

    async def story(batcher):
        old.gate.clear()
        work = [asyncio.create_task(batcher.score(old, rows(n))) for n in range(3)]
        await asyncio.sleep(0.02)
        work += [asyncio.create_task(batcher.score(new, rows(n))) for n in range(4)]
        work += [asyncio.create_task(batcher.score(old, rows(9)))]
        await asyncio.sleep(0.02)
        old.gate.set()
        await asyncio.gather(*work)

    run(story)

    assert (old.batches, new.batches) == ([3, 1], [4])


def test_work_whose_caller_has_gone_is_not_computed():
    """A7."""
    model = Doubler()

    async def story(batcher):
        model.gate.clear()
        first = asyncio.create_task(batcher.score(model, rows(1)))
        await asyncio.sleep(0.02)
        gone = [asyncio.create_task(batcher.score(model, rows(-1))) for _ in range(5)]
        stays = asyncio.create_task(batcher.score(model, rows(3)))
        await asyncio.sleep(0.02)
        for each in gone:
            each.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await first
        return await stays

    assert run(story).scores.tolist() == [6.0]
    assert model.batches == [1, 1]


def test_a_request_larger_than_a_batch_is_a_batch_of_its_own():
    model = Doubler()

    async def story(batcher):
        return await asyncio.gather(batcher.score(model, rows(1)), batcher.score(model, rows(*range(10))))

    run(story, max_batch_rows=4)

    assert model.batches == [1, 10]


def test_a_lone_caller_never_waits_for_others():
    model = Doubler(takes_s=0.005)

    async def story(batcher):
        return [await batcher.score(model, rows(1)) for _ in range(30)]

    waits = [answer.batch_ms for answer in run(story, max_wait_ms=50.0)]

    assert np.median(waits) < 1.0


def test_a_crowd_waits_no_longer_than_the_limit_and_computing_takes():
    model = Doubler(takes_s=0.004)

    async def caller(batcher):
        return [await batcher.score(model, rows(1)) for _ in range(20)]

    async def story(batcher):
        answers = await asyncio.gather(*(caller(batcher) for _ in range(16)))
        return batcher.patience_ms(), answers

    patience, answers = run(story, max_wait_ms=3.0)

    assert patience <= 3.0
    assert len(model.batches) < 80
    assert np.median([answer.batch_ms for each in answers for answer in each]) < 10


def test_a_full_queue_turns_work_away():
    model = Doubler()

    async def story(batcher):
        model.gate.clear()
        work = [asyncio.create_task(batcher.score(model, rows(n))) for n in range(40)]
        await asyncio.sleep(0.05)
        model.gate.set()
        return await asyncio.gather(*work, return_exceptions=True)

    answers = run(story, max_batch_rows=2, max_queued_rows=32)

    refused = [each for each in answers if isinstance(each, DependencyDown)]
    assert 0 < len(refused) <= 10
    assert all(a.scores[0] == 2 * n for n, a in enumerate(answers) if not isinstance(a, DependencyDown))


def test_stopping_finishes_what_is_queued():
    model = Doubler(takes_s=0.01)

    async def story():
        batcher = Batcher(max_batch_rows=1, max_wait_ms=2.0)
        batcher.start()
        work = [asyncio.create_task(batcher.score(model, rows(n))) for n in range(5)]
        await asyncio.sleep(0)
        await batcher.stop()
        return [task.result().scores[0] for task in work]

    assert asyncio.run(story()) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_cancelled_request_leaves_no_room_taken(gone):
    model = Doubler()

    async def story(batcher):
        for _ in range(40):
            task = asyncio.create_task(batcher.score(model, rows(1)))
            await asyncio.sleep(0)
            if gone:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return (await batcher.score(model, rows(4))).scores[0]

    assert run(story, max_batch_rows=1) == 8


class Known(Doubler):
    """A predictor that was warmed with batches of 100 ms and 1 ms a row."""

    warmed = tuple((rows, 100.0 + rows) for rows in (1, 2, 4, 8, 16, 32, 64))


def test_a_burst_after_quiet_singles_is_not_shed():
    """A12."""
    model = Doubler(takes_s=0.001)

    async def story(batcher):
        for _ in range(5):
            await batcher.score(model, rows(1))
        return await asyncio.gather(*(batcher.score(model, rows(n), deadline=_in(10)) for n in range(400)))

    assert [answer.scores[0] for answer in run(story)] == [2 * n for n in range(400)]


def test_what_cannot_be_done_by_its_deadline_is_turned_away_at_once():
    """A1: with the time in which it could be."""
    model = Known()

    async def story(batcher):
        model.gate.clear()
        first = asyncio.create_task(batcher.score(model, rows(1)))
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded) as refused:
            await batcher.score(model, rows(2), deadline=_in(0.11))
        model.gate.set()
        await first
        return refused.value.retry_after_s

    assert 0 < run(story) < 1
    assert model.batches == [1]


def test_what_would_be_late_gives_way_to_what_is_not():
    """A8: it is never computed."""
    model = Known()

    async def story(batcher):
        model.gate.clear()
        first = asyncio.create_task(batcher.score(model, rows(1)))
        await asyncio.sleep(0.02)
        late = asyncio.create_task(batcher.score(model, rows(2), deadline=_in(0.6)))
        patient = asyncio.create_task(batcher.score(model, rows(3), deadline=_in(20)))
        # Where it was expected to be in time, the batch before it takes too long.
        await asyncio.sleep(0.55)
        model.gate.set()
        return await asyncio.gather(first, late, patient, return_exceptions=True)

    _, late, patient = run(story)

    assert isinstance(late, DeadlineExceeded)
    assert patient.scores.tolist() == [6.0]
    assert model.batches == [1, 1]


def test_the_last_one_is_computed_however_long_it_is_expected_to_take():
    """A wrong expectation is put right by what it turns out to take."""
    model = Known()
    model.warmed = ((1, 60_000.0),)

    async def story(batcher):
        return await batcher.score(model, rows(4), deadline=_in(20))

    assert run(story).scores.tolist() == [8.0]


def _in(seconds):
    return time.perf_counter() + seconds
