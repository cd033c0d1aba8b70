"""The suites of model.yaml run in Great Expectations, and what they find is told."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from baton.core.errors import SpecInvalid
from baton.core.spec import load_spec
from baton.settings import Settings, quiet_vendors
from baton.validation.great_expectations_suite import DataTests

MODEL = """
name: shop
source:
  reader: source.py:read
  tables:
    orders:
      key: [order_id]
      quarantine_limit: 0.1
      expectations: {expectations}
    visits: {{key: [shop]}}
features: {{request: [size]}}
prediction: {{id: order_id, moment: placed}}
label: {{table: orders, column: returned}}
"""
BETWEEN = {
    "type": "expect_column_values_to_be_between",
    "arguments": {"column": "size", "min_value": 0, "max_value": 9},
}
COUNT = {"type": "expect_table_row_count_to_be_between", "severity": "warn", "arguments": {"min_value": 5}}


@pytest.fixture(scope="session", autouse=True)
def _quiet(tmp_path_factory):
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture
def tests(tmp_path):
    def build(*expectations):
        (tmp_path / "model.yaml").write_text(MODEL.format(expectations=json.dumps(expectations)))
        return DataTests(tmp_path / "checks", load_spec(tmp_path))

    return build


def _rows(*sizes):
    return pd.DataFrame(
        {"order_id": [f"o{i}" for i in range(len(sizes))], "size": sizes}, index=range(7, 7 + len(sizes))
    )


def test_a_good_batch_passes(tests):
    checked = tests(BETWEEN, COUNT).check("orders", _rows(*[1.0] * 20), batch="monday")
    assert checked.report.passed
    assert (checked.report.expectations, checked.report.failures, len(checked.good)) == (2, (), 20)


def test_a_bad_row_is_set_aside_by_its_own_place(tests):
    rows = _rows(*[1.0] * 12, 99.0, *[2.0] * 7)
    checked = tests({**BETWEEN, "severity": "quarantine"}).check("orders", rows, batch="monday")
    assert checked.report.passed
    assert checked.bad["order_id"].tolist() == ["o12"]
    assert checked.bad.index.tolist() == [19]
    assert "size fails expect_column_values_to_be_between" in checked.bad["reason"].iloc[0]
    assert checked.report.failures[0].examples == ("99.0",)


def test_a_batch_full_of_bad_rows_stops(tests):
    checked = tests({**BETWEEN, "severity": "quarantine"}).check("orders", _rows(1.0, 2.0, 99.0, 98.0), batch="monday")
    assert not checked.report.passed


def test_a_stop_stops_and_a_warning_does_not(tests):
    assert not tests(BETWEEN).check("orders", _rows(99.0), batch="monday").report.passed
    warned = tests(COUNT).check("orders", _rows(1.0), batch="monday").report
    assert warned.passed
    assert "found 1" in warned.failures[0].detail


def test_mostly_leaves_the_few_alone(tests):
    mostly = {**BETWEEN, "severity": "quarantine", "arguments": {**BETWEEN["arguments"], "mostly": 0.5}}
    checked = tests(mostly).check("orders", _rows(1.0, 2.0, 99.0), batch="monday")
    assert (checked.report.failures, len(checked.bad)) == ((), 0)


def test_two_expectations_of_one_column_keep_their_own_answers(tests):
    lower = {**BETWEEN, "severity": "warn", "arguments": {"column": "size", "min_value": 5}}
    report = tests(BETWEEN, lower).check("orders", _rows(1.0, 2.0), batch="monday").report
    assert [(f.severity, f.unexpected) for f in report.failures] == [("warn", 2)]


def test_no_expectations_pass_nothing(tests):
    assert not tests(BETWEEN).check("visits", _rows(1.0), batch="monday").report.passed


def test_an_empty_batch_answers_for_its_size_alone(tests):
    report = tests(BETWEEN, COUNT).check("orders", _rows(1.0).iloc[:0], batch="monday").report
    assert [f.expectation for f in report.failures] == ["expect_table_row_count_to_be_between"]
    assert report.passed


@pytest.mark.parametrize("severity", ["warn", "quarantine", "stop"])
def test_what_cannot_be_computed_stops_the_batch(tests, severity):
    missing = {**BETWEEN, "severity": severity, "arguments": {"column": "seize", "min_value": 0}}
    report = tests(missing).check("orders", _rows(1.0), batch="monday").report
    assert not report.passed
    assert '"seize"' in report.failures[0].detail


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": "expect_column_values_to_be_betwen"}, "did you mean 'expect_column_values_to_be_between'"),
        ({**BETWEEN, "arguments": {"column": "size", "min_valu": 0}}, "'min_valu', did you mean 'min_value'"),
        ({"type": "expect_column_values_to_be_in_set", "arguments": {"value_set": [1]}}, "column: field required"),
    ],
    ids=["name", "argument", "argument missing"],
)
def test_an_expectation_that_is_not_one_is_named(tests, expectation, message):
    with pytest.raises(SpecInvalid) as refused:
        tests(expectation).check("orders", _rows(1.0), batch="monday")
    assert message in str(refused.value)


def test_the_pages_show_failed_batches_and_the_newest_good_one(tests):
    checks = tests(BETWEEN)
    for batch, size in (("good-one", 1.0), ("bad-one", 99.0), ("good-two", 2.0), ("bad-two", 98.0)):
        checks.check("orders", _rows(size), batch=batch)
    index = checks.build_docs()
    assert index.is_file()
    pages = {page.parent.parent.name for page in index.parent.glob("validations/**/*.html")}
    assert pages == {"bad-one", "bad-two", "good-two"}
    assert "bad-one" in index.read_text()
