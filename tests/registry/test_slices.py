"""Slices: a drop that can be seen blocks, and one that cannot is only told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from baton.core.policy import GateSpec, SliceSpec
from baton.core.verdict import Decision, Outcome
from baton.registry.bout import bout_of
from baton.registry.paired_interval import Difference
from baton.registry.slices import SliceGain, dropped_slices, levelled, powered_slices, slice_checks

POLICY = SliceSpec()


def gain(name, mean, error, *, freedom=500.0, weight=200.0):
    found = Difference(mean=mean, standard_error=error, freedom=freedom, skewness=0.0, method="")
    return SliceGain(name=name, rows=1_000, weight=weight, gain=found)


@pytest.fixture(scope="module")
def months(make_month):
    return make_month(seed=6, days=28, rows=1_500)


@pytest.fixture(scope="module")
def depot(months):
    """Give the rows of a depot with one in 17 parcels."""
    return np.random.default_rng(3).random(len(months.labels)) < 0.06


@pytest.fixture(scope="module")
def champion(months):
    return months.scores(noise=0.9, seed=1)


@pytest.fixture(scope="module")
def blind(months, champion, depot):
    """Give a challenger that is better everywhere but at the depot, where it knows little."""
    odds = np.log(champion / (1 - champion)) + 1.6 * np.random.default_rng(3).normal(size=len(champion))
    return np.where(depot, 1 / (1 + np.exp(-odds)), months.scores(noise=0.05, seed=2))


def test_a_challenger_that_is_worse_on_a_slice_is_held_and_the_slice_is_named(judge, months, champion, blind, depot):
    """C15: better overall, worse on a protected slice."""
    verdict = judge(months, blind, champion, slices={"depot=north": depot, "depot=south": ~depot})
    outcomes = {check.name: check.outcome for check in verdict.checks}
    assert outcomes["better_on_average"] is Outcome.PASSED
    assert outcomes["slice depot=north"] is Outcome.FAILED
    assert outcomes["slice depot=south"] is Outcome.PASSED
    assert verdict.decision is Decision.HOLD
    assert verdict.reason.startswith("auc gain -")
    assert "rows of depot=north" in verdict.reason
    assert "worse than the champion" in verdict.reason


def test_the_same_challenger_passes_where_nobody_looks(judge, months, champion, blind):
    assert judge(months, blind, champion).promotes


def test_a_slice_of_few_rows_is_told_and_decides_nothing(judge, months, champion, blind, depot):
    few = depot & (np.cumsum(depot) <= 150)
    verdict = judge(months, blind, champion, slices={"few": few, "one": np.arange(len(few)) == 5, "none": few & ~few})
    checks = {check.name: check for check in verdict.checks}
    assert {checks[f"slice {name}"].outcome for name in ("few", "one", "none")} == {Outcome.NOTED}
    assert "150 rows of few" in checks["slice few"].detail
    assert "power 0." in checks["slice few"].detail
    assert checks["slice none"].detail == "0 rows of none are too few to tell, too little to decide"
    assert verdict.promotes


def test_the_largest_slice_comes_first(judge, months, champion, depot):
    verdict = judge(months, champion, champion, slices={"a": depot, "b": ~depot, "c": depot})
    assert [c.name for c in verdict.checks if c.name.startswith("slice")] == ["slice b", "slice a", "slice c"]


def test_the_first_champion_has_no_slices_to_lose(judge, months, champion, depot):
    assert judge(months, champion, None, slices={"a": depot}).promotes


def test_classes_are_called_rightly_or_not(arguments_for, months, depot):
    labels = np.random.default_rng(1).integers(0, 3, len(depot)).astype(float)
    right = np.eye(3)[labels.astype(int)] * 0.8 + 0.2 / 3
    wrong = np.where(depot[:, None], np.roll(right, 1, axis=1), right)
    facts = {"task": "multiclass", "labels": labels, "baselines": {"constant": np.full(3, 1 / 3)}}
    bout = bout_of(arguments_for(months, wrong, right, slices={"north": depot, "south": ~depot}, **facts))
    checks = {check.name: check for check in slice_checks(bout, POLICY)}
    assert checks["slice north"].outcome is Outcome.FAILED
    assert checks["slice north"].observed == -1
    assert checks["slice south"].observed == 0


def test_of_numbers_five_points_are_five_hundredths_of_the_champions_error(arguments_for, months, depot):
    generator = np.random.default_rng(1)
    labels, errors = generator.normal(size=len(depot)), generator.normal(size=len(depot))
    one, two = labels + errors, labels + errors * np.where(depot, 1.2, 1.0)
    facts = {"task": "regression", "labels": labels, "baselines": {"constant": 0.0}, "gate": GateSpec(metric="rmse")}
    bout = bout_of(arguments_for(months, two, one, slices={"north": depot, "south": ~depot}, **facts))
    checks = {check.name: check for check in slice_checks(bout, POLICY)}
    assert checks["slice north"].observed == pytest.approx(-0.2)
    assert checks["slice north"].outcome is Outcome.FAILED
    assert checks["slice south"].outcome is Outcome.PASSED


def test_power_is_that_of_the_share_that_a_slice_gets():
    """One slice alone is powered from an error of 0.0162; of twenty each gets a twentieth of the rate."""
    # An error from 500 rows may be 5.5 % larger than it seems, in one of 20 cases.
    cautious = np.sqrt(500 / chi2.ppf(0.05, 500))
    edge = 0.05 / (1.6479 + 1.2816) / cautious
    assert [each.name for each in powered_slices([gain("a", 0, edge * 0.99)], POLICY)] == ["a"]
    assert powered_slices([gain("a", 0, edge * 1.01)], POLICY) == []
    assert len(powered_slices([gain(str(i), 0, edge * 0.99) for i in range(20)], POLICY)) == 1
    assert len(powered_slices([gain(str(i), 0, 0.05 / (2.82 + 1.29) / cautious) for i in range(20)], POLICY)) == 20


def test_weak_slices_cost_the_strong_ones_nothing():
    strong, weak = [gain("a", 0, 0.015)], [gain(f"w{i}", 0, 0.05) for i in range(30)]
    assert [each.name for each in powered_slices([*weak, *strong], POLICY)] == ["a"]


def test_an_error_that_is_small_by_luck_is_raised_to_what_its_weight_has():
    found = [gain("a", 0, 0.02), gain("b", 0, 0.03), gain("c", 0, 0.04), gain("large", 0, 0.01, weight=2_000.0)]
    errors = {each.name: each.gain.standard_error for each in levelled(found)}
    typical = np.median([0.02**2 * 200, 0.03**2 * 200, 0.04**2 * 200, 0.01**2 * 2_000])
    assert errors["a"] == pytest.approx(np.sqrt(typical / 200))
    assert errors["c"] == 0.04
    assert errors["large"] == pytest.approx(max(0.01, np.sqrt(typical / 2_000)))


def test_slices_on_which_the_models_agree_have_no_error_to_raise():
    assert levelled([gain("a", 0, 0.0), gain("b", 0, 0.02)])[0].gain.standard_error == 0
    assert levelled([]) == []


def test_holms_test_goes_on_while_it_finds():
    """The second is proven at half the rate, which it would not be at a third."""
    first, second, third = gain("a", -0.05, 0.01), gain("b", -0.0205, 0.01), gain("c", 0.01, 0.01)
    assert [each.name for each in dropped_slices([third, second, first], POLICY)] == ["a", "b"]
    assert dropped_slices([second, third, gain("d", 0.01, 0.01)], POLICY) == []


def test_clean_slices_seldom_block(arguments_for, make_month):
    """Twenty slices of an equal challenger block falsely at most one time in 20."""
    blocked = 0
    for repeat in range(200):
        month = make_month(seed=30_000 + repeat, days=28, rows=150)
        one, two = (month.scores(noise=0.3, shared=0.1, seed=2 * repeat + side) for side in (0, 1))
        groups = np.random.default_rng(repeat).integers(0, 20, len(month.labels))
        slices = {str(value): groups == value for value in range(20)}
        checks = slice_checks(bout_of(arguments_for(month, one, two, slices=slices)), SliceSpec(power=0.51, drop=0.1))
        blocked += any(check.outcome is Outcome.FAILED for check in checks)
    # Three standard errors of a rate of 5 % over 200 repeats are 0.046.
    assert blocked / 200 <= 0.05 + 0.046
