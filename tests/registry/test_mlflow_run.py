import json
from dataclasses import replace

import pytest

from baton.core.evaluation import Measure
from baton.core.verdict import Check, Outcome
from baton.registry import mlflow_run
from baton.registry.mlflow_words import one_line


def with_bundle(run, **changes):
    return replace(run, bundle=replace(run.bundle, **changes))


@pytest.mark.parametrize(
    ("task", "classes", "columns"),
    [
        ("binary", (), [("score", "double")]),
        ("multiclass", ("a", "b", "c"), [("a", "double"), ("b", "double"), ("c", "double"), ("label", "string")]),
        ("regression", (), [("value", "double")]),
    ],
)
def test_the_signature_is_the_tasks(make_run, task, classes, columns):
    outputs = mlflow_run.signature(with_bundle(make_run(), task=task, classes=classes)).outputs
    assert [(column.name, column.type.name) for column in outputs] == columns


def test_a_runs_own_tables_are_shown_and_an_empty_one_is_not(make_run):
    trials = ({"trial": 0, "num_leaves": 7, "log_loss": 0.41}, {"trial": 1, "num_leaves": 9, "log_loss": float("nan")})
    run = make_run(tables={"trials": trials, "none": ()})
    found = mlflow_run.tables(run)
    assert found["trials.json"] == {
        "columns": ["trial", "num_leaves", "log_loss"],
        "data": [[0, 7, 0.41], [1, 9, None]],
    }
    assert "none.json" not in found
    listed = json.loads(mlflow_run.run_tags(run)["mlflow.loggedArtifacts"])
    assert {"path": "trials.json", "type": "table"} in listed


class TestTags:
    def test_the_commit_is_one_that_a_page_can_link_to(self, make_run):
        tags = mlflow_run.run_tags(make_run(tags={"baton.commit": "0123abc+changes", "baton.trigger": "drift"}))
        assert tags["mlflow.source.git.commit"] == "0123abc"
        assert tags["baton.commit"] == "0123abc+changes"
        assert tags["baton.trigger"] == "drift"

    def test_without_a_commit_there_is_none(self, make_run):
        assert "mlflow.source.git.commit" not in mlflow_run.run_tags(make_run(tags={}))

    def test_a_version_says_its_verdict_its_bundle_and_why(self, make_run):
        run = make_run()
        tags = mlflow_run.version_tags(run)
        assert tags["baton.decision"] == "PROMOTE"
        assert tags["baton.verdict"] == run.verdict.id
        assert tags["baton.bundle"] == run.bundle.digest
        assert tags["baton.reason"].startswith("log loss gain over the champion")

    def test_c10_a_reason_is_one_line_of_500_characters(self, make_run, promoting):
        detail = "<b>bad</b>\n" + "x" * 1_000_000
        check = Check(name="parity", outcome=Outcome.FAILED, observed=None, required=None, detail=detail)
        reason = mlflow_run.version_tags(make_run(verdict=replace(promoting, checks=(check,))))["baton.reason"]
        assert len(reason) <= 500
        assert reason.startswith("bbad/b x")

    def test_a_callers_tags_take_no_measured_ones_place(self, make_run):
        run = make_run(tags={"baton.verdict": "0" * 64, "baton.key": "mine", "baton.status": "registered"})
        tags = mlflow_run.run_tags(run)
        assert tags["baton.verdict"] == run.verdict.id
        assert tags["baton.key"] == run.key
        assert tags["baton.status"] == "logging"


class TestMetrics:
    def test_the_gain_is_the_one_over_the_champion(self, make_run, promoting):
        slice_ = Check(name="slice a", outcome=Outcome.PASSED, observed=0.5, required=0.0, low=0.4, high=0.6)
        found = mlflow_run.metrics(make_run(verdict=replace(promoting, checks=(*promoting.checks, slice_))))
        decisive = next(check for check in promoting.checks if check.name == "not_worse")
        assert found["gain"] == decisive.observed
        assert (found["gain_low"], found["gain_high"]) == (decisive.low, decisive.high)

    def test_the_first_champions_gain_is_the_one_over_a_constant(self, make_run, judge, month, better):
        found = mlflow_run.metrics(make_run(verdict=judge(month, better, None)))
        assert found["gain"] > 0.03

    def test_a_regression_has_its_own(self, make_run):
        run = make_run()
        evaluation = replace(
            run.evaluation,
            metrics={"rmse": Measure(value=12.5, standard_error=0.5)},
            baselines={"constant": {"rmse": 20.0}, "last known": {"rmse": float("nan")}},
        )
        found = mlflow_run.metrics(replace(run, evaluation=evaluation))
        assert found["rmse"] == 12.5
        assert found["constant_rmse"] == 20.0
        assert "last known_rmse" not in found

    def test_checks_are_counted_by_outcome(self, make_run):
        found = mlflow_run.metrics(make_run())
        assert found["checks_failed"] == 0
        assert found["checks_passed"] >= 4

    def test_c10_names_are_such_as_mlflow_takes(self, make_run):
        run = make_run(parameters={"a\nb'": 1, "x" * 1_000: "y" * 10_000})
        run = replace(run, evaluation=replace(run.evaluation, baselines={"my\nrule": {"auc": 0.6}}))
        assert mlflow_run.metrics(run)["my_rule_auc"] == 0.6
        assert sorted((len(name), len(value)) for name, value in mlflow_run.parameters(run).items()) == [
            (4, 1),
            (250, 6_000),
        ]


def test_baselines_checks_and_slices_are_tables(make_run, tmp_path):
    run = make_run()
    mlflow_run.write_files(run, tmp_path)
    written = {name: json.loads((tmp_path / name).read_text()) for name in mlflow_run.tables(run)}
    assert written["metrics.json"] == {
        "columns": ["metric", "value", "standard error", "constant"],
        "data": [["log_loss", 0.44, 0.01, 0.55], ["auc", 0.78, None, 0.5]],
    }
    assert written["slices.json"]["data"] == [["depot", "a|b", 900, 0.4, 0.02]]
    assert len(written["checks.json"]["data"]) == len(run.verdict.checks)
    tagged = json.loads(mlflow_run.run_tags(run)["mlflow.loggedArtifacts"])
    assert {entry["path"] for entry in tagged} == set(written)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\r\n\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("one\u2028two\u202ethree\x00", "one two three"),
        ("", ""),
        ("x" * 501, "x" * 499 + "…"),
        ("x" * 10**6, "x" * 499 + "…"),
        ("x" * 500, "x" * 500),
    ],
    ids=["line breaks", "terminal colours", "unicode", "empty", "long", "a megabyte", "just fits"],
)
def test_k1_a_text_is_one_bounded_line(text, line):
    assert one_line(text) == line
