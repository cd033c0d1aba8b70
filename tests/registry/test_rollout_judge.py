"""The rollout judge as a statistic: how often it errs under continuous peeking, and how soon it sees what is worse."""

import math

import numpy as np
import pytest

from baton.core.policy import RolloutSpec
from baton.core.rollout import LATENCY_EDGES_MS, Decision, Stage, Sums, Tally
from baton.registry.rollout_judge import judge, slow_from
from baton.registry.rollout_plan import Status
from baton.registry.rollout_sequences import FEWEST, log_excess, mean_bounds, rate_bounds
from baton.testing.arms import Truth, answer, first_decision, rolled_out

POLICY = RolloutSpec(mode="canary")
SLOW_MS = LATENCY_EDGES_MS[78]


def generator(*seed):
    return np.random.default_rng(seed)


def stage_of(champion, challenger, *, requests=(5_000, 1_000), seed=0):
    stage = Stage(revision=1)
    drawn = generator(seed)
    for tally, truth, count in zip((stage.champion, stage.challenger), (champion, challenger), requests, strict=True):
        answer(drawn, tally, truth, count)
    return stage


def said(name, judgement):
    return next(sign.says for sign in judgement.signs if sign.name == name)


def test_no_data_never_promotes():
    """B11: no request, nobody to compare with, or nothing that answers: WAIT, however often one asks."""
    empty = Stage(revision=1)
    alone = stage_of(Truth(), Truth(), requests=(5_000, 0))
    blind = stage_of(Truth(), Truth(), requests=(0, 5_000))

    for stages in ([], [empty], [alone], [blind]):
        assert judge(stages, POLICY, slow_ms=SLOW_MS).decision is Decision.WAIT


def test_an_equal_challenger_is_promoted_in_the_end():
    stage = stage_of(Truth(errors=0.001), Truth(errors=0.001), requests=(20_000, 3_000))

    assert judge([stage], POLICY, slow_ms=SLOW_MS).decision is Decision.PROMOTE


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("errors", Truth(errors=0.10)),
        ("latency", Truth(errors=0.001, median_ms=20.0)),
        ("score", Truth(errors=0.001, score=1.5)),
        ("score", Truth(errors=0.001, score=-1.5)),
    ],
    ids=["errors", "latency", "score up", "score down"],
)
def test_each_way_of_being_worse_rolls_back_alone(name, worse):
    judgement = judge([stage_of(Truth(errors=0.001), worse)], POLICY, slow_ms=SLOW_MS)

    assert judgement.decision is Decision.ROLL_BACK
    assert said(name, judgement) is Decision.ROLL_BACK
    assert len([sign for sign in judgement.signs if sign.says is Decision.ROLL_BACK]) == 1


def test_a_loss_that_is_higher_rolls_back_once_labels_have_come():
    stage = stage_of(Truth(errors=0.0), Truth(errors=0.0), requests=(20_000, 3_000))
    drawn = generator(8)
    stage.champion.losses.add(drawn.normal(0.4, 0.3, 4_000).tolist())
    stage.challenger.losses.add(drawn.normal(0.5, 0.3, 800).tolist())

    judgement = judge([stage], POLICY, slow_ms=SLOW_MS)
    assert said("metric", judgement) is Decision.ROLL_BACK
    assert judgement.decision is Decision.ROLL_BACK


def test_labels_that_are_asked_for_are_waited_for():
    stage = stage_of(Truth(errors=0.0), Truth(errors=0.0), requests=(20_000, 3_000))
    waits = RolloutSpec(mode="ab", labels=500)

    assert judge([stage], waits, slow_ms=SLOW_MS).decision is Decision.WAIT
    for tally in (stage.champion, stage.challenger):
        tally.losses.add(generator(9).normal(0.4, 0.3, 600).tolist())
    assert judge([stage], waits, slow_ms=SLOW_MS).decision is Decision.PROMOTE


def test_what_is_slow_is_told_from_the_champion_alone():
    stage = stage_of(Truth(errors=0.0), Truth(median_ms=500.0))

    assert slow_from([Stage(revision=1)], POLICY) is None
    # 5 ms at a spread of 0.3 has its 95th percentile at 8.2 ms.
    assert 16.3 < slow_from([stage], POLICY) < 16.3 * 1.1**2


def test_a_rate_that_drifts_while_the_weight_grows_is_no_difference():
    """Simpson's paradox: both arms fail alike at each step, and the pooled rates differ fivefold."""
    stages = [
        stage_of(Truth(errors=0.01), Truth(errors=0.01), requests=(9_900, 100), seed=1),
        stage_of(Truth(errors=0.10), Truth(errors=0.10), requests=(1_000, 1_000), seed=2),
    ]
    counts = [(s.champion.errors, s.champion.requests, s.challenger.errors, s.challenger.requests) for s in stages]
    pooled = tuple(sum(column) for column in zip(*counts, strict=True))

    assert log_excess([pooled]) > math.log(1e6)
    assert log_excess(counts) < math.log(20)


def test_bounds_of_a_rate_cover_it_at_all_times():
    """Ville: over two thousand looks the true rate is ever outside in at most five of a hundred."""
    repeats, outside = 300, 0
    for repeat in range(repeats):
        events = np.cumsum(generator(10, repeat).random(2_000) < 0.05)
        looked = ((int(events[at]), at + 1) for at in range(0, 2_000, 20))
        outside += any(not low <= 0.05 <= high for low, high in (rate_bounds(*each, 0.05) for each in looked))
    # Two and a half standard errors of a share of 0.05.
    assert outside / repeats <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize(("events", "count"), [(0, 0), (0, 10), (10, 10), (1, 2), (500, 1_000_000)])
def test_bounds_of_a_rate_are_within_0_and_1_and_hold_what_was_seen(events, count):
    low, high = rate_bounds(events, count, 0.01)

    assert 0 <= low <= (events / count if count else 0.5) <= high <= 1


def test_bounds_of_a_mean_cover_no_difference_at_all_times():
    repeats, outside = 300, 0
    for repeat in range(repeats):
        drawn, sums = generator(11, repeat), (Sums(), Sums())
        wrong = False
        for _ in range(60):
            for each, count in zip(sums, (100, 20), strict=True):
                each.add(drawn.exponential(size=count).tolist())
            low, high = mean_bounds([sums], 0.05, scale=0.5)
            wrong |= not low <= 0 <= high
        outside += wrong
    assert outside / repeats <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / repeats)


def test_a_mean_of_few_answers_says_nothing():
    few = Sums()
    few.add([1.0] * (FEWEST - 1))

    assert mean_bounds([(few, few)], 0.05, scale=1.0) == (-math.inf, math.inf)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_no_difference_is_rolled_back_in_at_most_one_of_a_hundred(weight):
    """B13: A = B, looked at again and again; a share of 0.01 of 150 is ever above 0.04 in fewer than one of 500."""
    wanted = {"weight": weight, "looks": 60, "every": 50, "wanted": Decision.ROLL_BACK}
    ended = [first_decision(generator(12, at), POLICY, Truth(), Truth(), **wanted) for at in range(150)]

    assert sum(requests is not None for requests in ended) <= 6


@pytest.mark.parametrize(
    "worse", [Truth(errors=0.02), Truth(median_ms=SLOW_MS / math.exp(0.3 * 1.6449)), Truth(score=0.5)], ids=str
)
def test_what_is_worse_than_allowed_is_promoted_in_at_most_five_of_a_hundred(worse):
    """B13: a whole rollout with a look every ten seconds; 60 rollouts with a chance of 0.05 end so 8 times at most."""
    ended = [
        rolled_out(generator(13, at), POLICY, Truth(), worse, most_looks=240, slow_ms=SLOW_MS).status
        for at in range(60)
    ]
    assert sum(status is Status.PROMOTING for status in ended) <= 8


def test_a_doubled_error_rate_is_found_within_500_requests_at_the_median():
    """At a base rate of five in a hundred; docs/explanation/rollout.md has the curve."""
    wanted = {"weight": 0.05, "looks": 200, "every": 10, "wanted": Decision.ROLL_BACK}
    found = [
        first_decision(generator(14, at), POLICY, Truth(errors=0.05), Truth(errors=0.10), **wanted) for at in range(41)
    ]
    assert float(np.median([requests or math.inf for requests in found])) <= 500


def test_ten_failures_in_a_hundred_beside_one_in_a_thousand_are_found_within_200_requests():
    """B12."""
    wanted = {"weight": 0.05, "looks": 100, "every": 5, "wanted": Decision.ROLL_BACK}
    found = [
        first_decision(generator(15, at), POLICY, Truth(errors=0.001), Truth(errors=0.10), **wanted) for at in range(40)
    ]
    assert max(requests or math.inf for requests in found) <= 200


def test_a_tally_tells_its_quantile_and_what_is_slower():
    tally = Tally()
    for milliseconds in range(1, 101):
        tally.answered(float(milliseconds), [0.5])
    tally.failed()

    assert 95 <= tally.quantile_ms(0.95) <= 95 * 1.1
    assert tally.slower_than(LATENCY_EDGES_MS[-1]) == 0
    assert (tally.requests, tally.errors, tally.scores.count) == (101, 1, 100)
