"""Several classes and numbers: what the real service logged is read back, judged and measured."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from baton.core.bundle import Field
from baton.core.drift_report import DriftReport, Level
from baton.core.policy import METRICS, DriftSpec
from baton.core.profile import profile, profile_from_json
from baton.core.release import Release
from baton.monitoring.drift import judge
from baton.monitoring.drift_text import drift_line
from baton.monitoring.evidently_report import numbers, render
from baton.monitoring.labels import attach
from baton.monitoring.performance import compare, measure
from baton.monitoring.prediction_window import answers_of, judged_columns, read_predictions, with_answers
from baton.packaging.manifest import PROFILE
from baton.packaging.reader import open_contents
from baton.packaging.seal import seal
from baton.serving.app import create_app
from baton.serving.release_file import write_release
from baton.serving.serving_settings import ServingSettings

START = datetime(2013, 7, 1, tzinfo=timezone.utc)
END = START + timedelta(days=28)
CLASSES = ("barbera", "grignolino", "barolo")
POLICY = DriftSpec(minimum_rows=500)
ROWS = 1_000


def _data(task: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Give real rows, drawn again and again with some noise: one half to train on, one to ask for."""
    from sklearn.datasets import load_diabetes, load_wine

    data = (load_wine if task == "multiclass" else load_diabetes)(as_frame=True)
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, len(data.data), size=2 * ROWS)
    frame = data.data.iloc[drawn, :6].reset_index(drop=True)
    frame.columns = [f"n{at}" for at in range(6)]
    frame = (frame + rng.normal(scale=0.3, size=frame.shape) * frame.std().to_numpy()).astype("float32")
    return frame.astype("float64"), data.target.to_numpy()[drawn]


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def asked(request, tmp_path_factory) -> SimpleNamespace:
    """Seal a model of a task, ask the real app for rows of four weeks, and read its log."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    task = request.param
    classes = CLASSES if task == "multiclass" else ()
    frame, target = _data(task)
    model = (LGBMClassifier if classes else LGBMRegressor)(n_estimators=20, verbose=-1, n_jobs=1)
    encode = ColumnTransformer([("number", "passthrough", list(frame))])
    pipeline = Pipeline([("encode", encode), ("model", model)]).fit(frame[:ROWS], target[:ROWS])
    predict = pipeline.predict_proba if classes else pipeline.predict
    folder = tmp_path_factory.mktemp(task)
    bundle = seal(
        folder,
        model="m",
        pipeline=pipeline,
        model_digest="ab" * 32,
        fields=[Field(name=name, kind="number") for name in frame],
        # The rows that were learnt by heart are no reference for others.
        profile=profile(frame[ROWS:], predict(frame[ROWS:]), text=[], classes=classes),
        holdout=frame[ROWS:],
        golden=frame[:16],
        facts={},
        task=task,
        classes=classes,
    )
    write_release(folder, Release(model="m", epoch=1, version="1", champion=bundle.digest))
    _ask(folder, frame[ROWS:])
    return SimpleNamespace(
        task=task,
        classes=classes,
        folder=folder,
        bundle=bundle,
        profile=profile_from_json(open_contents(bundle.path).files[PROFILE]),
        window=read_predictions(folder / "predictions", start=START, end=END),
        expected=np.asarray(predict(frame[ROWS:]), dtype=np.float64),
        target=target[ROWS:],
        training=frame[:ROWS],
        learnt=np.asarray(predict(frame[:ROWS]), dtype=np.float64),
    )


def _ask(folder: Path, rows: pd.DataFrame) -> None:
    moments = [START + timedelta(days=28 * at / len(rows)) for at in range(len(rows))]
    body = {
        "rows": rows.to_dict("records"),
        "entities": [f"e{at:04}" for at in range(len(rows))],
        "moments": [moment.isoformat() for moment in moments],
    }

    async def story() -> None:
        app = create_app(lambda: ServingSettings(folder=folder, model="m"))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            response = await client.post("/v1/models/m/predict", json=body)
            assert response.status_code == 200

    asyncio.run(story())


def _labels(asked: SimpleNamespace) -> pd.DataFrame:
    named = [asked.classes[at] for at in asked.target] if asked.classes else asked.target.astype(float)
    known = asked.window["moment"] + pd.Timedelta(hours=6)
    return pd.DataFrame({"thing": asked.window["entity"], "truth": named, "known_time": known})


def _judged(asked: SimpleNamespace, window: pd.DataFrame) -> DriftReport:
    return judge(window, asked.profile, POLICY, model="m", digest=asked.bundle.digest, start=START, end=END)


def test_answers_are_read_back_as_they_were_given(asked: SimpleNamespace) -> None:
    found = answers_of(asked.window, classes=asked.classes)
    assert found.shape == asked.expected.shape
    assert np.abs(found - asked.expected).max() < 1e-5 * max(1.0, np.abs(asked.expected).max())


def test_another_models_answers_take_the_same_columns(asked: SimpleNamespace) -> None:
    turned = answers_of(asked.window, classes=asked.classes)[::-1]
    again = with_answers(asked.window, turned, classes=asked.classes)
    assert list(again) == list(asked.window)
    assert np.array_equal(answers_of(again, classes=asked.classes), turned)
    if asked.classes:
        assert again["predicted"].tolist() == asked.window["predicted"].tolist()[::-1]


def test_answers_that_a_log_does_not_hold_are_missing(asked: SimpleNamespace) -> None:
    found = answers_of(asked.window[["id"]], classes=asked.classes)
    assert found.shape == asked.expected.shape
    assert np.isnan(found).all()


def test_rows_like_the_reference_are_quiet(asked: SimpleNamespace) -> None:
    report = _judged(asked, asked.window)
    assert report.score.level is Level.OK
    assert report.score.name == ("predicted" if asked.classes else "score")
    named = [column.name for column in report.columns]
    assert named == [f"n{at}" for at in range(6)] + [f"score.{name}" for name in asked.classes]


def test_other_answers_alarm_and_are_told(asked: SimpleNamespace) -> None:
    # Half of the rows: those of two classes in three, or the larger numbers.
    answers = answers_of(asked.window, classes=asked.classes)
    odd = np.argmax(answers, axis=1) != 1 if asked.classes else answers > np.median(answers) * 0.99
    report = _judged(asked, asked.window[odd])
    assert report.score.level is Level.ALARM
    assert report.drifted
    assert drift_line(report).startswith("predicted PSI" if asked.classes else "score PSI")
    if asked.classes:
        assert next(c for c in report.columns if c.name == "score.grignolino").psi > POLICY.alarm


def test_a_class_that_nobody_has_seen_predicted_counts_as_new() -> None:
    called = np.eye(3)[np.arange(900) % 2]
    frozen = profile(pd.DataFrame({"x": np.zeros(900)}), called, text=[], classes=CLASSES)
    asked_at = pd.to_datetime([START] * 900)
    window = with_answers(
        pd.DataFrame({"moment": asked_at, "feature.x": np.zeros(900)}), np.eye(3)[np.arange(900) % 3], classes=CLASSES
    )
    report = judge(window, frozen, POLICY, model="m", digest="a" * 64, start=START, end=END)
    assert report.score.new_values == pytest.approx(1 / 3)
    assert report.score.level is Level.ALARM


def test_scores_without_the_names_of_their_classes_are_no_reference() -> None:
    with pytest.raises(ValueError, match="3 scores a row need as many classes, found 0"):
        profile(pd.DataFrame({"x": np.zeros(9)}), np.full((9, 3), 1 / 3), text=[])


def test_performance_is_measured_by_the_metrics_of_the_task(asked: SimpleNamespace) -> None:
    report = measure(
        asked.window,
        _labels(asked),
        key="thing",
        label="truth",
        as_of=END + timedelta(days=1),
        model="m",
        digest=asked.bundle.digest,
        start=START,
        end=END,
        task=asked.task,
        classes=asked.classes,
    )
    assert set(report.metrics) == set(METRICS[asked.task])
    assert report.maturity == 1.0
    truth, found = asked.target, answers_of(asked.window, classes=asked.classes)
    if asked.classes:
        assert report.log_loss == pytest.approx(metrics.log_loss(truth, found), rel=1e-6)
        assert report.auc == pytest.approx(metrics.roc_auc_score(truth, found, multi_class="ovr"))
        assert report.metrics["macro_f1"] == pytest.approx(metrics.f1_score(truth, found.argmax(1), average="macro"))
        right = found.argmax(1) == truth
        assert report.calibration == pytest.approx(found.max(1).mean() - right.mean())
    else:
        assert report.metrics["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, found))
        assert report.metrics["mae"] == pytest.approx(metrics.mean_absolute_error(truth, found))
        assert (report.auc, report.log_loss, report.brier) == (None, None, None)
        assert report.calibration == pytest.approx(found.mean() - truth.mean())


def test_the_better_answers_have_the_positive_difference(asked: SimpleNamespace) -> None:
    rng = np.random.default_rng(2)
    found = answers_of(asked.window, classes=asked.classes)
    if asked.classes:
        worse = 0.5 * found + 0.5 * rng.dirichlet(np.ones(3), size=len(found))
    else:
        worse = found + rng.normal(scale=80, size=len(found))
    both = with_answers(asked.window.assign(label=asked.target), worse, score="worse", classes=asked.classes)
    for metric in METRICS[asked.task]:
        gain = compare(both, score="score", against="worse", metric=metric, seed=1, classes=asked.classes)
        loss = compare(both, score="worse", against="score", metric=metric, seed=1, classes=asked.classes)
        assert gain.low <= gain.difference <= gain.high
        assert gain.difference > 0
        assert loss.difference == pytest.approx(-gain.difference)
        assert (gain.rows, gain.days) == (ROWS, 28)


def test_a_class_label_becomes_its_place_however_it_is_written() -> None:
    window = pd.DataFrame({"entity": ["a", "b", "c", "d"]})
    for values, classes in (
        (["barolo", "barbera", "unknown"], CLASSES),
        ([2, 0, 7], ("0", "1", "2")),
        ([2.0, 0.0, 7.0], ("0", "1", "2")),
    ):
        labels = pd.DataFrame({"id": ["a", "b", "c"], "truth": values, "known_time": pd.Timestamp(START)})
        found = attach(window, labels, key="id", label="truth", as_of=END, classes=classes)["label"]
        np.testing.assert_array_equal(found, [2.0, 0.0, np.nan, np.nan])


def test_evidently_draws_what_was_judged(asked: SimpleNamespace, tmp_path: Path) -> None:
    report = _judged(asked, asked.window)
    reference = with_answers(asked.training, asked.learnt, classes=asked.classes)
    path = render(reference, judged_columns(asked.window), report, path=tmp_path / "drift.html")
    shown = numbers(path)
    assert {name: each["psi"] for name, each in shown.items()} == {
        column.name: column.psi for column in (report.score, *report.columns)
    }
    assert next(iter(shown)) == report.score.name
