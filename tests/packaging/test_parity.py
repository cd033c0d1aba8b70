"""Parity is proven on the whole holdout and on rows that no holdout holds."""

import pytest

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
