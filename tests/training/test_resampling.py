import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from baton.training.losses import auc, calibration_error, log_losses, squared_errors
from baton.training.resampling import MOST_BLOCKS, resampling, standard_error


def scored(rows, seed):
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(float)
    return labels, np.round(np.clip(generator.normal(0.3 + 0.2 * labels, 0.2), 0, 1), 2)


def test_a_resampled_auc_is_the_auc_of_the_rows_drawn():
    labels, scores = scored(400, seed=1)
    days = np.repeat([f"2024-01-{day:02}" for day in range(1, 9)], 50)
    draws = resampling(days, resamples=20, seed=5)
    for drawn, found in zip(draws.draws, draws.auc(labels, scores), strict=True):
        rows = np.concatenate([np.tile(np.flatnonzero(draws.codes == b), int(n)) for b, n in enumerate(drawn)])
        assert found == pytest.approx(roc_auc_score(labels[rows], scores[rows]))


def test_a_resampled_mean_is_the_mean_of_the_rows_drawn():
    values = np.arange(60.0)
    draws = resampling(np.repeat(list("abc"), [10, 20, 30]), resamples=20, seed=5)
    for drawn, found in zip(draws.draws, draws.mean(values), strict=True):
        rows = np.concatenate([np.tile(np.flatnonzero(draws.codes == b), int(n)) for b, n in enumerate(drawn)])
        assert found == pytest.approx(values[rows].mean())


def test_rows_that_are_blocks_of_their_own_have_the_textbook_error():
    values = np.random.default_rng(3).normal(size=20_000)
    draws = resampling(np.arange(20_000), resamples=2_000, seed=1)
    assert draws.blocks == MOST_BLOCKS
    assert standard_error(draws.mean(values)) == pytest.approx(1 / np.sqrt(20_000), rel=0.1)


def test_the_error_of_a_metric_is_that_of_many_real_months():
    generator = np.random.default_rng(11)
    months = [generator.normal(size=30).repeat(40) + generator.normal(size=1_200) for _ in range(300)]
    truth = np.std([month.mean() for month in months])
    days = np.arange(30).repeat(40)
    errors = [standard_error(resampling(days, resamples=300, seed=s).mean(m)) for s, m in enumerate(months[:50])]
    # 300 months know their spread to 4 %, and 30 blocks err low by 2 %.
    assert np.mean(errors) == pytest.approx(truth, rel=0.12)


@given(st.integers(0, 10_000))
def test_auc_counts_pairs_and_halves_ties(seed):
    labels, scores = scored(60, seed)
    if 0 < labels.sum() < len(labels):
        won = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        assert auc(labels, scores) == pytest.approx(((won > 0) + (won == 0) / 2).mean())


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(auc(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_losses_of_certain_and_wrong_answers_stay_finite():
    assert np.isfinite(log_losses(np.array([1.0, 0.0]), np.array([0.0, 1.0]))).all()
    assert squared_errors(np.array([1.0, 0.0]), np.array([0.0, 1.0])).tolist() == [1.0, 1.0]


def test_calibration_error_is_the_shift_of_shifted_probabilities():
    generator = np.random.default_rng(2)
    chance = generator.uniform(0.1, 0.6, size=200_000)
    labels = (generator.random(200_000) < chance).astype(float)
    assert calibration_error(labels, chance) < 0.01
    assert calibration_error(labels, chance + 0.2) == pytest.approx(0.2, abs=0.01)
