"""Skew by replay: each planted fault is named, and honest rows are not."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import numpy as np
import pandas as pd
import pytest

from baton.monitoring.skew import LEAST, Fault, Replayed, name_skew
from baton.monitoring.view_replay import ViewReplay

START = pd.Timestamp("2024-03-01", tz="UTC")
SHOPS = [f"s{at}" for at in range(12)]
COUNT = 400


@pytest.fixture(params=[0, 1, 2])
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def replay(rng):
    """Forty days of values on the hour with gaps, and requests on every tenth minute of the second half."""
    at = START + pd.to_timedelta(np.repeat(np.arange(960), len(SHOPS)), unit="h")
    history = pd.DataFrame({"shop": np.tile(SHOPS, 960), "event_timestamp": at})
    history["sales"] = rng.integers(0, 1_000, len(history)).astype(float)
    history.loc[rng.random(len(history)) < 0.1, "sales"] = np.nan
    history["mood"] = rng.choice(["good", "bad", "odd", "new", "old"], len(history))
    # An hour in six is left out.
    history = history[rng.random(len(history)) > 1 / 6]
    moments = pd.Series(START + pd.to_timedelta(480 * 60 + 10 * rng.integers(0, 2_000, COUNT), unit="min"))
    return ViewReplay(
        history,
        entity="shop",
        entities=pd.Series(rng.choice(SHOPS, COUNT)),
        moments=moments,
        ttl=timedelta(hours=3),
    )


def _name(replay, served, **more):
    skew = name_skew(Replayed(feature="sales", served=served, expected=replay.values("sales"), replay=replay, **more))
    return skew and (skew.fault, skew.detail)


def test_honest_rows_are_not_named(replay):
    assert _name(replay, replay.values("sales").astype(np.float32).astype(float)) is None


@pytest.mark.parametrize("hours", [-8, -5, -3.5, 1, 5.5, 9])
def test_a_time_zone_is_named_with_its_hours(replay, hours):
    """E18, J2: the same history, read some hours off."""
    fault, detail = _name(replay, replay.values("sales", shift=timedelta(hours=hours)))

    assert fault is Fault.TIME_ZONE
    assert detail == f"as of {abs(hours):g} hours {'before' if hours < 0 else 'after'} the moment"


def test_a_zone_whose_clock_was_changed_is_named(replay):
    """J2: the offset is another one from some moment on."""
    served = replay.values("sales", shift=timedelta(hours=-5))
    summer = replay.order[COUNT // 2 :]
    served[summer] = replay.values("sales", shift=timedelta(hours=-4))[summer]

    fault, detail = _name(replay, served)

    assert fault is Fault.TIME_ZONE
    assert "until a clock was changed" in detail


@pytest.mark.parametrize(("scale", "add"), [(100.0, 0.0), (0.001, 0.0), (-1.0, 0.0), (1.8, 32.0)])
def test_a_unit_is_named_with_its_factor(replay, scale, add):
    fault, detail = _name(replay, replay.values("sales") * scale + add)

    assert fault is Fault.UNIT
    assert detail.startswith(f"{scale:g} times")


@pytest.mark.parametrize("default", [0.0, -1.0, 999.0])
def test_a_null_default_is_named_with_its_value(replay, default):
    served = np.nan_to_num(replay.values("sales"), nan=default)

    assert _name(replay, served) == (Fault.NULL_DEFAULT, f"{default} where nothing was known")


def test_a_value_that_was_lost_is_named(replay, rng):
    served = replay.values("sales")
    served[rng.random(COUNT) < 0.3] = np.nan

    assert _name(replay, served) == (Fault.NULL_DEFAULT, "missing, though it was known")


@pytest.mark.parametrize("minutes", [100, 1_000])
def test_a_store_that_is_behind_is_stale(replay, minutes):
    fault, detail = _name(replay, replay.values("sales", shift=-timedelta(minutes=minutes)))

    assert fault is Fault.STALENESS
    assert detail.endswith("before")


def test_values_past_their_age_are_stale(replay):
    """E12: a value that is too old counts as missing where training rows are joined."""
    served = replay.values("sales")
    replay._ttl = timedelta(hours=1)

    fault, _ = _name(replay, served)

    assert fault is Fault.STALENESS


def test_a_delay_within_the_declared_freshness_is_none(replay):
    served = replay.values("sales", shift=-timedelta(minutes=50))

    assert _name(replay, served) is not None
    assert _name(replay, served, fresh=timedelta(hours=1)) is None


def test_a_window_that_ends_too_soon_is_named(replay):
    """The value of an hour counts from its own minute on; served it counted an instant later."""
    otherwise = replay.values("sales", shift=-timedelta(microseconds=1))

    fault, _ = _name(replay, otherwise, otherwise={Fault.WINDOW_BOUNDARY: otherwise})

    assert fault is Fault.WINDOW_BOUNDARY


def test_what_no_replay_gives_is_unexplained(replay, rng):
    fault, _ = _name(replay, rng.normal(size=COUNT))

    assert fault is Fault.UNEXPLAINED


def test_fewer_rows_than_a_name_needs_are_not_named(replay):
    served = replay.values("sales")
    served[: LEAST - 1] = 12_345.0

    assert _name(replay, served) is None


def test_text_is_replayed_too(replay):
    named = partial(Replayed, feature="mood", expected=replay.values("mood"), replay=replay)

    assert name_skew(named(served=replay.values("mood"))) is None
    skew = name_skew(named(served=replay.values("mood", shift=timedelta(hours=-5))))
    assert skew is not None
    assert skew.fault is Fault.TIME_ZONE


def test_a_clock_of_another_zone_is_named():
    expected = np.arange(0.0, 1_440.0, 7.0)

    skew = name_skew(Replayed(feature="minute_of_day", served=(expected + 300) % 1_440, expected=expected))

    assert skew is not None
    assert (skew.fault, skew.detail) == (Fault.TIME_ZONE, "a clock that is 5 hours ahead")
