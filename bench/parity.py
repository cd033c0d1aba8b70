"""How far a sealed model answers from the trained one: each kind of trainer, on a holdout and on edge rows.

`max_abs_diff` is the largest difference of an answer, of a number relative to
its size, over the holdout, the edge rows (missing, unseen, far out, on the
cuts of the trees), rows alone and batches of 1,024; `flips` counts the rows
that are called another class. Beside it stands skl2onnx's own conversion of
the same pipeline, where it has one: `peer_max_abs_diff`, and `peer_share_off`,
the share of holdout rows off by more than 0.01.

    make bench-parity            table
    make bench-parity JSON=1     one JSON object a line
    ROWS=20000                   rows of the holdout
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from printed import Line, print_parts

from baton.core.bundle import Field
from baton.core.errors import ParityFailed
from baton.core.policy import Task
from baton.packaging.onnx_export import export
from baton.packaging.onnx_models import exportable
from baton.packaging.parity import prove

ROWS = int(os.environ.get("ROWS", "10000"))
FIT_ROWS = 6_000
NUMBERS = ("price", "epoch", "count", "level")
# What a decision would be changed by.
OFF = 0.01
WORDS: dict[str, Any] = {"lowercase": False, "token_pattern": "[^ ]+"}


def generated(task: Task, *, rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Make rows of money, moments, counts, levels, a category and a note, with gaps, as a snapshot keeps them."""
    rng = np.random.default_rng(seed)
    words = np.asarray(["fragile", "glass", "heavy", "return", "gift"])
    frame = pd.DataFrame(
        {
            "price": np.round(rng.lognormal(11, 1.5, size=rows), 2),
            "epoch": 1_357_000_000 + np.floor(rng.uniform(0, 31_536_000, size=rows)),
            "count": rng.poisson(3, size=rows).astype(float),
            "level": rng.normal(size=rows),
            "place": rng.choice(["a", "b", "c", "rare", ""], p=[0.4, 0.3, 0.2, 0.01, 0.09], size=rows),
            "note": [" ".join(rng.choice(words, size=rng.integers(0, 5))) for _ in range(rows)],
        }
    )
    raw = np.sin(frame["epoch"] / 5e6) + np.log(frame["price"]) / 5 + frame["level"] / 2 + (frame["place"] == "b")
    raw = (raw + 0.5 * frame["note"].str.contains("glass") + rng.normal(0, 0.5, size=rows)).to_numpy()
    for name in NUMBERS:
        frame[name] = frame[name].astype("float32").astype("float64")
    frame.loc[rng.random(rows) < 0.1, "level"] = np.nan
    if task == "regression":
        return frame, raw * 1e4
    return frame, np.digitize(raw, [3.2] if task == "binary" else [2.9, 3.6])


def pipeline_of(model: Any, *, text: str = "codes", scaled: bool = False) -> Any:
    """Give an unfitted pipeline: categories as codes or columns, a note as weighed words, numbers filled and scaled."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    number = Pipeline([("fill", SimpleImputer(add_indicator=True)), ("scale", StandardScaler())])
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100, sparse_output=False)
    steps: list[tuple[str, Any, Any]] = [
        ("text", codes if text == "codes" else columns, ["place"]),
        ("number", number if scaled else "passthrough", list(NUMBERS)),
    ]
    if text == "words":
        steps.append(("words", TfidfVectorizer(**WORDS), "note"))
    return Pipeline([("encode", ColumnTransformer(steps, sparse_threshold=0)), ("model", model)])


def estimators(task: Task) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Give each trainer's estimator, and how its columns are encoded."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn import ensemble, linear_model
    from xgboost import XGBClassifier, XGBRegressor

    number = task == "regression"
    lightgbm, xgboost = (LGBMRegressor, XGBRegressor) if number else (LGBMClassifier, XGBClassifier)
    forest = ensemble.RandomForestRegressor if number else ensemble.RandomForestClassifier
    boosting = ensemble.HistGradientBoostingRegressor if number else ensemble.HistGradientBoostingClassifier
    linear = linear_model.Ridge() if number else linear_model.LogisticRegression(max_iter=300)
    some = {"n_estimators": 100, "n_jobs": 1, "random_state": 0}
    return {
        "lightgbm": (lightgbm(**some, verbose=-1), {}),
        "xgboost": (xgboost(**some), {}),
        "forest": (forest(50, random_state=0, n_jobs=1), {}),
        "boosting": (boosting(random_state=0), {}),
        "linear": (linear, {"text": "columns", "scaled": True}),
        "linear, words": (linear, {"text": "words", "scaled": True}),
        "forest, scaled": (forest(50, random_state=0, n_jobs=1), {"scaled": True}),
        "lightgbm, scaled": (lightgbm(**some, verbose=-1), {"scaled": True}),
    }


def trainers() -> Iterator[Line]:
    """Each trainer against its export, all rows of the holdout and edge rows."""
    tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")
    for task in tasks:
        frame, target = generated(task, rows=FIT_ROWS + ROWS, seed=7)
        for name, (model, how) in estimators(task).items():
            fitted = pipeline_of(model, **how).fit(frame[:FIT_ROWS], target[:FIT_ROWS])
            yield compared(name, fitted, frame[FIT_ROWS:], task)


def planted() -> Iterator[Line]:
    """A forest behind a scaler on money and moments: in doubles, and as a snapshot rounds them."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    rows = FIT_ROWS + ROWS
    doubles = pd.DataFrame(
        {
            "price": np.round(rng.lognormal(11, 1.5, size=rows), 2),
            "epoch": 1_357_000_000 + np.floor(rng.uniform(0, 31_536_000, size=rows)),
        }
    )
    label = (np.sin(doubles["epoch"] / 5e4) + np.log(doubles["price"]) / 5 > 2.2).to_numpy().astype(int)
    for name, frame in (("in doubles", doubles), ("rounded once", doubles.astype("float32").astype("float64"))):
        steps = [
            ("encode", ColumnTransformer([("number", "passthrough", list(frame))])),
            ("scale", StandardScaler()),
            ("model", RandomForestClassifier(100, random_state=0, n_jobs=1)),
        ]
        fitted = Pipeline(steps).fit(frame[:FIT_ROWS], label[:FIT_ROWS])
        yield compared(f"planted forest, {name}", fitted, frame[FIT_ROWS:], "binary")


def compared(name: str, fitted: Any, holdout: pd.DataFrame, task: Task) -> Line:
    """Prove one pipeline's export and convert it by the peer too."""
    fields = tuple(
        Field(name=each, kind="text" if each in ("place", "note") else "number") for each in map(str, holdout)
    )
    known_before = exportable(fitted.steps[-1][1], task=task) is None
    line: Line = {"bench": "parity", "trainer": name, "task": task, "rows": len(holdout)}
    try:
        made = export(fitted, fields, task=task)
        proof = prove(made.onnx, fitted, holdout, fields=fields, task=task, cuts=made.cuts)
    except ParityFailed as refusal:
        found: Line = {"edge_rows": None, "max_abs_diff": None, "flips": None, "refused": refusal.why.partition(";")[0]}
    else:
        worst = max(proof.difference, proof.batch_difference)
        found = {"edge_rows": proof.edge_rows, "max_abs_diff": worst, "flips": proof.flips, "refused": ""}
    assert known_before  # nothing here is found out after the fit alone
    return line | found | peer(fitted, holdout, task)


def peer(fitted: Any, holdout: pd.DataFrame, task: Task) -> Line:
    """Convert the whole pipeline by skl2onnx as its documentation does, and compare on the holdout."""
    import onnxruntime
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    texts = [each for each in holdout if holdout[each].dtype == object]
    kinds = [(each, (StringTensorType if each in texts else FloatTensorType)([None, 1])) for each in holdout]
    options = None if task == "regression" else {id(fitted.steps[-1][1]): {"zipmap": False}}
    try:
        model = convert_sklearn(fitted, initial_types=kinds, options=options, target_opset={"": 17, "ai.onnx.ml": 3})
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        asked = {each.name for each in session.get_inputs()}
        feed = {
            name: holdout[[name]].to_numpy(dtype=object if name in texts else np.float32)
            for name in holdout
            if name in asked
        }
        scores = session.run(None, feed)[-1]
    except Exception as error:  # noqa: BLE001 - whatever the peer cannot do is its own figure
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return {"peer_max_abs_diff": None, "peer_share_off": None, "peer": f"{type(error).__name__}: {why}"[:90]}
    expected = fitted.predict(holdout) if task == "regression" else fitted.predict_proba(holdout)
    apart = np.abs(np.reshape(scores, np.shape(expected)) - expected)
    if task == "regression":
        apart = apart / np.maximum(np.abs(expected), np.median(np.abs(expected)))
    each = apart if apart.ndim == 1 else apart.max(axis=1)
    return {"peer_max_abs_diff": float(each.max()), "peer_share_off": float((each > OFF).mean()), "peer": "skl2onnx"}


if __name__ == "__main__":
    # Edge rows are as far out as float32 goes, which libraries warn of.
    warnings.simplefilter("ignore")
    print_parts([trainers, planted])
