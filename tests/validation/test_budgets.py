"""What a challenger costs is measured beside the champion."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import DependencyDown, EmptyWindow
from baton.core.policy import BudgetSpec
from baton.core.verdict import Outcome
from baton.validation.budgets import budgets, latency_ms
from baton.validation.memory_probe import memory_bytes

ROWS = pd.DataFrame({"x": np.arange(10.0)})


def onnx_file(path: Path, *, weights: int) -> Path:
    """Write a model that multiplies its input with so many weights."""
    from onnx import TensorProto, helper, numpy_helper

    matrix = numpy_helper.from_array(np.random.default_rng(1).random((1, weights), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, weights])],
        [matrix],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def work(amount: int) -> int:
    return sum(range(amount))


def load(path: Path, rows: pd.DataFrame):
    """Give calls that take as long as the file's name says."""
    return [partial(work, int(path.stem)) for _ in range(len(rows))]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    small = onnx_file(folder / "200.onnx", weights=100_000)
    large = onnx_file(folder / "20000.onnx", weights=1_000_000)
    return small, large


def run(challenger, champion, **limits):
    return {c.name: c for c in budgets(BudgetSpec(**limits), challenger, champion, ROWS, load=load)}


def test_a_model_as_costly_as_the_champion_passes(files):
    small, _ = files
    checks = run(small, small)
    assert set(checks) == {"budget latency", "budget size", "budget memory"}
    assert {check.outcome for check in checks.values()} == {Outcome.PASSED}
    assert checks["budget size"].observed == 1
    # Two processes that load one model take the same memory, within a tenth.
    assert checks["budget memory"].observed == pytest.approx(1, abs=0.1)
    assert checks["budget latency"].observed == pytest.approx(1, abs=0.5)


def test_a_costlier_model_fails_each_budget(files):
    small, large = files
    checks = run(large, small, latency_ratio=3, size_ratio=4, memory_ratio=4)
    assert {check.outcome for check in checks.values()} == {Outcome.FAILED}
    assert checks["budget memory"].observed == pytest.approx(10, rel=0.25)
    assert "times as much, at most 3 is allowed" in checks["budget latency"].detail


def test_limits_are_the_declared_ones(files):
    small, large = files
    checks = run(large, small, latency_ratio=10_000, size_ratio=11, memory_ratio=1.5)
    outcomes = [checks[f"budget {name}"].outcome for name in ("latency", "size", "memory")]
    assert outcomes == [Outcome.PASSED, Outcome.PASSED, Outcome.FAILED]


def test_without_a_champion_costs_are_noted(files):
    checks = run(files[0], None)
    assert {check.outcome for check in checks.values()} == {Outcome.NOTED}
    assert checks["budget size"].observed == pytest.approx(0.38, abs=0.02)


def test_no_rows_measure_nothing(files):
    with pytest.raises(EmptyWindow):
        budgets(BudgetSpec(), files[0], None, ROWS.iloc[:0], load=load)


def test_what_is_no_model_cannot_be_measured(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(DependencyDown, match=r"broken\.onnx"):
        memory_bytes(broken)


def test_models_take_turns():
    asked = []
    latency_ms(*([partial(asked.append, who)] for who in "ab"))
    rounds = asked[32:]
    assert [set(pair) for pair in zip(rounds[::2], rounds[1::2], strict=True)] == [{"a", "b"}] * (len(rounds) // 2)
    # Who comes second changes from round to round.
    assert {tuple(rounds[:2]), tuple(rounds[2:4])} == {("a", "b"), ("b", "a")}
