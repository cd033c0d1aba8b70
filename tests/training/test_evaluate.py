import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from baton.core.errors import EmptyWindow
from baton.training.baselines import baselines
from baton.training.evaluate import evaluate
from baton.training.fit import fit
from baton.training.split import split


@pytest.fixture(scope="module")
def parts(frame, as_of, make_spec):
    return split(frame, make_spec(), as_of=as_of)


@pytest.fixture(scope="module")
def fitted(parts, make_spec):
    return fit(make_spec(), parts.train, threads=1)


def test_metrics_are_those_of_scikit_learn(fitted, parts, spec):
    found = evaluate(fitted, parts.holdout, spec)
    scores = fitted.pipeline.predict_proba(parts.holdout[list(fitted.features)])[:, 1]
    labels = parts.holdout["label"]
    assert found.metrics["auc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert found.metrics["log_loss"].value == pytest.approx(log_loss(labels, scores))
    assert found.metrics["brier"].value == pytest.approx(brier_score_loss(labels, scores))
    assert found.rows == len(labels)
    assert found.model == fitted.digest


def test_errors_come_from_days_and_are_wider_than_those_of_rows(fitted, parts, spec):
    by_day = evaluate(fitted, parts.holdout, spec)
    by_row = evaluate(fitted, parts.holdout.assign(block=parts.holdout["id"]), spec)
    assert by_day.metrics["log_loss"].standard_error > 1.5 * by_row.metrics["log_loss"].standard_error


def test_the_constant_baseline_answers_the_training_rate(fitted, parts, spec):
    plain = baselines(spec, parts.train)
    constant = evaluate(fitted, parts.holdout, spec, baselines=plain).baselines["constant"]
    assert constant["auc"] == 0.5
    rate = np.full(len(parts.holdout), fitted.base_rate)
    assert constant["log_loss"] == pytest.approx(log_loss(parts.holdout["label"], rate))


def test_slices_are_the_values_of_text_features_with_enough_rows(fitted, parts, spec):
    slices = evaluate(fitted, parts.holdout, spec).slices
    assert [(part.column, part.value) for part in slices] == [("depot", "north"), ("depot", "south")]
    assert all(part.measure.standard_error > 0 for part in slices)


def test_the_same_holdout_gives_the_same_figures(fitted, parts, spec):
    one, two = (evaluate(fitted, parts.holdout, spec) for _ in range(2))
    assert (one.metrics, one.slices, one.holdout) == (two.metrics, two.slices, two.holdout)


@pytest.mark.parametrize("rows", [0, 1], ids=["no row", "one row"])
def test_a_holdout_that_cannot_tell_is_an_empty_window(fitted, parts, spec, rows):
    with pytest.raises(EmptyWindow):
        evaluate(fitted, parts.holdout.head(rows), spec)


def test_one_block_has_no_known_error(fitted, parts, spec):
    found = evaluate(fitted, parts.holdout.assign(block="2024-02-20"), spec)
    assert np.isnan(found.metrics["log_loss"].standard_error)
