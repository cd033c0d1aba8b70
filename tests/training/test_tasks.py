"""Several classes and numbers, on real data that scikit-learn ships."""

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine

from baton.core.errors import EmptyWindow, SpecInvalid, TrainingFailed
from baton.core.spec import spec_from
from baton.training.evaluate import evaluate
from baton.training.fit import fit, predict
from baton.training.generated import START, generated_rows, generated_spec
from baton.training.trainer import BUILT_IN

DATA = {"wine": load_wine, "digits": load_digits, "diabetes": load_diabetes}
NO_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
TRAINERS = [*sorted(set(BUILT_IN) - {"mlp"}), pytest.param("mlp", marks=[pytest.mark.torch, NO_TORCH])]
SMALL = {
    "boosting": {"max_iter": 20, "max_leaf_nodes": 7},
    "forest": {"n_estimators": 40},
    "xgboost": {"n_estimators": 30},
}


def project(name, trainer, **training):
    data = DATA[name](as_frame=True)
    features = [column.replace("/", "_").replace(" ", "_") for column in data.data.columns]
    classes = [] if name == "diabetes" else [f"c{index}" for index in range(len(data.target_names))]
    spec = spec_from(
        {
            "name": name,
            "task": "multiclass" if classes else "regression",
            "source": {"reader": "source.py:read", "tables": {"t": {"key": ["id"]}}},
            "features": {"request": features},
            "prediction": {"id": "id", "moment": "moment"},
            "label": {"table": "t", "column": "target", "classes": classes},
            "training": {"trainer": trainer, "parameters": SMALL.get(trainer, {}), **training},
            "gate": {"metric": "log_loss" if classes else "rmse"},
        }
    )
    order = np.random.default_rng(1).permutation(len(data.data))
    frame = data.data.iloc[order].reset_index(drop=True).set_axis(features, axis=1)
    moments = pd.Timestamp(START) + pd.to_timedelta(np.arange(len(frame)) // 10, unit="D")
    label = data.target.to_numpy(dtype=np.float64)[order]
    known = {"label": label, "label_known": moments + timedelta(hours=5)}
    return spec, frame.assign(id=order, moment=moments, block=moments.strftime("%Y-%m-%d"), **known)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_every_trainer_learns_classes_and_numbers(name, trainer):
    if name == "diabetes" and trainer == "logistic":
        pytest.skip("it learns classes only")
    spec, frame = project(name, trainer)
    half = len(frame) // 2
    fitted = fit(spec, frame.head(half), threads=1)
    found = evaluate(fitted, frame.tail(half), spec).metrics
    scores = predict(fitted, frame.tail(half))
    assert fitted.task == spec.task
    if name == "wine":
        assert scores.shape == (half, 3)
        assert scores.sum(axis=1) == pytest.approx(1)
        assert fitted.classes == ("c0", "c1", "c2")
        assert found["macro_f1"].value > (0.6 if trainer == "mlp" else 0.8)
    else:
        assert scores.shape == (half,)
        assert found["rmse"].value < frame["label"].std()
        assert found["mae"].standard_error > 0


def test_ten_classes_are_told_apart():
    spec, frame = project("digits", "linear")
    fitted = fit(spec, frame.head(900), threads=1)
    found = evaluate(fitted, frame.tail(800), spec)
    assert found.metrics["macro_f1"].value > 0.9
    assert set(found.metrics) == {"log_loss", "brier", "auc", "macro_f1"}


def test_a_project_without_names_of_its_classes_has_none_in_its_model():
    spec = generated_spec("binary", trainer="linear", folder=Path())
    assert fit(spec, generated_rows("binary"), threads=1).classes == ()


def test_a_trainer_that_does_not_learn_the_task_names_one_that_does():
    spec, frame = project("diabetes", "logistic")
    with pytest.raises(SpecInvalid, match="does not learn regression: it learns binary, multiclass"):
        fit(spec, frame, threads=1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("wine", lambda label: label.where(label != 1, 0), r"no row is of class 1 \(c1\)"),
        ("wine", lambda label: label + 1, "3.0 is no class index, expected 0 to 2"),
        ("wine", lambda label: label + 0.5, r"0.5, 1.5, 2.5 is no class index"),
        ("wine", lambda label: label.where(label != 2), "are missing or infinite"),
        ("diabetes", lambda label: label.where(label < 300, np.inf), "are missing or infinite, and a regression"),
        ("diabetes", lambda label: label * 0 + 7, "a regression learns from numbers that differ"),
    ],
    ids=["missing class", "one too high", "halves", "missing", "infinite", "constant"],
)
def test_labels_that_do_not_fit_the_task_are_refused_in_numbers(name, change, message):
    spec, frame = project(name, "linear")
    with pytest.raises(TrainingFailed, match=message):
        fit(spec, frame.assign(label=change(frame["label"])), threads=1)


def test_a_class_that_only_the_calibration_has_cannot_be_learned():
    spec, frame = project("wine", "linear", calibration="sigmoid", calibration_share=0.3)
    label = np.where(np.arange(len(frame)) < 120, frame["label"] % 2, 2.0)
    with pytest.raises(TrainingFailed, match=r"no row is of class 2 \(c2\)"):
        fit(spec, frame.assign(label=label), threads=1)


def test_a_holdout_of_one_number_cannot_judge():
    spec, frame = project("diabetes", "linear")
    with pytest.raises(EmptyWindow):
        evaluate(fit(spec, frame, threads=1), frame.assign(label=3.0), spec)
