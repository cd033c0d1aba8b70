"""Rankings without a block are those of the rows that are left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.registry.left_out import MOST_BLOCKS, left_out
from baton.registry.paired import Blocks, paired_difference
from baton.registry.paired_interval import difference
from baton.testing.rivals import rivals
from baton.training.metrics import influence, measure


def ranked(seed, rows=120, blocks=7):
    generator = np.random.default_rng(seed)
    codes = generator.permutation(np.arange(rows) % blocks)
    labels = (generator.random(rows) < 0.4).astype(float)
    return labels, np.round(generator.normal(labels, 1), 1), codes


@given(st.integers(0, 10_000), st.sampled_from(["auc", "pr_auc"]))
@settings(deadline=None)
def test_each_block_is_left_out_as_if_it_had_never_been(seed, metric):
    labels, scores, codes = ranked(seed)
    expected = [measure(metric, labels[codes != block], scores[codes != block]) for block in range(7)]
    assert left_out(metric, labels, scores, codes, 7) == pytest.approx(np.array(expected))


def test_of_several_classes_the_mean_is_left():
    generator = np.random.default_rng(1)
    labels, codes = generator.integers(0, 3, 300).astype(float), np.arange(300) % 6
    scores = generator.dirichlet(np.ones(3), 300)
    expected = [measure("auc", labels[codes != block], scores[codes != block]) for block in range(6)]
    assert left_out("auc", labels, scores, codes, 6) == pytest.approx(np.array(expected))


def test_a_class_that_is_gone_with_a_block_leaves_the_influences():
    _, scores, codes = ranked(2)
    assert left_out("auc", (codes == 3).astype(float), scores, codes, 7) is None


@pytest.mark.parametrize("metric", ["log_loss", "brier", "macro_f1"])
def test_what_influences_say_exactly_is_not_measured_again(metric):
    labels, scores, codes = ranked(3)
    assert left_out(metric, labels, scores, codes, 7) is None


def test_many_blocks_are_left_to_the_influences():
    labels, scores, codes = ranked(4, rows=400, blocks=MOST_BLOCKS + 1)
    assert left_out("pr_auc", labels, scores, codes, MOST_BLOCKS + 1) is None


def test_days_that_move_all_scores_of_a_model_keep_the_error_rate():
    """C14: 14 days that push hard; influences alone would err 1.3 times as often as they say."""
    ours = by_influence = 0
    for seed in range(1_000):
        found = rivals(np.random.default_rng([14, seed]), rows=1_400, days=14, shock=0.8)
        both = [influence("auc", found.labels, scores) for scores in (found.challenger, found.champion)]
        gain = both[0][0] - both[1][0]
        by_influence += difference(gain, both[0][1] - both[1][1], found.blocks, method="").interval(0.05)[0] > 0
        blocks = Blocks(codes=found.blocks, count=14)
        compared = paired_difference("auc", found.labels, found.challenger, found.champion, blocks)
        ours += compared.interval(0.05)[0] > 0
    # Three standard errors of 5 % over 1,000 are 0.021.
    assert ours < by_influence
    assert ours / 1_000 <= 0.05 + 0.021
