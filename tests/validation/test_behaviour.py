"""A model that breaks a declared rule fails that test, and one that keeps it passes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import SpecInvalid
from baton.core.policy import TestSpec
from baton.core.verdict import Outcome
from baton.validation.behaviour import MOST_ROWS, behaviour, even, level

TEXT = ("carrier",)


def sound(rows: pd.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(-(rows["delay"] + rows["rain"].fillna(0.5)))).to_numpy()


def counts_seats(rows: pd.DataFrame) -> np.ndarray:
    return np.clip(sound(rows) + 0.1 * (rows["seats"] > 200).to_numpy(), 0, 1)


def knows_carriers(rows: pd.DataFrame) -> np.ndarray:
    return np.clip(sound(rows) + 0.2 * (rows["carrier"] == "DL").to_numpy(), 0, 1)


def upside_down(rows: pd.DataFrame) -> np.ndarray:
    return 1 - sound(rows)


def dead(rows: pd.DataFrame) -> np.ndarray:
    return np.full(len(rows), np.nan)


def log_loss(metric, labels, scores):
    assert metric == "log_loss"
    return float(-np.log(np.where(labels == 1, scores, 1 - scores)).mean())


def run(declared, score, rows, *, task="binary", measure=log_loss):
    tests = TestSpec.model_validate(declared)
    labels = rows["label"].to_numpy()
    return behaviour(tests, score, rows, labels, text=TEXT, task=task, measure=measure)


def only(declared, score, rows, **how):
    (check,) = run(declared, score, rows, **how)
    return check


SEATS = {"invariance": [{"feature": "seats", "values": [50, 300], "tolerance": 0.02}]}
CARRIER = {"invariance": [{"feature": "carrier", "values": ["AA", "DL"], "tolerance": 0.02}]}
DELAY = {"direction": [{"feature": "delay", "add": 0.5, "expect": "up"}]}
UNITED = {"minimum": [{"where": {"carrier": "UA"}, "metric": "log_loss", "at_most": 0.68}]}


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        (SEATS, sound, counts_seats),
        (CARRIER, sound, knows_carriers),
        (DELAY, sound, upside_down),
        (UNITED, sound, upside_down),
    ],
    ids=["number held still", "text held still", "one way", "good enough"],
)
def test_each_rule_passes_a_model_that_keeps_it_and_fails_one_that_breaks_it(rows, declared, good, bad):
    assert only(declared, good, rows).outcome is Outcome.PASSED
    check = only(declared, bad, rows)
    assert check.outcome is Outcome.FAILED
    assert check.observed is not None
    assert check.required is not None


def test_an_invariance_tells_the_worst_value_and_row(rows):
    check = only(SEATS, counts_seats, rows)
    assert "setting seats to 300" in check.detail or "setting seats to 50" in check.detail
    assert "at most 0.02 is allowed; most for flight-" in check.detail
    # Only rows that are changed count: two thirds of the rows have another value, and all of them gain 0.1 at most.
    assert 0.02 < check.observed <= 0.1


def test_a_rows_own_value_does_not_water_the_change_down(rows):
    mostly = rows.assign(seats=np.where(np.arange(len(rows)) < 50, 50.0, 300.0))
    declared = {"invariance": [{"feature": "seats", "values": [300], "tolerance": 0.02}]}
    check = only(declared, counts_seats, mostly)
    assert check.outcome is Outcome.FAILED


def test_a_category_that_no_row_has_is_told(rows):
    declared = {"invariance": [{"feature": "carrier", "values": ["ZZ"]}]}
    check = only(declared, sound, rows)
    assert check.outcome is Outcome.PASSED
    assert "no row has ZZ" in check.detail


def test_a_feature_is_made_missing_by_null(rows):
    declared = {"invariance": [{"feature": "carrier", "values": [None]}, {"feature": "rain", "values": [None]}]}
    carrier, rain = run(declared, knows_carriers, rows)
    assert "carrier to missing" in carrier.detail
    assert carrier.outcome is Outcome.FAILED
    assert rain.outcome is Outcome.FAILED


def test_a_change_that_changes_no_row_shows_nothing(rows):
    declared = {"invariance": [{"feature": "seats", "values": [300]}]}
    assert only(declared, sound, rows.assign(seats=300.0)).outcome is Outcome.UNDECIDED


def test_a_direction_counts_the_rows_that_go_there_or_stay(rows):
    check = only(DELAY, lambda frame: np.full(len(frame), 0.3), rows)
    assert (check.outcome, check.observed) == (Outcome.PASSED, 1.0)
    assert "0 move" in check.detail
    down = {"direction": [{"feature": "delay", "add": 0.5, "expect": "down"}]}
    check = only(down, sound, rows)
    assert (check.outcome, check.observed) == (Outcome.FAILED, 0.0)
    assert "farthest the other way for flight-" in check.detail


def test_only_rows_that_have_the_feature_are_raised(rows):
    declared = {"direction": [{"feature": "rain", "add": 0.1, "expect": "up"}]}
    check = only(declared, sound, rows)
    assert f"{rows['rain'].notna().sum():,} rows" in check.detail
    assert only(declared, sound, rows.assign(rain=np.nan)).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("declared", [SEATS, DELAY], ids=["invariance", "direction"])
def test_scores_that_are_no_numbers_fail(rows, declared):
    """C13: NaN never compares as better."""
    assert only(declared, dead, rows).outcome is Outcome.FAILED


def test_several_classes_move_by_the_largest_and_go_by_the_expected_class(rows):
    def of_three(frame):
        low = sound(frame)[:, None]
        return np.hstack([1 - low, low * 0.4, low * 0.6])

    declared = SEATS | DELAY
    invariance, direction = run(declared, of_three, rows, task="multiclass")
    assert (invariance.observed, direction.observed) == (0.0, 1.0)
    turned = only(DELAY, lambda frame: of_three(frame)[:, ::-1], rows, task="multiclass")
    assert turned.outcome is Outcome.FAILED
    assert level(np.array([[0.5, 0.25, 0.25]])).tolist() == [0.75]


@pytest.mark.parametrize(
    "where",
    [{"carrier": "ZZ"}, {"seats": {"from": 1000}}, {"carrier": "UA", "seats": 51}],
    ids=["unknown category", "range beyond all", "both never"],
)
def test_a_group_without_rows_is_undecided_and_never_passed(rows, where):
    declared = {"minimum": [{"where": where, "metric": "log_loss", "at_most": 100}]}
    check = only(declared, sound, rows)
    assert check.outcome is Outcome.UNDECIDED
    assert check.observed is None
    assert "no row matches" in check.detail


def test_a_metric_that_says_nothing_is_undecided(rows):
    check = only(UNITED, sound, rows, measure=lambda *_: float("nan"))
    assert (check.outcome, check.observed) == (Outcome.UNDECIDED, None)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({"carrier": "UA"}, lambda f: f["carrier"] == "UA"),
        ({"carrier": ["UA", "AA"]}, lambda f: f["carrier"].isin(["UA", "AA"])),
        ({"carrier": None}, lambda f: f["carrier"] == ""),
        ({"rain": None}, lambda f: f["rain"].isna()),
        ({"seats": {"from": 50, "to": 150}}, lambda f: f["seats"] <= 150),
        ({"rain": {"to": 0.5}}, lambda f: f["rain"] <= 0.5),
        ({"rain": {"from": 0.5}, "carrier": "UA"}, lambda f: (f["rain"] >= 0.5) & (f["carrier"] == "UA")),
    ],
    ids=["value", "list", "missing text", "missing number", "closed range", "open range", "both"],
)
def test_where_chooses_rows(rows, where, chosen):
    declared = {"minimum": [{"where": where, "metric": "log_loss", "at_least": 0}]}
    check = only(declared, sound, rows, measure=lambda _, labels, __: float(len(labels)))
    assert check.observed == chosen(rows).sum() > 0


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"direction": [{"feature": "carrier", "add": 1, "expect": "up"}]}, "only a number can be raised"),
        ({"direction": [{"feature": "delay", "add": 0, "expect": "up"}]}, "tests nothing"),
        ({"invariance": [{"feature": "seats", "values": ["many"]}]}, "'many' is no number"),
        ({"invariance": [{"feature": "carrier", "values": [False]}]}, "put it in quotes"),
        ({"invariance": [{"feature": "wings", "values": [2]}]}, "names no feature: wings"),
        ({"minimum": [{"where": {"carrier": {"from": 1}}, "metric": "auc", "at_least": 0}]}, "only numbers have"),
        ({"minimum": [{"where": {"seats": {"low": 1}}, "metric": "auc", "at_least": 0}]}, "`from`, `to` or both"),
        ({"minimum": [{"where": {"seats": {"from": 2, "to": 1}}, "metric": "auc", "at_least": 0}]}, "is empty"),
        ({"minimum": [{"where": {"seats": 50}, "metric": "rmse", "at_most": 1}]}, "'rmse' is none of binary"),
    ],
    ids=[
        "raised text",
        "adds nothing",
        "text for a number",
        "yaml no",
        "stranger",
        "range of text",
        "keys",
        "empty",
        "metric",
    ],
)
def test_what_cannot_be_tested_is_refused(rows, declared, told):
    with pytest.raises(SpecInvalid, match=told):
        run(declared, sound, rows)


def test_all_problems_are_told_at_once(rows):
    declared = {
        "direction": [{"feature": "carrier", "add": 1, "expect": "up"}],
        "fairness": [{"columns": ["seats"], "measure": "selection_rate"}],
    }
    with pytest.raises(SpecInvalid, match=r"raised.*compare 'error'"):
        run(declared, sound, rows, task="regression")


def test_many_rows_are_looked_at_evenly():
    places = even(1_000_000, MOST_ROWS)
    assert (len(places), places[0], places[-1]) == (MOST_ROWS, 0, 999_999)
    assert even(3, 10).tolist() == [0, 1, 2]
    assert len(even(0, 10)) == 0
