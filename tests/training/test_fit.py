import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from baton.core.errors import SourceMissing, SpecInvalid, TrainingFailed
from baton.training.fit import fit, predict
from baton.training.split import split
from baton.training.trainer import TRAINERS

FIT_ELSEWHERE = """
import importlib.util, sys, datetime
place = importlib.util.spec_from_file_location("conftest", sys.argv[1])
made = importlib.util.module_from_spec(place); place.loader.exec_module(made)
from baton.training.fit import fit
parameters = {"n_estimators": 30} if sys.argv[2] == "lightgbm" else {}
spec = made.make_spec(trainer=sys.argv[2], parameters=parameters)
print(fit(spec, made.make_frame(), threads=int(sys.argv[3])).digest)
"""


@pytest.fixture(params=sorted(TRAINERS))
def any_spec(request, make_spec):
    return make_spec(trainer=request.param, parameters={"n_estimators": 30} if request.param == "lightgbm" else {})


def test_scores_are_probabilities_that_rank_better_than_chance(any_spec, frame, as_of):
    from baton.training.losses import auc

    parts = split(frame, any_spec, as_of=as_of)
    fitted = fit(any_spec, parts.train, threads=1)
    scores = predict(fitted, parts.holdout)
    assert scores.shape == (len(parts.holdout),)
    assert ((scores > 0) & (scores < 1)).all()
    assert auc(parts.holdout["label"].to_numpy(), scores) > 0.65


def test_a_model_says_what_it_was_trained_on(any_spec, frame):
    fitted = fit(any_spec, frame, threads=1)
    assert fitted.rows == len(frame)
    assert fitted.trained_until == frame["label_known"].max()
    assert fitted.trained_from == frame["moment"].min()
    assert fitted.trained_until.tzinfo is not None
    assert fitted.features == ("depot", "weight", "distance", "load")
    assert fitted.base_rate == pytest.approx(frame["label"].mean())
    assert fitted.spec_digest == any_spec.digest


@pytest.mark.parametrize("trainer", sorted(TRAINERS))
def test_another_process_with_another_number_of_threads_makes_the_same_model(trainer, frame, make_spec):
    parameters = {"n_estimators": 30} if trainer == "lightgbm" else {}
    here = fit(make_spec(trainer=trainer, parameters=parameters), frame, threads=1).digest
    fixtures = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", FIT_ELSEWHERE, fixtures, trainer]
    others = [subprocess.run([*command, n], check=True, capture_output=True, text=True).stdout for n in "12"]
    assert [other.strip() for other in others] == [here, here]


def test_one_changed_label_makes_another_model(any_spec, frame):
    changed = frame.copy()
    changed.loc[0, "label"] = 1 - changed.loc[0, "label"]
    assert fit(any_spec, frame, threads=1).digest != fit(any_spec, changed, threads=1).digest


def test_unseen_text_and_missing_numbers_are_scored(any_spec, frame):
    strange = frame.head(3).assign(depot="never seen", weight=np.nan)
    assert np.isfinite(predict(fit(any_spec, frame, threads=1), strange)).all()


def test_a_column_without_any_value_is_no_obstacle(any_spec, frame):
    assert fit(any_spec, frame.assign(load=np.nan), threads=1).rows == len(frame)


def test_a_project_without_text_features_trains(frame, any_spec):
    features = any_spec.features.model_copy(update={"request": ["weight", "load"], "text": []})
    assert fit(any_spec.model_copy(update={"features": features}), frame, threads=1).features == ("weight", "load")


@pytest.mark.parametrize("label", [0.0, 1.0, np.nan], ids=["all negative", "all positive", "all missing"])
def test_labels_that_are_all_alike_are_refused(any_spec, frame, label):
    with pytest.raises(TrainingFailed, match="both 0 and 1"):
        fit(any_spec, frame.assign(label=label), threads=1)


def test_a_missing_feature_column_is_named(spec, frame):
    with pytest.raises(SourceMissing, match="the model takes load"):
        fit(spec, frame.drop(columns="load"), threads=1)


def test_an_impossible_parameter_value_is_a_failed_training(make_spec, frame):
    with pytest.raises(TrainingFailed, match="num_leaves"):
        fit(make_spec(parameters={"num_leaves": -4}), frame, threads=1)


@pytest.mark.parametrize(
    ("trainer", "name", "message"),
    [
        ("lightgbm", "num_leafs", "did you mean 'num_leaves'"),
        ("lightgbm", "random_state", "set by Baton"),
        ("lightgbm", "deterministic", "set by Baton"),
        ("logistic", "max_itr", "did you mean 'max_iter'"),
    ],
)
def test_an_unknown_parameter_is_named_with_the_nearest_known_one(trainer, name, message, make_spec, frame):
    with pytest.raises(SpecInvalid, match=message):
        fit(make_spec(trainer=trainer, parameters={name: 1}), frame, threads=1)


def test_an_unknown_trainer_is_named_with_the_nearest_known_one(make_spec, frame):
    with pytest.raises(SpecInvalid, match="to 'lightgbm'"):
        fit(make_spec(trainer="lightgmb"), frame, threads=1)
