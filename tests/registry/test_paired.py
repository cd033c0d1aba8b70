"""The gain of one model over another on the same rows, and the interval that it lies in."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from baton.registry.paired import blocks_of, paired_difference, paired_gain
from baton.registry.paired_interval import LONGEST, difference
from baton.training.metrics import measure

REPEATS = 4_000
ALPHAS = {"one decision in 20": 0.05, "one of 30 decisions": 0.05 / 30}


def names(count):
    return np.arange(count).astype(str).astype(object)


def on_their_own(rows):
    return blocks_of(names(rows))


def two_rankings(seed, rows=300):
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(float)
    return labels, *(np.round(generator.normal(0.4 * labels, 1), 1) for _ in range(2))


def test_the_gain_is_the_difference_of_the_metrics(month, better, worse):
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    blocks, y = blocks_of(month.blocks), month.labels
    metrics = ("log_loss", "brier", "auc", "pr_auc")
    gain = {m: paired_gain(m, y, better, worse, blocks, alpha=0.05) for m in metrics}
    assert gain["log_loss"].mean == pytest.approx(log_loss(y, worse) - log_loss(y, better), abs=1e-8)
    assert gain["brier"].mean == pytest.approx(brier_score_loss(y, worse) - brier_score_loss(y, better), abs=1e-8)
    assert gain["auc"].mean == pytest.approx(roc_auc_score(y, better) - roc_auc_score(y, worse), abs=1e-8)
    precision = average_precision_score(y, better) - average_precision_score(y, worse)
    assert gain["pr_auc"].mean == pytest.approx(precision, abs=1e-8)
    assert all(g.low < g.mean < g.high for g in gain.values())


def test_rows_on_their_own_are_compared_by_delongs_test():
    """The variance is that of the counts of pairs won, as the article of 1988 has it."""
    labels, one, two = two_rankings(1)

    def shares(scores):
        up, down = scores[labels == 1], scores[labels == 0]
        won = (up[:, None] > down) + (up[:, None] == down) / 2
        return won.mean(axis=1), won.mean(axis=0)

    (up_one, down_one), (up_two, down_two) = shares(one), shares(two)
    variance = np.var(up_one - up_two, ddof=1) / len(up_one) + np.var(down_one - down_two, ddof=1) / len(down_one)
    found = paired_difference("auc", labels, one, two, on_their_own(len(labels)))
    assert found.method == "DeLong"
    assert found.mean == pytest.approx(up_one.mean() - up_two.mean())
    assert found.standard_error == pytest.approx(np.sqrt(variance))


def test_losses_of_rows_on_their_own_are_compared_by_the_paired_t_test():
    labels, one, two = two_rankings(2)
    found = paired_difference("mae", labels, one, two, on_their_own(len(labels)))
    expected = stats.ttest_rel(np.abs(labels - two), np.abs(labels - one))
    assert found.method == "paired t"
    assert found.freedom == pytest.approx(len(labels) - 1)
    assert found.mean / found.standard_error == pytest.approx(expected.statistic)


@pytest.mark.parametrize(
    ("metric", "method"),
    [("auc", "clustered DeLong"), ("brier", "clustered paired t"), ("pr_auc", "clustered delta method")],
)
def test_rows_of_a_day_are_compared_by_the_day(month, better, worse, metric, method):
    found = paired_difference(metric, month.labels, better, worse, blocks_of(month.blocks))
    assert found.method == method
    assert found.freedom == pytest.approx(27)


@given(st.integers(0, 10_000), st.sampled_from(["auc", "log_loss", "brier", "pr_auc", "macro_f1"]))
@settings(deadline=None)
def test_swapping_the_models_turns_the_interval_round(seed, metric):
    labels, one, two = two_rankings(seed, rows=80)
    one, two = (1 / (1 + np.exp(-each)) for each in (one, two))
    blocks = blocks_of(names(10).repeat(8))
    there = paired_gain(metric, labels, one, two, blocks, alpha=0.01)
    back = paired_gain(metric, labels, two, one, blocks, alpha=0.01)
    assert (there.mean, there.low, there.high) == pytest.approx(
        (-back.mean, -back.high, -back.low), abs=1e-7, nan_ok=True
    )


@given(st.floats(0.001, 0.2), st.lists(st.floats(-5, 5), min_size=5, max_size=30, unique=True))
@settings(deadline=None)
def test_the_interval_reaches_zero_where_the_chance_of_no_drop_is_its_level(alpha, sums):
    """C14: the two ways to put the question give one answer."""
    days = np.array(sums)
    found = difference(float(days.mean()), days - days.mean(), np.arange(len(days)), method="")
    chance = found.chance_of_no_drop()
    if abs(chance - alpha) > 1e-6:
        assert (found.interval(alpha)[1] < 0) == (chance < alpha)


def test_one_block_gives_an_interval_without_ends(month, better, worse):
    gain = paired_gain("log_loss", month.labels, better, worse, blocks_of(names(1).repeat(2_800)), alpha=0.05)
    assert (gain.low, gain.high) == (-np.inf, np.inf)


def test_equal_scores_have_a_gain_of_exactly_nothing(month, better):
    for metric in ("auc", "log_loss", "pr_auc"):
        gain = paired_gain(metric, month.labels, better, better, blocks_of(month.blocks), alpha=0.05)
        assert (gain.mean, gain.low, gain.high) == (0, 0, 0)


def gains_of_days(shape, days, generator):
    match shape:
        case "normal":
            return generator.normal(size=days)
        case "unequal":
            return generator.normal(size=days)
        case "heavy tails":
            return generator.standard_t(3, size=days)
        case "bad on a few days":
            return 1 - generator.exponential(size=days)
    raise AssertionError(shape)


# How many times the stated rate is met, at most; docs/adr/0007 has the measured table.
SIZES = {("normal", 0): 1.0, ("unequal", 0): 1.0, ("heavy tails", 0): 1.0, ("bad on a few days", 0): 2.0}
SIZES |= {("normal", 1): 1.0, ("unequal", 1): 1.0, ("heavy tails", 1): 1.0, ("bad on a few days", 1): 6.5}


@pytest.mark.parametrize(("shape", "which"), SIZES)
def test_a_gain_of_nothing_is_seldom_proven_on_14_days(shape, which):
    """C14: the low end lies above the true gain no more often than alpha, plus three Monte Carlo errors."""
    alpha = list(ALPHAS.values())[which]
    generator = np.random.default_rng(which)
    proven = 0
    for _ in range(REPEATS):
        rows = np.round(np.exp(generator.normal(size=14)) * 20) + 1 if shape == "unequal" else np.full(14, 1.0)
        sums = rows * gains_of_days(shape, 14, generator)
        codes = np.arange(14).repeat(rows.astype(int))
        gains = (sums / rows)[codes]
        proven += difference(gains.mean(), gains - gains.mean(), codes, method="").interval(alpha)[0] > 0
    bound = SIZES[shape, which] * alpha
    assert proven / REPEATS <= bound + 3 * np.sqrt(bound * (1 - bound) / REPEATS)


def test_the_correction_for_skewness_only_lengthens_and_by_half_at_most():
    generator = np.random.default_rng(4)
    for _ in range(200):
        days = 1 - generator.exponential(size=14)
        found = difference(days.mean(), days - days.mean(), np.arange(14), method="")
        plain = stats.t.ppf(1 - 0.05 / 30, 13) * found.standard_error
        low, high = found.interval(0.05 / 30)
        assert plain - 1e-9 <= found.mean - low <= LONGEST * plain + 1e-9
        assert plain - 1e-9 <= high - found.mean <= LONGEST * plain + 1e-9


def test_the_interval_holds_the_true_gain_as_often_as_it_says(make_month):
    """The true gain is that of very many days; a 90 % interval of 28 days misses it in one of ten months."""
    long = make_month(seed=77, days=4_000, rows=30)
    scored = [long.scores(noise=noise, shared=0.3, seed=side) for side, noise in enumerate((0.2, 0.6))]
    for metric in ("log_loss", "auc"):
        truth = measure(metric, long.labels, scored[0]) - measure(metric, long.labels, scored[1])
        truth = -truth if metric == "log_loss" else truth
        held = 0
        for repeat in range(500):
            month = make_month(seed=50_000 + repeat, rows=30)
            scores = [month.scores(noise=n, shared=0.3, seed=9 * repeat + s) for s, n in enumerate((0.2, 0.6))]
            gain = paired_gain(metric, month.labels, *scores, blocks_of(month.blocks), alpha=0.05)
            held += gain.low <= truth <= gain.high
        # Three standard errors of a share of 90 % over 500 repeats are 0.04.
        assert 0.86 <= held / 500 <= 0.96


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc", "pr_auc", "macro_f1"])
def test_a_hundred_thousand_rows_take_no_time(metric):
    labels, one, two = two_rankings(4, rows=100_000)
    one, two = (1 / (1 + np.exp(-each)) for each in (one, two))
    begun = time.process_time()
    paired_gain(metric, labels, one, two, blocks_of(names(28).repeat(3_572)[:100_000]), alpha=0.05)
    assert time.process_time() - begun < 1.5
