"""The exported graph answers as the pipeline does, on every kind of row."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core.errors import ParityFailed
from baton.packaging.onnx_export import export
from baton.packaging.onnx_graph import ML_OPSET, OPSET
from baton.packaging.onnx_trees import largest_float32_not_above
from baton.packaging.parity import TOLERANCE
from baton.packaging.rows import rows_from_frame
from baton.packaging.scorer import Scorer


def test_every_holdout_row_scores_as_in_the_pipeline(pipeline, fields, holdout):
    scores = Scorer(export(pipeline, fields).onnx).score(rows_from_frame(holdout, fields))

    assert np.abs(scores - pipeline.predict_proba(holdout)[:, 1]).max() < TOLERANCE


def test_a_missing_value_in_a_column_that_never_missed_one_scores_as_in_the_pipeline(trees, fields, holdout):
    frame = holdout.assign(distance=np.nan)

    scores = Scorer(export(trees, fields).onnx).score(rows_from_frame(frame, fields))

    assert np.abs(scores - trees.predict_proba(frame)[:, 1]).max() < TOLERANCE


def test_values_on_a_threshold_go_the_way_they_went_in_training(trees, fields, holdout):
    # Neighbouring float32 numbers around each split of one column.
    splits = [node["threshold"] for node in _splits(trees) if node["split_feature"] == 2]
    around = [np.nextafter(np.float32(s), np.float32(d)) for s in splits for d in (-np.inf, s, np.inf)]
    frame = holdout.iloc[[0] * len(around)].assign(distance=np.array(around, dtype="float64"))

    scores = Scorer(export(trees, fields).onnx).score(rows_from_frame(frame, fields))

    assert np.abs(scores - trees.predict_proba(frame)[:, 1]).max() < TOLERANCE


@given(st.floats(min_value=-3e38, max_value=3e38), st.floats(width=32, allow_nan=False))
def test_a_rounded_threshold_divides_float32_numbers_as_the_double_does(threshold, number):
    assert (number <= threshold) == (number <= largest_float32_not_above(threshold))


def test_the_graph_has_one_output_of_one_column_and_a_free_number_of_rows(pipeline, fields):
    model = onnx.load_from_string(export(pipeline, fields).onnx)

    (output,) = model.graph.output
    shape = output.type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("rows", 1)
    assert all(each.type.tensor_type.shape.dim[0].dim_param == "rows" for each in model.graph.input)
    assert {each.domain: each.version for each in model.opset_import} == {"": OPSET, "ai.onnx.ml": ML_OPSET}


def test_the_same_pipeline_gives_the_same_bytes(pipeline, fields):
    assert export(pipeline, fields) == export(pipeline, fields)


def test_fields_in_another_order_give_the_same_scores(trees, fields, holdout):
    turned = tuple(reversed(fields))

    scores = Scorer(export(trees, turned).onnx).score(rows_from_frame(holdout, turned))

    assert np.abs(scores - trees.predict_proba(holdout)[:, 1]).max() < TOLERANCE


def test_an_estimator_without_converter_is_named(trees, fields, holdout):
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import Pipeline

    other = Pipeline([("encode", trees.steps[0][1]), ("model", RidgeClassifier())])

    with pytest.raises(ParityFailed, match="RidgeClassifier cannot be exported"):
        export(other, fields)


def test_an_encoder_without_converter_is_named(trees, fields, holdout):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import KBinsDiscretizer

    binned = ColumnTransformer([("number", KBinsDiscretizer(), ["distance"])]).fit(holdout)

    with pytest.raises(ParityFailed, match="KBinsDiscretizer cannot be exported"):
        export(Pipeline([("encode", binned), ("model", trees.steps[1][1])]), fields)


def test_a_column_that_is_no_field_is_named(trees, fields):
    with pytest.raises(ParityFailed, match="'wind' is no field"):
        export(trees, fields[:-1])


def _splits(trees):
    pending = [tree["tree_structure"] for tree in trees.steps[1][1].booster_.dump_model()["tree_info"]]
    while pending:
        node = pending.pop()
        if "threshold" in node:
            yield node
            pending += [node["left_child"], node["right_child"]]
