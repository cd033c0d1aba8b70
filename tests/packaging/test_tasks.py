"""Every task and every trainer's estimator, with and without calibration, answers in ONNX as it was trained."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone

from baton.core.bundle import Field
from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import Misuse, ParityFailed
from baton.core.profile import profile
from baton.packaging.agreement import gaps
from baton.packaging.onnx_export import export
from baton.packaging.onnx_models import exportable
from baton.packaging.parity import TOLERANCE, prove, trained_scores
from baton.packaging.reader import open_bundle, open_contents
from baton.packaging.rows import rows_from_frame
from baton.packaging.scorer import Scorer
from baton.packaging.seal import seal
from baton.training.calibration import calibration


class Layers(BaseEstimator):
    """What a network's estimator looks like, with weights that nobody has trained."""

    def __init__(self, outputs=1):
        self.outputs = outputs

    def fit(self, rows, labels):
        rng = np.random.default_rng(0)
        sizes = [rows.shape[1], 8, 4, self.outputs]
        self.classes_ = np.unique(labels)
        self.layers = [
            (rng.normal(size=pair).astype(np.float32), rng.normal(size=pair[1]).astype(np.float32))
            for pair in pairwise(sizes)
        ]
        return self

    def raw(self, rows):
        values = np.asarray(rows, dtype=np.float64)
        for at, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if at else values) @ weight.astype(np.float64) + bias
        return values


class LayersClassifier(ClassifierMixin, Layers):
    def predict_proba(self, rows):
        raw = self.raw(rows)
        raw = np.column_stack([np.zeros(len(raw)), raw]) if raw.shape[1] == 1 else raw
        each = np.exp(raw - raw.max(axis=1, keepdims=True))
        return each / each.sum(axis=1, keepdims=True)


class LayersRegressor(RegressorMixin, Layers):
    def predict(self, rows):
        return self.raw(rows)[:, 0]


def _table(task, name=None):
    """Real numbers with a text column and missing values put in, rows in a mixed order."""
    from sklearn import datasets

    loaders = {
        "binary": datasets.load_breast_cancer,
        "multiclass": datasets.load_wine,
        "digits": datasets.load_digits,
        "regression": datasets.load_diabetes,
    }
    data = loaders[name or task](as_frame=True)
    frame = data.data.astype("float32").astype("float64").iloc[:, :10]
    frame.columns = [f"n{at}" for at in range(frame.shape[1])]
    rng = np.random.default_rng(3)
    frame.loc[rng.random(len(frame)) < 0.1, "n1"] = np.nan
    frame["place"] = rng.choice(["a", "b", "c", ""], size=len(frame))
    order = rng.permutation(len(frame))
    return frame.iloc[order].reset_index(drop=True), data.target.to_numpy()[order]


def _pipeline(frame, model, *, scaled):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers = [name for name in frame if name != "place"]
    if scaled:
        text = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False)
        number = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    else:
        text, number = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), "passthrough"
    encode = ColumnTransformer([("text", text, ["place"]), ("number", number, numbers)])
    return Pipeline([("encode", encode), ("model", clone(model))])


def _models(task):
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn import ensemble, linear_model, naive_bayes
    from xgboost import XGBClassifier, XGBRegressor

    if task == "regression":
        return {
            "lightgbm": LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1),
            "lightgbm counts": LGBMRegressor(n_estimators=10, objective="poisson", verbose=-1, n_jobs=1),
            "xgboost": XGBRegressor(n_estimators=30, max_depth=4, n_jobs=1),
            "xgboost counts": XGBRegressor(n_estimators=10, objective="count:poisson", n_jobs=1),
            "forest": ensemble.RandomForestRegressor(10, random_state=0),
            "boosting": ensemble.HistGradientBoostingRegressor(max_iter=20),
            "boosting counts": ensemble.HistGradientBoostingRegressor(max_iter=10, loss="poisson"),
            "ridge": linear_model.Ridge(),
            "counts": linear_model.PoissonRegressor(),
            "network": LayersRegressor(),
        }
    outputs = 1 if task == "binary" else 3
    return {
        "lightgbm": LGBMClassifier(n_estimators=30, verbose=-1, n_jobs=1),
        "xgboost": XGBClassifier(n_estimators=30, max_depth=4, n_jobs=1),
        "forest": ensemble.RandomForestClassifier(10, random_state=0),
        "boosting": ensemble.HistGradientBoostingClassifier(max_iter=20),
        "logistic": linear_model.LogisticRegression(max_iter=2_000),
        "network": LayersClassifier(outputs),
        "bayes": naive_bayes.GaussianNB(),
    }


NEEDS_NUMBERS = ("ridge", "counts", "logistic", "network", "bayes")
CASES = [(task, name) for task in ("binary", "multiclass", "regression") for name in _models(task)]
BY_NAME = [f"{task}, {name}" for task, name in CASES]


@pytest.fixture(scope="module")
def learned():
    """Fit one estimator of a task and give it with rows that it has not seen; nothing is fitted twice."""
    known = {}

    def learned(task, name, *, scaled=None):
        scaled = name in NEEDS_NUMBERS if scaled is None else scaled
        if (task, name, scaled) not in known:
            frame, target = _table(task)
            half = len(frame) // 2
            pipeline = _pipeline(frame, _models(task)[name], scaled=scaled).fit(frame[:half], target[:half])
            known[task, name, scaled] = pipeline, frame[half:], target[half:]
        return known[task, name, scaled]

    return learned


def _fields(frame):
    return tuple(Field(name=name, kind="text" if name == "place" else "number") for name in frame)


def _scores(pipeline, rows, task):
    return Scorer(export(pipeline, _fields(rows), task=task).onnx).score(rows_from_frame(rows, _fields(rows)))


def _proof(pipeline, rows, task, found=None):
    classes = [str(each) for each in pipeline.classes_] if task == "multiclass" else ()
    made = export(pipeline, _fields(rows), task=task, classes=classes, calibration=found)
    return prove(made.onnx, pipeline, rows, fields=_fields(rows), task=task, calibration=found, cuts=made.cuts)


@pytest.mark.parametrize(("task", "name"), CASES, ids=BY_NAME)
def test_an_export_answers_as_the_trained_model(learned, task, name):
    """I7: every holdout row, every kind of edge row, alone and in a batch of 1,024."""
    pipeline, rows, _ = learned(task, name)

    parity = _proof(pipeline, rows, task)

    assert parity.proven
    assert parity.rows == len(rows)
    assert parity.flips == 0
    assert parity.difference < 5e-6


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
@pytest.mark.parametrize(
    ("task", "name"), [case for case in CASES if case[0] != "regression"], ids=[n for n in BY_NAME if "regr" not in n]
)
def test_a_calibrated_export_answers_as_the_calibrated_model(learned, task, name, kind):
    pipeline, rows, target = learned(task, name)
    raw = trained_scores(pipeline, rows, task=task, calibration=None)
    found = calibration(kind, target.astype(float), raw)

    parity = _proof(pipeline, rows, task, found)

    assert parity.proven
    # XGBoost itself answers in float32, and a steep curve shows its last bit.
    assert parity.difference < (TOLERANCE if name == "xgboost" else 1e-6)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "forest", "boosting"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_trees_behind_a_scaler_divide_as_in_training(learned, task, name):
    assert _proof(*learned(task, name, scaled=True)[:2], task).proven


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "forest"])
def test_ten_classes_sum_to_one(name):
    frame, target = _table("multiclass", "digits")
    pipeline = _pipeline(frame, _models("multiclass")[name], scaled=False).fit(frame[:900], target[:900])

    scores = _scores(pipeline, frame[900:], "multiclass")

    assert scores.shape == (len(frame) - 900, 10)
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-6
    assert np.array_equal(np.argmax(scores, axis=1), pipeline.predict(frame[900:]))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_graph_says_how_many_scores_a_row_has(learned, task):
    pipeline, rows, _ = learned(task, "lightgbm")

    (output,) = onnx.load_from_string(export(pipeline, _fields(rows), task=task).onnx).graph.output

    shape = output.type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("rows", 3 if task == "multiclass" else 1)


def test_a_value_that_lightgbm_reads_as_zero_is_one(learned):
    pipeline, rows, _ = learned("regression", "lightgbm")
    tiny = np.float64(np.float32(1e-35))
    frame = pd.concat([rows[:1].assign(**{name: tiny * sign}) for name in rows if name[0] == "n" for sign in (-1, 1)])

    scores = _scores(pipeline, frame, "regression")

    assert gaps(scores, pipeline.predict(frame), task="regression").max() < 1e-12


def test_a_number_of_any_size_keeps_its_digits(learned):
    _, rows, target = learned("regression", "lightgbm")
    far = 1e9 + target
    pipeline = _pipeline(rows, _models("regression")["lightgbm"], scaled=False).fit(rows, far)

    scores = _scores(pipeline, rows, "regression")

    assert np.abs(scores - pipeline.predict(rows)).max() < 1e-5


def test_early_stopping_exports_the_trees_that_answer():
    from xgboost import XGBClassifier

    frame, target = _table("multiclass")
    numbers = frame.drop(columns="place")
    model = XGBClassifier(n_estimators=60, early_stopping_rounds=2, n_jobs=1, learning_rate=1.0)
    model.fit(numbers[:90].to_numpy(), target[:90], eval_set=[(numbers[90:].to_numpy(), target[90:])], verbose=False)
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    encode = ColumnTransformer([("number", "passthrough", list(numbers))]).fit(numbers)
    pipeline = Pipeline([("encode", encode), ("model", model)])

    assert model.best_iteration < len(model.get_booster().get_dump()) / 3 - 1
    assert _proof(pipeline, numbers[90:], "multiclass").proven


def test_edge_rows_lie_on_the_cuts_of_the_trees(learned):
    pipeline, rows, _ = learned("regression", "forest")
    made = export(pipeline, _fields(rows), task="regression")

    assert set(made.cuts) == {name for name in rows if name != "place"}
    with_cuts = prove(made.onnx, pipeline, rows, fields=_fields(rows), task="regression", cuts=made.cuts)
    assert with_cuts.edge_rows > 3 * 200


def test_a_cut_in_the_wrong_place_is_found(learned):
    pipeline, rows, _ = learned("regression", "boosting")
    made = export(pipeline, _fields(rows), task="regression")
    nodes = pipeline.named_steps["model"]._predictors[0][0].nodes
    moved = np.flatnonzero((nodes["is_leaf"] == 0) & (nodes["feature_idx"] > 0))[0]
    before = nodes["num_threshold"][moved]
    # The next float32 above: no row of the holdout lies between.
    nodes["num_threshold"][moved] = np.nextafter(np.float32(before), np.float32(np.inf), dtype=np.float32)
    cuts = {name: (before,) if before in values else () for name, values in made.cuts.items()}

    try:
        prove(made.onnx, pipeline, rows, fields=_fields(rows), task="regression")
        with pytest.raises(ParityFailed, match="the exported model differs"):
            prove(made.onnx, pipeline, rows, fields=_fields(rows), task="regression", cuts=cuts)
    finally:
        nodes["num_threshold"][moved] = before


def test_a_model_of_other_classes_is_refused(learned):
    pipeline, rows, _ = learned("multiclass", "lightgbm")

    with pytest.raises(ParityFailed, match="3 scores a row, expected those of 4 classes"):
        export(pipeline, _fields(rows), task="multiclass", classes=["a", "b", "c", "d"])
    with pytest.raises(ParityFailed, match="3 scores a row, expected those of a binary model"):
        export(pipeline, _fields(rows))


def _hopeless():
    from lightgbm import LGBMClassifier
    from sklearn.linear_model import RidgeClassifier
    from xgboost import XGBClassifier

    class Mine(BaseEstimator):
        def predict_proba(self, rows):
            return rows

    return {
        "lightgbm averages": (LGBMClassifier(boosting_type="rf"), "boosting_type='rf'"),
        "lightgbm one against all": (LGBMClassifier(objective="multiclassova"), "objective='multiclassova'"),
        "xgboost without trees": (XGBClassifier(booster="gblinear"), "booster='gblinear'"),
        "xgboost missing 0": (XGBClassifier(missing=0), "missing=0"),
        "no probabilities": (RidgeClassifier(), "no probabilities"),
        "a user's own": (Mine(), "Mine has no converter: give it an attribute 'layers'"),
    }


@pytest.mark.parametrize("case", _hopeless())
def test_an_estimator_that_cannot_be_exported_is_known_before_the_fit(case):
    estimator, why = _hopeless()[case]

    assert why in exportable(estimator)


@pytest.mark.parametrize(("task", "name"), CASES, ids=BY_NAME)
def test_an_estimator_that_can_be_exported_is_known_before_the_fit(learned, task, name):
    fitted = learned(task, name)[0].named_steps["model"]

    assert exportable(fitted, task=task) is None
    assert name == "network" or exportable(clone(fitted), task=task) is None


@pytest.fixture(scope="module")
def sealed(learned, tmp_path_factory):
    """Seal one bundle of each task."""
    folder = tmp_path_factory.mktemp("state")
    bundles = {}
    for task in ("binary", "multiclass", "regression"):
        pipeline, rows, _ = learned(task, "lightgbm")
        classes = ("first", "second", "third") if task == "multiclass" else ()
        scores = trained_scores(pipeline, rows, task=task, calibration=None)
        bundles[task] = seal(
            folder,
            model="m",
            pipeline=pipeline,
            model_digest="ab" * 32,
            fields=_fields(rows),
            profile=profile(rows, scores, text=["place"], classes=classes),
            holdout=rows,
            golden=rows[:16],
            facts={},
            task=task,
            classes=classes,
        )
    return bundles


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_bundle_says_its_task_and_carries_golden_answers(sealed, learned, task):
    contents = open_contents(sealed[task].path)
    pipeline, rows, _ = learned(task, "lightgbm")

    assert contents.bundle.task == task
    assert contents.bundle.classes == (("first", "second", "third") if task == "multiclass" else ())
    assert np.shape(contents.golden.scores) == ((16, 3) if task == "multiclass" else (16,))
    expected = trained_scores(pipeline, rows[:16], task=task, calibration=None)
    assert gaps(np.array(contents.golden.scores), expected, task=task).max() < TOLERANCE
    assert json.loads(contents.files["parity.json"])["task"] == task


def test_a_bundle_of_the_first_format_is_still_read_and_is_binary(tmp_path):
    """It is the second one whose schema does not say its task."""
    (second,) = (Path(__file__).parents[1] / "cases" / "bundle_format_2").iterdir()
    fields = json.loads((second / "manifest.json").read_bytes())
    schema = json.loads((second / "schema.json").read_bytes())
    del schema["task"], schema["classes"]
    said = canonical_json(schema)
    fields["files"]["schema.json"] = {"sha256": digest_of_bytes(said), "size": len(said)}
    content = canonical_json(fields | {"format": 1})
    folder = shutil.copytree(second, tmp_path / "bundles" / digest_of_bytes(content))
    (folder / "schema.json").write_bytes(said)
    (folder / "manifest.json").write_bytes(content)

    bundle = open_bundle(folder)

    assert (bundle.task, bundle.classes) == ("binary", ())


@pytest.mark.parametrize(
    ("task", "classes"),
    [("binary", ("a",)), ("multiclass", ()), ("multiclass", ("a", "b", "b")), ("regression", ("a", "b"))],
)
def test_classes_that_do_not_fit_the_task_are_refused(learned, tmp_path, task, classes):
    pipeline, rows, _ = learned("binary", "lightgbm")

    with pytest.raises(Misuse, match="its classes are"):
        seal(
            tmp_path,
            model="m",
            pipeline=pipeline,
            model_digest="ab" * 32,
            fields=_fields(rows),
            profile=profile(rows, np.zeros(len(rows)), text=["place"]),
            holdout=rows,
            golden=rows[:16],
            facts={},
            task=task,
            classes=classes,
        )
