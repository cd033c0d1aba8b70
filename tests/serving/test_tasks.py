"""Several classes and numbers, sealed from small fits and answered by the real app, into the log and back."""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from baton.core.bundle import Field
from baton.core.digest import canonical_json
from baton.core.errors import IntegrityBroken
from baton.core.profile import profile
from baton.core.release import Release
from baton.packaging.manifest import write_manifest
from baton.packaging.reader import open_contents
from baton.packaging.seal import seal, write_bundle
from baton.serving.app import create_app
from baton.serving.client import PredictionClient
from baton.serving.predictor import load_predictor
from baton.serving.release_file import write_release
from baton.serving.serving_settings import ServingSettings

CLASSES = ("barbera", "grignolino", "barolo")


def _fitted(task):
    """Fit the rows of even places, and give the rows of odd ones with their answers."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_diabetes, load_wine
    from sklearn.pipeline import Pipeline
    from xgboost import XGBRegressor

    data = (load_wine if task == "multiclass" else load_diabetes)(as_frame=True)
    frame = data.data.astype("float32").astype("float64").iloc[:, :6]
    frame.columns = [f"n{at}" for at in range(6)]
    model = (
        LGBMClassifier(n_estimators=15, verbose=-1, n_jobs=1)
        if task == "multiclass"
        else XGBRegressor(n_estimators=15, max_depth=3, n_jobs=1)
    )
    encode = ColumnTransformer([("number", "passthrough", list(frame))])
    pipeline = Pipeline([("encode", encode), ("model", model)]).fit(frame[::2], data.target[::2])
    rows = frame[1::2].reset_index(drop=True)
    return pipeline, rows, pipeline.predict_proba(rows) if task == "multiclass" else pipeline.predict(rows)


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def served(request, tmp_path_factory):
    """A state folder with one released bundle, its rows and the trained model's answers."""
    task = request.param
    classes = CLASSES if task == "multiclass" else ()
    pipeline, rows, expected = _fitted(task)
    folder = tmp_path_factory.mktemp(task) / "m"
    bundle = seal(
        folder,
        model="m",
        pipeline=pipeline,
        model_digest="ab" * 32,
        fields=[Field(name=name, kind="number") for name in rows],
        profile=profile(rows, expected, text=[], classes=classes),
        holdout=rows,
        golden=rows[:16],
        facts={},
        task=task,
        classes=classes,
    )
    release = Release(model="m", epoch=1, version="1", champion=bundle.digest)
    write_release(folder, release)
    return SimpleNamespace(
        task=task,
        folder=folder,
        bundle=bundle,
        release=release,
        rows=rows,
        requests=rows.to_dict("records"),
        expected=np.asarray(expected, dtype=np.float64),
    )


def _ask(served, *requests):
    async def story():
        app = create_app(lambda: ServingSettings(folder=served.folder, model="m"))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
        ):
            return [(await client.request(*line, **kwargs)).json() for *line, kwargs in requests]

    return asyncio.run(story())


@pytest.fixture(scope="module")
def answered(served):
    """Ask for all rows in one request, and twice for the first rows, with the document."""
    predict = ("POST", "/v1/models/m/predict")
    together, first, described, document = _ask(
        served,
        (*predict, {"json": {"rows": served.requests}}),
        (*predict, {"json": {"rows": served.requests[:2]}}),
        ("GET", "/v1/models/m", {}),
        ("GET", "/openapi.json", {}),
    )
    return SimpleNamespace(together=together, first=first, described=described, document=document)


def test_an_answer_has_the_fields_of_its_task(served, answered):
    first = answered.together["predictions"][0]

    if served.task == "multiclass":
        assert list(first) == ["id", "label", "scores"]
        assert list(first["scores"]) == list(CLASSES)
        assert sum(first["scores"].values()) == pytest.approx(1, abs=1e-6)
        assert first["label"] == max(first["scores"], key=first["scores"].get)
    else:
        assert list(first) == ["id", "value"]


def test_answers_are_the_trained_models(served, answered):
    found = _numbers(answered.together["predictions"], served)

    assert np.abs(found - served.expected).max() < 1e-5 * max(1.0, np.abs(served.expected).max())
    assert np.array_equal(found[:2], _numbers(answered.first["predictions"], served))


def test_the_model_says_its_task(served, answered):
    assert answered.described["task"] == served.task
    assert answered.described["classes"] == (list(CLASSES) if served.task == "multiclass" else [])


def test_the_document_describes_the_answers_that_are_given(served, answered):
    operation = answered.document["paths"]["/v1/models/m/predict"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    row = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]["items"]

    assert answered.document["openapi"] == "3.1.0"
    assert set(row["properties"]) == set(served.rows)
    _check(answered.together, schema)


def test_the_log_holds_the_answers_in_columns_of_their_own(served, answered):
    table = next(
        found for path in (served.folder / "predictions").glob("*.parquet") if len(found := pq.read_table(path)) > 2
    )
    logged = table.slice(0, len(served.rows)).to_pydict()

    if served.task == "multiclass":
        assert "score" not in logged
        found = np.column_stack([logged[f"score.{name}"] for name in CLASSES])
        assert logged["predicted"] == [each["label"] for each in answered.together["predictions"]]
    else:
        found = np.array(logged["score"])
    assert np.array_equal(found, _numbers(answered.together["predictions"], served))
    assert np.array_equal(np.array(logged["feature.n0"]), served.rows["n0"])


def test_the_client_gives_answers_of_the_task(served, answered, monkeypatch):
    replies = iter([answered.together, answered.described])
    monkeypatch.setattr(PredictionClient, "_ask", lambda *_: dict(next(replies)))

    with PredictionClient("http://service", model="m") as client:
        answer = client.predict(served.requests)
        described = client.describe()

    assert answer.scores == ()
    if served.task == "multiclass":
        assert (described.task, described.classes) == ("multiclass", CLASSES)
        assert [dict(each) for each in answer.class_scores] == [
            each["scores"] for each in answered.together["predictions"]
        ]
        assert set(answer.labels) <= set(CLASSES)
        assert answer.values == ()
    else:
        assert answer.values == tuple(each["value"] for each in answered.together["predictions"])
        assert (answer.labels, answer.class_scores) == ((), ())


@pytest.mark.parametrize("change", ["another number", "another shape"])
def test_golden_answers_that_differ_refuse_the_bundle(served, change):
    files = dict(open_contents(served.bundle.path).files)
    golden = json.loads(files["golden.json"])
    if change == "another shape":
        golden["scores"] = [[0.5, 0.5] for _ in golden["scores"]]
    elif served.task == "multiclass":
        golden["scores"][3][1] += 0.01
    else:
        golden["scores"][3] *= 1.001
    files["golden.json"] = canonical_json(golden)
    manifest = write_manifest(model="m", model_digest="ab" * 32, contents=files)
    folder = write_bundle(served.folder, {**files, "manifest.json": manifest})

    with pytest.raises(IntegrityBroken, match=r"golden request 3 differs|its answers have the shape"):
        load_predictor(served.folder, Release(model="m", epoch=2, version="2", champion=folder.name), max_batch_rows=8)


def test_one_class_without_a_number_is_no_answer(served, monkeypatch):
    predictor = load_predictor(served.folder, served.release, max_batch_rows=8)
    bad = served.expected.copy()
    bad[(0, 1) if bad.ndim > 1 else 0] = np.nan
    monkeypatch.setattr(predictor._scorer, "score", lambda _: bad)

    with pytest.raises(FloatingPointError):
        predictor.score(None)


def test_serving_imports_nothing_of_the_pipeline():
    heavy = "{'pandas', 'sklearn', 'onnx', 'skl2onnx', 'lightgbm', 'xgboost', 'baton.core.policy'}"
    code = (
        f"import sys, baton.serving.app; found = {heavy} & set(sys.modules); "
        "print(found) if found else None; sys.exit(bool(found))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def _numbers(predictions, served):
    if served.task == "multiclass":
        return np.array([[each["scores"][name] for name in CLASSES] for each in predictions])
    return np.array([each["value"] for each in predictions])


def _check(value, schema):
    """Hold a value against the few words of JSON Schema that the document uses."""
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}
    assert isinstance(value, kinds[schema["type"]] if "type" in schema else object)
    assert value in schema.get("enum", [value])
    if "maximum" in schema:
        assert schema["minimum"] <= value <= schema["maximum"]
    for each in value if isinstance(value, list) else []:
        _check(each, schema["items"])
    if isinstance(value, dict):
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, each in value.items():
            _check(each, schema["properties"][name])
