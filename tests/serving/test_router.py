"""Who is answered by which model: always the same one, and more by the challenger only as the weight grows."""

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core.release import Mode, Release
from baton.core.rollout import Arm
from baton.serving.router import Router, point

RELEASE = Release(
    model="m", epoch=1, version="1", champion="a" * 64, challenger="b" * 64, mode=Mode.CANARY, weight=0.05, salt="s"
)
CHAMPION, CHALLENGER = SimpleNamespace(name="champion"), SimpleNamespace(name="challenger")
ENTITIES = [f"N{number}" for number in range(20_000)]


def router(**changes):
    return Router(replace(RELEASE, **changes), CHAMPION, CHALLENGER)


def challenged(**changes):
    made = router(**changes)
    return {entity for entity in ENTITIES if made.arm(entity) is CHALLENGER}


@pytest.mark.parametrize("weight", [0.01, 0.05, 0.25, 0.5])
def test_the_share_of_entities_is_the_weight(weight):
    # Four standard deviations of a binomial share.
    assert abs(len(challenged(weight=weight)) / len(ENTITIES) - weight) < 4 * (weight / len(ENTITIES)) ** 0.5


def test_entities_only_come_to_the_challenger_as_the_weight_grows():
    """B14: sticky at a constant weight, monotone while ramping."""
    ramp = [challenged(weight=weight) for weight in (0.0, 0.01, 0.05, 0.25, 0.5, 1.0)]

    assert all(smaller <= larger for smaller, larger in itertools.pairwise(ramp))
    assert (ramp[0], ramp[-1]) == (set(), set(ENTITIES))
    assert challenged(weight=0.25) == ramp[3]


def test_another_salt_draws_other_entities():
    one, other = challenged(weight=0.05), challenged(weight=0.05, salt="another")

    assert len(one & other) < 0.3 * len(one)


@given(st.text(), st.text(max_size=80))
def test_any_text_has_a_place(entity, salt):
    assert 0 <= point(entity, salt) < 1


@pytest.mark.parametrize("mode", [Mode.CHAMPION, Mode.SHADOW])
def test_a_challenger_that_is_not_shown_answers_nobody(mode):
    made = router(mode=mode, weight=1.0)

    assert all(made.arm(entity) is CHAMPION for entity in ENTITIES[:100])
    assert (made.shadow is CHALLENGER) == (mode is Mode.SHADOW)


def test_blue_green_flips_all_at_once():
    assert router(mode=Mode.BLUE_GREEN, weight=0.0).arm("x") is CHAMPION
    assert router(mode=Mode.BLUE_GREEN, weight=1.0).arm("x") is CHALLENGER


def test_a_release_whose_challenger_could_not_be_loaded_is_the_champions():
    alone = Router(RELEASE, CHAMPION)

    assert {alone.arm(entity).name for entity in ENTITIES} == {"champion"}


def test_the_cohort_is_the_arms_name():
    assert [router().cohort(each) for each in (CHAMPION, CHALLENGER)] == [Arm.CHAMPION, Arm.CHALLENGER]


def test_routing_takes_microseconds():
    made = router()
    started = time.perf_counter()
    for entity in ENTITIES:
        made.arm(entity)
    assert (time.perf_counter() - started) / len(ENTITIES) < 50e-6
