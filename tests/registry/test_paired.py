import time

import numpy as np
import pytest

from baton.registry.paired import paired_gain
from baton.training.resampling import resampling

REPEATS = 500


def test_the_gain_is_the_difference_of_the_metrics(month, better, worse):
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    draws = resampling(month.blocks, resamples=200, seed=1)
    gain = {m: paired_gain(m, month.labels, better, worse, draws, confidence=0.9) for m in ("log_loss", "brier", "auc")}
    y = month.labels
    assert gain["log_loss"].mean == pytest.approx(log_loss(y, worse) - log_loss(y, better), abs=1e-8)
    assert gain["brier"].mean == pytest.approx(brier_score_loss(y, worse) - brier_score_loss(y, better), abs=1e-8)
    assert gain["auc"].mean == pytest.approx(roc_auc_score(y, better) - roc_auc_score(y, worse), abs=1e-8)
    assert all(g.low < g.mean < g.high for g in gain.values())


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc"])
def test_swapping_the_models_turns_the_interval_round(month, better, worse, metric):
    draws = resampling(month.blocks, resamples=999, seed=1)
    one = paired_gain(metric, month.labels, better, worse, draws, confidence=0.9)
    two = paired_gain(metric, month.labels, worse, better, draws, confidence=0.9)
    assert (one.mean, one.low, one.high) == pytest.approx((-two.mean, -two.high, -two.low), abs=1e-8)


def test_the_interval_holds_the_true_gain_as_often_as_it_says(make_month):
    """The true gain is that of very many days; a 90 % interval of 28 days misses it in one of ten months."""
    long = make_month(seed=77, days=4_000, rows=30)
    one, two = long.scores(noise=0.2, shared=0.3, seed=1), long.scores(noise=0.6, shared=0.3, seed=2)
    everything = resampling(long.blocks, resamples=2, seed=0)
    truth = paired_gain("log_loss", long.labels, one, two, everything, confidence=0.9).mean
    held = 0
    for repeat in range(REPEATS):
        month = make_month(seed=50_000 + repeat, rows=30)
        draws = resampling(month.blocks, resamples=400, seed=repeat)
        scores = [month.scores(noise=n, shared=0.3, seed=9 * repeat + n_) for n_, n in enumerate((0.2, 0.6))]
        gain = paired_gain("log_loss", month.labels, *scores, draws, confidence=0.9)
        held += gain.low <= truth <= gain.high
    # Three standard errors of a share of 90 % over 500 repeats are 0.04.
    assert 0.86 <= held / REPEATS <= 0.94


def test_one_block_gives_an_interval_without_width(month, better, worse):
    draws = resampling(np.full(len(month.labels), "day"), resamples=200, seed=1)
    gain = paired_gain("log_loss", month.labels, better, worse, draws, confidence=0.9)
    assert gain.low == gain.high == gain.mean


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc"])
def test_2_000_resamples_of_28_000_rows_take_no_time(make_month, metric):
    month = make_month(seed=4, rows=1_000)
    one, two = month.scores(noise=0.1, seed=1), month.scores(noise=0.2, seed=2)
    begun = time.process_time()
    draws = resampling(month.blocks, resamples=2_000, seed=1)
    paired_gain(metric, month.labels, one, two, draws, confidence=0.9)
    assert time.process_time() - begun < 1.5
