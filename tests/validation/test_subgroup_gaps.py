"""Gaps between subgroups: passed within the limit, failed where proven, undecided between."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.policy import FairnessSpec
from baton.core.verdict import Outcome
from baton.validation.subgroup_gaps import subgroup_gaps


def world(*, shift, rows=4_000, seed=1):
    """Two groups of which the second is scored lower by `shift`, whatever its labels."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], size=rows)
    labels = (rng.random(rows) < 0.5).astype(np.float64)
    scores = np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.2, rows) - shift * (group == "b"), 0, 1)
    return pd.DataFrame({"group": group}), labels, scores


def run(frame, labels, scores, *, task="binary", text=("group",), blocks=None, **test):
    declared = FairnessSpec(**({"columns": ["group"]} | test))
    return subgroup_gaps([declared], scores, frame, labels, task=task, text=text, blocks=blocks)


@pytest.mark.parametrize("measure", ["selection_rate", "true_positive_rate", "false_positive_rate"])
def test_a_planted_gap_fails_and_no_gap_passes(measure):
    (check,) = run(*world(shift=0.0), measure=measure)
    assert check.outcome is Outcome.PASSED
    assert check.low < 0 < check.high
    (check,) = run(*world(shift=0.3), measure=measure)
    assert check.outcome is Outcome.FAILED
    assert check.observed > check.low > check.required
    assert "group=a (" in check.detail
    assert "group=b (" in check.detail


def test_an_error_gap_is_seen_where_one_group_is_scored_by_chance():
    frame, labels, scores = world(shift=0.0)
    noise = np.random.default_rng(2).random(len(scores))
    (check,) = run(frame, labels, np.where(frame["group"] == "b", noise, scores), measure="error")
    assert check.outcome is Outcome.FAILED
    assert check.detail.startswith("error is 0.5")


def test_rates_are_the_groups_own():
    frame, labels, scores = world(shift=0.2)
    (check,) = run(frame, labels, scores, threshold=0.6)
    positive = labels == 1
    found = [(scores[positive & (frame["group"] == g)] >= 0.6).mean() for g in ("a", "b")]
    assert check.observed == pytest.approx(found[0] - found[1])


def test_a_gap_that_few_rows_cannot_prove_is_undecided():
    (check,) = run(*world(shift=0.15, rows=120), minimum_rows=10)
    assert check.outcome is Outcome.UNDECIDED
    assert check.low <= check.required < check.observed


def test_small_subgroups_are_noted_and_do_not_count():
    frame, labels, scores = world(shift=0.0)
    frame.loc[:30, "group"] = "rare"
    check, small = run(frame, labels, np.where(frame["group"] == "rare", 0.0, scores))
    assert check.outcome is Outcome.PASSED
    assert small.outcome is Outcome.NOTED
    assert "group=rare" in small.detail
    assert small.observed == 1


def test_the_rows_that_count_are_those_that_the_rate_speaks_of():
    frame, labels, scores = world(shift=0.0)
    labels = np.where((frame["group"] == "b") & (np.arange(len(labels)) > 50), 0.0, labels)
    check, small = run(frame, labels, scores)
    assert check.outcome is Outcome.UNDECIDED
    assert "group=b" in small.detail


def test_one_subgroup_shows_nothing():
    frame, labels, scores = world(shift=0.0)
    (check,) = run(frame.assign(group="a"), labels, scores)
    assert (check.outcome, check.observed) == (Outcome.UNDECIDED, None)


def test_columns_are_combined():
    frame, labels, scores = world(shift=0.0)
    frame["night"] = np.arange(len(frame)) % 2.0
    planted = np.where((frame["group"] == "b") & (frame["night"] == 1), 0.0, scores)
    (check,) = run(frame, labels, planted, columns=["group", "night"])
    assert check.outcome is Outcome.FAILED
    assert "group=b, night=1" in check.detail


def test_a_number_is_compared_by_mean_absolute_error():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"group": rng.choice(["a", "b"], size=2_000)})
    labels = rng.normal(100, 10, 2_000)
    scores = labels + rng.normal(0, 1, 2_000) * np.where(frame["group"] == "b", 5, 1)
    (check,) = run(frame, labels, scores, task="regression", measure="error", gap=1.0)
    assert check.outcome is Outcome.FAILED
    assert check.observed == pytest.approx(4 * np.sqrt(2 / np.pi), rel=0.1)
    assert "mean absolute error" in check.detail


def test_several_classes_are_compared_by_wrong_answers():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"group": rng.choice(["a", "b"], size=2_000)})
    labels = rng.integers(0, 3, 2_000).astype(np.float64)
    scores = np.eye(3)[np.where(frame["group"] == "b", 0, labels).astype(int)]
    (check,) = run(frame, labels, scores, task="multiclass", measure="error")
    assert check.outcome is Outcome.FAILED
    assert check.observed == pytest.approx(2 / 3, abs=0.05)


def test_rows_of_one_block_share_luck_and_widen_the_interval():
    rng = np.random.default_rng(5)
    days = np.repeat(np.arange(40), 100)
    frame = pd.DataFrame({"group": np.where(days % 2, "a", "b")})
    labels = np.ones(len(days))
    scores = np.clip(0.5 + rng.normal(0, 0.3, 40)[days] + rng.normal(0, 0.1, len(days)), 0, 1)
    (alone,) = run(frame, labels, scores)
    (together,) = run(frame, labels, scores, blocks=days)
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_equal_groups_fail_rarely():
    """150 draws of four equal groups with a limit near 0: 5 % may fail, and two standard errors more are 0.036."""
    failed = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"group": rng.choice(list("abcd"), size=1_200)})
        labels, scores = np.ones(1_200), rng.random(1_200)
        (check,) = run(frame, labels, scores, measure="selection_rate", gap=1e-9, minimum_rows=50)
        failed += check.outcome is Outcome.FAILED
    assert failed <= (0.05 + 0.036) * 150
