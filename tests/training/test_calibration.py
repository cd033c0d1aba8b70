import dataclasses

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration
from sklearn.linear_model import LogisticRegression

from baton.core.digest import canonical_json
from baton.core.errors import TrainingFailed
from baton.training.calibration import Curve, calibration, log_odds
from baton.training.fit import fit, predict
from baton.training.generated import generated_rows, generated_spec
from baton.training.losses import calibration_error, log_losses
from baton.training.split import newest


def overconfident(rows, seed=0):
    """Give labels, and scores whose log odds are three times and one more than the truth's."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(-1, 1, size=rows)
    labels = (generator.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return labels, 1 / (1 + np.exp(-(3 * odds + 1)))


def several(rows, seed=0):
    generator = np.random.default_rng(seed)
    raw = generator.normal(size=(rows, 3))
    true = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    labels = (generator.random(rows)[:, None] > true.cumsum(axis=1)).sum(axis=1).astype(float)
    sharp = np.exp(3 * raw)
    return labels, sharp / sharp.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("make", [overconfident, several], ids=["two classes", "three classes"])
def test_calibrated_scores_lose_less_on_fresh_rows(kind, make):
    found = calibration(kind, *make(5_000))
    labels, scores = make(5_000, seed=1)
    calibrated = found.apply(scores)
    assert calibrated.shape == scores.shape
    assert log_losses(labels, calibrated).mean() < log_losses(labels, scores).mean() - 0.05
    assert ((calibrated > 0) & (calibrated < 1)).all()
    if scores.ndim == 1:
        assert calibration_error(labels, calibrated) < calibration_error(labels, scores) / 3
    else:
        assert calibrated.sum(axis=1) == pytest.approx(1)


def test_a_sigmoid_undoes_what_was_done_to_the_log_odds():
    found = calibration("sigmoid", *overconfident(200_000)).sigmoids[0]
    assert found.slope == pytest.approx(1 / 3, abs=0.01)
    assert found.offset == pytest.approx(-1 / 3, abs=0.03)


def test_a_sigmoid_is_that_of_scikit_learn_on_the_log_odds():
    labels, scores = overconfident(400)
    found = calibration("sigmoid", labels, scores).sigmoids[0]
    # It takes 1 / (1 + exp(a f + b)).
    theirs = _SigmoidCalibration().fit(log_odds(scores), labels)
    assert found.slope == pytest.approx(-theirs.a_, abs=1e-4)
    assert found.offset == pytest.approx(-theirs.b_, abs=1e-4)


def test_smoothed_targets_keep_a_sigmoid_of_divided_classes_finite():
    labels = np.repeat([0.0, 1.0], 50)
    found = calibration("sigmoid", labels, np.where(labels > 0, 0.999, 0.001))
    scores = found.apply(np.array([0.001, 0.999]))
    # One more row of each class: (50 + 1) / (50 + 2).
    assert scores == pytest.approx([1 / 52, 51 / 52], abs=1e-3)
    plain = LogisticRegression(C=1e12, max_iter=1_000).fit(
        log_odds(np.where(labels > 0, 0.999, 0.001))[:, None], labels
    )
    assert plain.predict_proba([[7.0]])[0, 1] > 0.999


def test_a_curve_rises_and_answers_neither_0_nor_1():
    labels, scores = overconfident(1_000)
    curve = calibration("isotonic", labels, scores).curves[0]
    assert (np.diff(curve.x) > 0).all()
    assert (np.diff(curve.y) >= 0).all()
    assert 1 / 1_002 <= curve.y[0] <= curve.y[-1] <= 1 - 1 / 1_002


def test_the_last_bit_of_a_float32_moves_no_calibrated_score():
    labels, scores = overconfident(5_000)
    for kind in ("sigmoid", "isotonic"):
        found = calibration(kind, labels, scores)
        rounded = scores.astype(np.float32).astype(np.float64)
        assert np.abs(found.apply(rounded) - found.apply(scores)).max() < 1e-5


def test_a_calibration_is_a_plain_value():
    found = calibration("isotonic", *overconfident(300))
    assert b"isotonic" in canonical_json(found)
    assert isinstance(found.curves[0], Curve)
    assert {type(value) for value in found.curves[0].x} == {float}
    assert dataclasses.replace(found) == found


def test_rows_without_a_class_cannot_calibrate():
    with pytest.raises(TrainingFailed, match=r"200 newest training rows cannot calibrate: they have no row of class 1"):
        calibration("sigmoid", np.zeros(200), np.linspace(0.1, 0.9, 200))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_calibration_enters_the_model_and_its_scores(task, tmp_path):
    rows = generated_rows(task)
    plain, sigmoid, curve = (
        fit(generated_spec(task, trainer="linear", folder=tmp_path, calibration=kind), rows, threads=1)
        for kind in ("none", "sigmoid", "isotonic")
    )
    assert len({plain.digest, sigmoid.digest, curve.digest}) == 3
    assert plain.calibration is None
    kept = newest(rows, share=0.15, group=None, purpose="calibration").newest
    assert sigmoid.calibration.rows == len(kept)
    assert sigmoid.rows == plain.rows == len(rows)
    assert not np.array_equal(predict(sigmoid, rows), predict(curve, rows))
