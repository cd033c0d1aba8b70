"""All model tests in a row."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from baton.core.digest import canonical_json
from baton.core.errors import IntegrityBroken, SpecInvalid
from baton.core.spec import spec_from
from baton.core.verdict import Outcome
from baton.validation.declared import refuse_impossible
from baton.validation.model_tests import GoldenAnswers, model_tests
from baton.validation.purity import row_prints, rows_seen

ROOT = Path(__file__).parents[2]
FEATURES = ["carrier", "delay", "rain", "seats"]
TESTS = {
    "invariance": [{"feature": "seats", "values": [50, 300]}],
    "direction": [{"feature": "delay", "add": 0.5, "expect": "up"}],
    "minimum": [{"where": {"carrier": "UA"}, "metric": "brier", "at_most": 0.3}],
    "fairness": [{"columns": ["seats"], "measure": "selection_rate", "gap": 0.2}],
}


def spec(tests):
    return spec_from(
        {
            "name": "small",
            "source": {"reader": "source.py:read", "tables": {"arrivals": {"key": ["id"]}}},
            "features": {"request": FEATURES, "text": ["carrier"]},
            "prediction": {"id": "id", "moment": "moment"},
            "label": {"table": "arrivals", "column": "late"},
            "tests": tests,
        }
    )


def score(rows):
    return 1 / (1 + np.exp(-rows["delay"].to_numpy()))


def brier(_, labels, scores):
    return float(np.mean((labels - scores) ** 2))


def run(rows, tests=TESTS, **how):
    train, holdout = rows.iloc[:1_000], rows.iloc[1_000:]
    known = row_prints(train, FEATURES)
    given = {
        "scores": score(holdout),
        "measure": brier,
        "seen": rows_seen(holdout, FEATURES, {"challenger": known}),
    } | how
    return model_tests(spec(tests), holdout, score, **given)


def test_a_sound_model_passes_everything_in_order(rows):
    answers = GoldenAnswers(champion=np.array([0.1]), challenger=np.array([0.2]))
    checks = run(rows, answers=answers)
    assert [check.name for check in checks] == [
        "holdout_unseen",
        "invariance seats",
        "direction delay up",
        "minimum brier where carrier is UA",
        "selection_rate gap by seats",
        "golden requests",
    ]
    assert {check.outcome for check in checks[:-1]} == {Outcome.PASSED}
    # The verdict must be able to carry them, and the same rows give the same bytes.
    assert canonical_json(checks) == canonical_json(run(rows, answers=answers))


def test_nothing_declared_leaves_purity_alone(rows):
    assert [check.name for check in run(rows, tests={})] == ["holdout_unseen"]


def test_a_leaked_holdout_is_not_scored(rows):
    """C16: blocked before scores are read."""

    def unread(_):
        raise AssertionError

    known = row_prints(rows, FEATURES)
    holdout = rows.iloc[1_000:]
    seen = rows_seen(holdout, FEATURES, {"champion": known})
    (check,) = model_tests(spec(TESTS), holdout, unread, scores=np.zeros(1_000), measure=brier, seen=seen)
    assert check.outcome is Outcome.FAILED


def test_a_test_that_cannot_be_made_stops_the_others(rows):
    with pytest.raises(SpecInvalid):
        run(rows, tests={"direction": [{"feature": "carrier", "add": 1, "expect": "up"}]})


def test_scores_of_other_rows_are_refused(rows):
    with pytest.raises(IntegrityBroken, match="3 scores of 1000 rows"):
        run(rows, scores=np.zeros(3))


def test_the_example_of_the_page_can_be_declared_for_the_flights():
    page = (ROOT / "docs/explanation/model-tests.md").read_text(encoding="utf-8")
    declared = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    flights = spec_from(yaml.safe_load((ROOT / "examples/flights/model.yaml").read_text()) | declared)
    refuse_impossible(flights.tests, flights.features.names, flights.features.text, task=flights.task)
    assert set(declared["tests"]) == {"invariance", "direction", "minimum", "fairness", "budget"}
