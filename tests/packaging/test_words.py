"""Free text is counted and weighed in the graph as in scikit-learn, or refused before the fit."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer

from baton.core.bundle import Field
from baton.core.errors import ParityFailed
from baton.packaging.onnx_encoders import encodable
from baton.packaging.onnx_export import export
from baton.packaging.onnx_graph import OPSET_OF_WORDS
from baton.packaging.parity import prove
from baton.packaging.rows import rows_from_frame
from baton.packaging.scorer import Scorer

FIELDS = (Field(name="note", kind="text"), Field(name="weight", kind="number"))
PLAIN = {"lowercase": False, "token_pattern": "[^ ]+"}
STEPS = {
    "counts": CountVectorizer(**PLAIN),
    "whether": CountVectorizer(**PLAIN, binary=True),
    "weights": TfidfVectorizer(**PLAIN),
    "logarithms": TfidfVectorizer(**PLAIN, sublinear_tf=True, norm="l1"),
    "no rarity": TfidfVectorizer(**PLAIN, use_idf=False, norm=None),
    "few words": TfidfVectorizer(**PLAIN, max_features=3),
    "two steps": Pipeline([("count", CountVectorizer(**PLAIN)), ("weigh", TfidfTransformer())]),
}


def _rows(count=400):
    rng = np.random.default_rng(5)
    words = ["fragile", "Glass", "glass", "école", "x\u00a0y", "a\tb", "1", "-"]
    notes = [" ".join(rng.choice(words, size=rng.integers(0, 9))) for _ in range(count)]
    notes = [f"  {note} " if at % 7 == 0 else note for at, note in enumerate(notes)]
    weight = rng.integers(0, 90, size=count).astype(float)
    label = (np.char.count(np.asarray(notes), "lass") + weight / 60 + rng.normal(size=count) > 2).astype(int)
    return pd.DataFrame({"note": notes, "weight": weight}), label


def _fitted(step):
    frame, label = _rows()
    encode = ColumnTransformer([("words", step, "note"), ("number", "passthrough", ["weight"])])
    return Pipeline([("encode", encode), ("model", LogisticRegression(max_iter=500))]).fit(frame, label), frame


@pytest.mark.parametrize("name", STEPS)
def test_a_text_step_answers_as_in_training(name):
    """I7: words in any number, beside each other, unknown, and none at all."""
    pipeline, frame = _fitted(STEPS[name])
    made = export(pipeline, FIELDS)

    parity = prove(made.onnx, pipeline, frame, fields=FIELDS)

    assert parity.proven
    assert parity.difference < 1e-6
    assert encodable(pipeline.steps[0][1], {"note"}) is None


def test_a_batch_without_a_single_word_is_answered():
    pipeline, frame = _fitted(STEPS["weights"])
    blank = frame.iloc[:3].assign(note="")

    scores = Scorer(export(pipeline, FIELDS).onnx).score(rows_from_frame(blank, FIELDS))

    assert np.abs(scores - pipeline.predict_proba(blank)[:, 1]).max() < 1e-6


def test_the_graph_says_the_operator_set_that_splits_text():
    made = export(_fitted(STEPS["counts"])[0], FIELDS)

    imported = {each.domain: each.version for each in onnx.load_from_string(made.onnx).opset_import}
    assert imported[""] == made.opset == OPSET_OF_WORDS


@pytest.mark.parametrize(
    ("step", "columns", "why"),
    [
        (TfidfVectorizer(), "note", "lowercase=True has none, only lowercase=False has: prepare the text before"),
        (CountVectorizer(**PLAIN, ngram_range=(1, 2)), "note", "ngram_range"),
        (CountVectorizer(lowercase=False), "note", "token_pattern"),
        (KBinsDiscretizer(), ["weight"], "KBinsDiscretizer cannot be exported: it has no converter for number columns"),
    ],
)
def test_an_encoder_without_export_is_known_before_the_fit(step, columns, why):
    assert why in encodable(ColumnTransformer([("one", step, columns)]), {"note"})


def test_a_text_step_without_export_is_refused_by_name():
    with pytest.raises(ParityFailed, match="TfidfVectorizer cannot be exported: lowercase=True"):
        export(_fitted(TfidfVectorizer())[0], FIELDS)
