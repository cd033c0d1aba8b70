"""Parity is proven on the whole holdout and on rows that no holdout holds."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from baton.core.bundle import Field
from baton.core.errors import EmptyWindow, ParityFailed
from baton.packaging.edge_rows import edge_rows
from baton.packaging.onnx_export import export
from baton.packaging.parity import prove


def test_a_true_export_is_proven(pipeline, fields, holdout):
    parity = prove(export(pipeline, fields).onnx, pipeline, holdout, fields=fields)

    assert parity.proven
    assert parity.rows == len(holdout)
    assert parity.edge_rows > len(fields)
    assert (parity.flips, parity.flips_at_base_rate) == (0, 0)
    assert parity.batch_difference == 0.0


def test_another_models_graph_is_refused_with_the_worst_row(trees, linear, fields, holdout):
    with pytest.raises(ParityFailed, match=r"row \d+ gives .* carrier='"):
        prove(export(linear, fields).onnx, trees, holdout, fields=fields)


def test_no_rows_prove_nothing(trees, fields, holdout):
    with pytest.raises(EmptyWindow):
        prove(export(trees, fields).onnx, trees, holdout.iloc[:0], fields=fields)


def test_edge_rows_hold_a_row_with_everything_missing(fields, holdout):
    edges = edge_rows(holdout, fields=fields)

    assert ((edges.isna() | (edges == "")).all(axis=1)).any()


FINE = (*(Field(name=name, kind="number") for name in ("price", "epoch")),)


def _money_and_moments(rows, seed):
    """Prices in cents up to millions, and seconds since 1970: more digits than float32 has."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "price": np.round(rng.lognormal(11, 1.5, size=rows), 2),
            "epoch": 1_357_000_000 + np.floor(rng.uniform(0, 31_536_000, size=rows)),
        }
    )
    return frame, (np.sin(frame["epoch"] / 500) + np.log(frame["price"]) / 5 > 2.2).astype(int)


def _scaled_forest(frame, label):
    encode = ColumnTransformer([("number", "passthrough", list(frame))])
    forest = RandomForestClassifier(20, random_state=0, n_jobs=1)
    return Pipeline([("encode", encode), ("scale", StandardScaler()), ("model", forest)]).fit(frame, label)


def test_a_forest_behind_a_scaler_divides_money_and_moments_as_in_training():
    """I7: the usual converter flips rows here, since it scales in float32."""
    frame, label = _money_and_moments(6_000, seed=1)
    # As every snapshot keeps them.
    frame = frame.astype("float32").astype("float64")
    pipeline = _scaled_forest(frame[:3_000], label[:3_000])
    made = export(pipeline, FINE)

    parity = prove(made.onnx, pipeline, frame[3_000:], fields=FINE, cuts=made.cuts)

    assert parity.difference <= 1e-5
    assert (parity.flips, parity.flips_at_base_rate) == (0, 0)


def test_numbers_that_float32_cannot_hold_are_named_as_the_cause():
    """I7: a model that was fitted past the snapshot, on doubles, is refused with the columns that it is about."""
    frame, label = _money_and_moments(6_000, seed=1)
    pipeline = _scaled_forest(frame[:3_000], label[:3_000])

    with pytest.raises(ParityFailed, match=r"float32 rounds .*=\d.* to .*Fit on numbers that float32 holds"):
        prove(export(pipeline, FINE).onnx, pipeline, frame[3_000:], fields=FINE)


def test_a_category_that_is_encoded_otherwise_is_named_as_the_cause(linear, fields, holdout):
    graph = onnx.load_from_string(export(linear, fields).onnx)
    encoder = next(node for node in graph.graph.node if node.op_type == "LabelEncoder")
    keys = next(each for each in encoder.attribute if each.name == "keys_strings").strings
    keys[1], keys[2] = keys[2], keys[1]

    with pytest.raises(ParityFailed, match=r"since it is carrier='\w*' that makes the difference"):
        prove(graph.SerializeToString(), linear, holdout, fields=fields)
