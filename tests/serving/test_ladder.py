"""Where a model fails another answers and says so; a model that is broken is left alone, and asked again."""

import asyncio
import math
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from baton.core.release import Mode
from baton.serving.answer_cache import AnswerCache
from baton.serving.app import create_app
from baton.serving.batcher import Batcher
from baton.serving.breaker import FAILURES, PAUSE_S, BreakerOpen
from baton.serving.ladder import Ladder, ModelBroken
from baton.serving.predictor import Predictor, load_predictor
from baton.serving.serving_settings import ServingSettings
from baton.serving.turned_away import ModelFailed

PREDICT = "/v1/models/flights/predict"


@pytest.fixture
def failing(monkeypatch):
    """Bundles that fail: on everything, or where a test of the rows says so; add a digest to break one."""
    found = {}
    score = Predictor.score

    def scored(self, rows):
        if found.get(self.bundle.digest, lambda _: False)(rows):
            raise FloatingPointError
        return score(self, rows)

    monkeypatch.setattr(Predictor, "score", scored)
    return found


def always(_):
    return True


def breaks(failing, *bundles, on=always):
    """Give what breaks bundles that are in service already; broken ones would not come into service."""
    return lambda _: failing.update({bundle.digest: on for bundle in bundles})


async def until(met):
    while not met():  # noqa: ASYNC110 - nothing tells when the service's own polling is done
        await asyncio.sleep(0.01)


@asynccontextmanager
async def served(state, **settings):
    app = create_app(lambda: ServingSettings(folder=state, model="flights", poll_seconds=0.01, **settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        champion = app.state.engine.champion
        await until(lambda: champion.previous is not None or not champion.router.release.previous)
        yield client, app.state.engine


def told(state, requests, **settings):
    """Give the answers to bodies, one after another; a callable between them is called."""

    async def story():
        answers = []
        async with served(state, **settings) as (client, engine):
            for body in requests:
                if callable(body):
                    body(engine)
                else:
                    answers.append(await client.post(PREDICT, json=body))
        return answers

    return asyncio.run(story())


def body(sealed, *at):
    return {"rows": [sealed.requests[each] for each in at]}


def scores(response):
    return [each["score"] for each in response.json()["predictions"]]


def with_previous(release, sealed):
    return release(1, epoch=2, previous=sealed.bundles[0].digest, previous_version="1")


def test_the_previous_champion_stands_in_and_says_so(state, sealed, release, failing):
    with_previous(release, sealed)
    (answer,) = told(state, [breaks(failing, sealed.bundles[1]), body(sealed, 3, 4)])

    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("degraded", "version", "digest", "epoch")} == {
        "degraded": "previous",
        "version": "1",
        "digest": sealed.bundles[0].digest,
        "epoch": 2,
    }
    assert answer.headers["model-digest"] == sealed.bundles[0].digest
    assert scores(answer) == pytest.approx(sealed.scores[sealed.bundles[0].digest][3:5].tolist(), abs=1e-6)


def test_an_answer_of_the_model_itself_has_no_label(state, sealed, release):
    with_previous(release, sealed)
    (answer,) = told(state, [body(sealed, 3)])

    assert "degraded" not in answer.json()


def test_without_a_previous_champion_the_same_rows_have_the_same_answer_from_the_cache(state, sealed, release, failing):
    release(0)
    digest = sealed.bundles[0].digest
    first, again, unknown = told(
        state, [body(sealed, 3), breaks(failing, sealed.bundles[0]), body(sealed, 3), body(sealed, 4)]
    )

    assert (again.json()["degraded"], again.json()["digest"]) == ("cached", digest)
    assert scores(again) == scores(first)
    assert again.json()["predictions"][0]["id"] != first.json()["predictions"][0]["id"]
    assert unknown.status_code == 503


def test_the_constant_of_the_bundle_is_the_last_rung_where_it_is_asked_for(state, sealed, release, failing):
    with_previous(release, sealed)
    (answer,) = told(state, [breaks(failing, *sealed.bundles), body(sealed, 3, 4)], degrade_to="constant")
    digest = sealed.bundles[1].digest

    assert (answer.status_code, answer.json()["degraded"], answer.json()["digest"]) == (200, "constant", digest)
    mean = float(np.mean(sealed.scores[digest]))
    assert scores(answer) == pytest.approx([mean, mean], abs=0.01)


@pytest.mark.parametrize("lowest", ["previous", "cached"])
def test_nobody_is_given_an_answer_that_was_not_asked_for(state, sealed, release, failing, lowest):
    with_previous(release, sealed)
    (answer,) = told(state, [breaks(failing, *sealed.bundles), body(sealed, 3)], degrade_to=lowest)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "the model does not answer" in answer.json()["detail"]


def test_nothing_stands_in_where_nothing_may(state, sealed, release, failing):
    with_previous(release, sealed)
    (answer,) = told(state, [breaks(failing, sealed.bundles[1]), body(sealed, 3)], degrade_to="nothing")

    assert answer.status_code == 503


def odd(rows):
    return bool(np.any(rows.numbers[:, 0] == 2_222.0))


def test_odd_rows_are_their_callers_and_take_the_model_from_nobody(state, sealed, release, failing):
    """A10: the model is well, as its golden request shows, however often somebody sends what it cannot score."""
    release(0)
    failing[sealed.bundles[0].digest] = odd
    strange = {"rows": [sealed.requests[3] | {"distance": 2_222.0}]}
    *refused, well = told(state, [*[strange] * (2 * FAILURES), body(sealed, 3)])

    assert {answer.status_code for answer in refused} == {500}
    assert {answer.json()["code"] for answer in refused} == {"model_error"}
    assert (well.status_code, "degraded" in well.json()) == (200, False)


def test_odd_rows_may_be_no_trouble_to_the_champion_before(state, sealed, release, failing):
    with_previous(release, sealed)
    failing[sealed.bundles[1].digest] = odd
    strange = {"rows": [sealed.requests[3] | {"distance": 2_222.0}]}
    answer, well = told(state, [strange, body(sealed, 3)])

    assert (answer.json()["degraded"], "degraded" in well.json()) == ("previous", False)


def test_a_challenger_that_fails_is_stood_in_for_by_the_champion_and_counted_as_failing(
    state, sealed, release, failing
):
    challenger = sealed.bundles[1].digest
    release(
        0,
        challenger=challenger,
        challenger_version="2",
        mode=Mode.CANARY,
        weight=1.0,
        salt="s",
        rollout="r",
        revision=1,
    )
    tallies = []
    (answer,) = told(
        state,
        [
            breaks(failing, sealed.bundles[1]),
            body(sealed, 3),
            lambda engine: tallies.append(engine.champion.traffic._stage),
        ],
    )

    assert (answer.status_code, answer.json()["degraded"], answer.json()["version"]) == (200, "champion", "1")
    assert (tallies[0].challenger.errors, tallies[0].challenger.requests, tallies[0].champion.requests) == (1, 1, 0)


def test_what_stood_in_is_logged_and_measured_as_neither_arm(state, sealed, release, failing):
    with_previous(release, sealed)

    async def story():
        async with served(state) as (client, engine):
            breaks(failing, sealed.bundles[1])(engine)
            await client.post(PREDICT, json=body(sealed, 3))
            return engine.metrics.render()[0].decode()

    text = asyncio.run(story())
    import pyarrow.parquet as pq

    (row,) = [row for file in (state / "predictions").rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert (row["cohort"], row["digest"], row["version"]) == ("degraded-previous", sealed.bundles[0].digest, "1")
    assert 'baton_degraded_total{rung="previous"} 1.0' in text.splitlines()
    assert 'cohort="degraded-previous"' in text


def test_the_other_protocol_says_so_too(state, sealed, release, failing):
    with_previous(release, sealed)
    row = sealed.requests[3]
    kinds = {"carrier": "BYTES", "distance": "FP64", "delay": "FP64"}
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": kind, "data": [row[name] if row[name] is not None else 0]}
        for name, kind in kinds.items()
    ]

    async def story():
        async with served(state) as (client, engine):
            breaks(failing, sealed.bundles[1])(engine)
            return await client.post("/v2/models/flights/infer", json={"inputs": tensors})

    answer = asyncio.run(story())
    assert answer.json()["parameters"]["degraded"] == "previous"


def test_a_previous_champion_of_other_fields_does_not_stand_in(state, sealed, release, failing, monkeypatch):
    from baton.serving import swap

    def refuse(_, previous):
        raise ValueError(previous)

    monkeypatch.setattr(swap, "check_alike", refuse)
    with_previous(release, sealed)

    async def story():
        app = create_app(lambda: ServingSettings(folder=state, model="flights", poll_seconds=0.01))
        async with app.router.lifespan_context(app):
            champion = app.state.engine.champion
            await until(lambda: champion._previous_tried is not None)
            return champion.previous

    assert asyncio.run(story()) is None


def test_a_champion_that_was_just_replaced_is_at_hand_without_being_loaded_again(state, sealed, release):
    release(0)

    async def story():
        async with served(state) as (_, engine):
            champion = engine.champion
            first = champion.current
            graph = state / "bundles" / sealed.bundles[0].digest / "model.onnx"
            graph.unlink()
            with_previous(release, sealed)
            await until(lambda: champion.previous is not None)
            return champion.previous, first

    previous, first = asyncio.run(story())
    assert previous._scorer is first._scorer
    assert (previous.release.version, previous.release.epoch) == ("1", 2)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_broken_model_is_left_alone_and_then_asked_by_one_request_at_a_time(state, sealed, release, failing):
    """A10: closed, open, half open with one probe, and closed again once it answers."""
    made = release(0)
    predictor = load_predictor(state, made, max_batch_rows=8)
    failing[made.champion] = always
    rows, clock, called = sealed.table.part(0, 1), Clock(), []

    async def story():
        batcher = Batcher(max_batch_rows=8, max_wait_ms=0)
        batcher.start()
        ladder = Ladder(batcher, clock=clock)
        plain = batcher.score

        async def counted(*words, **named):
            called.append(words[0])
            return await plain(*words, **named)

        batcher.score = counted

        async def ask():
            try:
                return await ladder.score(predictor, rows, deadline=math.inf)
            except ModelFailed as error:
                return type(error)
            except BreakerOpen:
                return BreakerOpen

        found = [await ask() for _ in range(FAILURES + 3)]
        assert found == [ModelBroken] * (FAILURES + 1) + [BreakerOpen] * 2

        called.clear()
        clock.now = PAUSE_S
        probes = await asyncio.gather(*(ask() for _ in range(10)))
        assert sorted(each.__name__ for each in probes) == ["BreakerOpen"] * 9 + ["ModelBroken"]
        # The one request, and the golden one.
        assert len(called) == 2

        failing.clear()
        assert await ask() is BreakerOpen
        clock.now = 2 * PAUSE_S
        assert len((await ask()).scores) == 1
        assert all(not isinstance(each, type) for each in await asyncio.gather(*(ask() for _ in range(10))))
        await batcher.stop()

    asyncio.run(story())


def test_no_cached_answer_is_another_versions_whatever_was_promoted(sealed):
    """B7: 10,000 look-ups across 50 promotions; the digest is part of the key."""
    cache, stale, hits = AnswerCache(), 0, 0
    for promotion in range(50):
        digest = f"{promotion % 7:064x}"
        for at in range(200):
            rows = sealed.table.part(at % 100, at % 100 + 1)
            found = cache.find(digest, rows)
            if found is None:
                cache.keep(digest, rows, np.array([promotion % 7 + at % 100 / 1_000]))
            else:
                hits += 1
                stale += found[0] != promotion % 7 + at % 100 / 1_000
    assert hits > 5_000
    assert stale == 0


def test_the_cache_is_bounded_and_keeps_no_large_requests(sealed):
    cache = AnswerCache(most=10)
    for at in range(30):
        cache.keep("d", sealed.table.part(at, at + 1), np.array([float(at)]))
    cache.keep("d", sealed.table.part(0, 50), np.zeros(50))

    assert len(cache) == 10
    assert cache.find("d", sealed.table.part(0, 50)) is None
