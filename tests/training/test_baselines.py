import numpy as np
import pytest

from baton.training.baselines import LINEAR_ROWS, baselines
from baton.training.evaluate import evaluate
from baton.training.fit import fit
from baton.training.generated import generated_rows, generated_spec
from baton.training.metrics import measure


def project(task, tmp_path, metric=None, quantile=0.5):
    spec = generated_spec(task, trainer="linear", folder=tmp_path)
    gate = spec.gate.model_copy(update={"metric": metric or spec.gate.metric, "quantile": quantile})
    return spec.model_copy(update={"gate": gate}), generated_rows(task)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_task_has_three_baselines_that_get_better(task, tmp_path):
    spec, rows = project(task, tmp_path)
    fresh = generated_rows(task, seed=1)
    found = baselines(spec, rows)
    values = {
        name: measure(spec.gate.metric, fresh["label"].to_numpy(), each.scores(fresh)) for name, each in found.items()
    }
    assert list(values) == ["constant", "rule", "linear"]
    assert values["constant"] > values["rule"] > values["linear"]
    shape = (len(fresh), 3) if task == "multiclass" else (len(fresh),)
    assert {each.scores(fresh).shape for each in found.values()} == {shape}


@pytest.mark.parametrize(
    ("metric", "quantile", "best"),
    [("rmse", 0.5, np.mean), ("mae", 0.5, np.median), ("pinball", 0.9, lambda y: np.quantile(y, 0.9))],
)
def test_the_constant_is_the_one_that_the_metric_likes_best(metric, quantile, best, tmp_path):
    spec, rows = project("regression", tmp_path, metric, quantile)
    constant = baselines(spec, rows)["constant"]
    assert constant.scores(rows.head(1))[0] == pytest.approx(best(rows["label"]))


def test_the_rule_is_a_sentence_about_one_number(tmp_path):
    spec, rows = project("binary", tmp_path)
    rows = rows.assign(label=(rows["load"] > 0.31).astype(float))
    rule = baselines(spec, rows)["rule"]
    assert rule.words.startswith("load > 0.3")
    assert rule.words.endswith(": 1, otherwise 0")
    assert np.array_equal(rule.scores(rows), rows["label"])


def test_the_rule_may_ask_for_a_text(tmp_path):
    spec, rows = project("binary", tmp_path)
    rule = baselines(spec, rows.assign(label=(rows["depot"] == "south").astype(float)))["rule"]
    assert rule.words == "depot is 'south': 1, otherwise 0"
    assert rule.scores(rows.head(3).assign(depot="never seen")).tolist() == [0, 0, 0]


def test_the_rule_says_where_a_missing_number_goes(tmp_path):
    spec, rows = project("binary", tmp_path)
    label = (rows["distance"].isna() | (rows["distance"] > 1)).astype(float)
    rule = baselines(spec, rows.assign(label=label))["rule"]
    assert rule.words.startswith("distance > 1")
    assert "or missing" in rule.words
    assert np.array_equal(rule.scores(rows), label)


def test_a_label_that_no_feature_divides_has_a_constant_for_a_rule(tmp_path):
    spec, rows = project("binary", tmp_path)
    rows = rows.assign(weight=1.0, load=np.nan, distance=0.0, depot="one")
    rule = baselines(spec, rows)["rule"]
    assert rule.words == "no feature divides the rows"
    assert rule.scores(rows) == pytest.approx(rows["label"].mean())


def test_infinite_and_huge_numbers_stop_no_baseline(tmp_path):
    spec, rows = project("binary", tmp_path)
    rows.loc[:5, "load"] = [np.inf, -np.inf, 1e300, -1e300, np.nan, 0]
    for each in baselines(spec, rows).values():
        assert np.isfinite(each.scores(rows)).all()


def test_a_linear_baseline_says_on_how_many_rows_it_was_trained(tmp_path):
    import pandas as pd

    spec, rows = project("binary", tmp_path)
    many = pd.concat([rows] * 20, ignore_index=True)
    assert baselines(spec, many)["linear"].words.endswith("on 12000 evenly spread rows of 24000")
    assert LINEAR_ROWS >= 12_000


def test_an_evaluation_has_every_metric_of_every_baseline(tmp_path):
    spec, rows = project("multiclass", tmp_path)
    fitted = fit(spec, rows, threads=1)
    found = evaluate(fitted, generated_rows("multiclass", seed=1), spec, baselines=baselines(spec, rows)).baselines
    assert set(found) == {"constant", "rule", "linear"}
    assert set(found["rule"]) == {"log_loss", "brier", "auc", "macro_f1"}
    assert found["constant"]["auc"] == 0.5
