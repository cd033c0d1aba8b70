"""Golden requests show what a model meets, and how a new one answers."""

from __future__ import annotations

import numpy as np
import pytest

from baton.core.verdict import Outcome
from baton.validation.golden import golden, golden_rows

FEATURES = ["carrier", "delay", "rain", "seats"]


@pytest.fixture
def scores(rows):
    return 1 / (1 + np.exp(-rows["delay"].to_numpy()))


def test_every_kind_of_row_is_among_them(rows, scores):
    places = golden_rows(rows[FEATURES], scores, text=["carrier"], count=16)
    chosen = rows.iloc[places]
    assert len(places) == len(set(places.tolist())) == 16
    assert set(chosen["carrier"]) == {"AA", "DL", "UA", ""}
    assert chosen["rain"].isna().any()
    for name in ("delay", "rain", "seats"):
        assert chosen[name].min() == rows[name].min()
        assert chosen[name].max() == rows[name].max()


def test_scores_are_spread_from_lowest_to_highest(rows, scores):
    found = np.sort(scores[golden_rows(rows[FEATURES], scores, text=["carrier"], count=24)])
    assert (found[0], found[-1]) == (scores.min(), scores.max())
    ranks = np.searchsorted(np.sort(scores), found) / len(scores)
    assert np.diff(ranks).max() < 0.1


def test_the_same_rows_are_chosen_again(rows, scores):
    first, again = (golden_rows(rows[FEATURES], scores, text=["carrier"], count=24) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_more_kinds_than_places_fill_the_places(rows, scores):
    many = rows[FEATURES].assign(carrier=[f"c{n % 500}" for n in range(len(rows))])
    assert len(golden_rows(many, scores, text=["carrier"], count=24)) == 24


def test_rows_with_nothing_to_show_are_filled_by_score(rows):
    plain = rows[["seats"]].assign(seats=1.0)
    places = golden_rows(plain, np.linspace(0, 1, len(rows)), text=[], count=24)
    assert len(places) == 24


def test_few_rows_are_all_golden(rows):
    assert golden_rows(rows[FEATURES].head(5), np.zeros(5), text=["carrier"], count=24).tolist() == [0, 1, 2, 3, 4]


def test_moved_answers_are_counted_and_decide_nothing():
    champion = np.array([0.1, 0.5, 0.9])
    check = golden(champion, np.array([0.15, 0.2, 0.7]), task="binary", names=["x", "y", "z"])
    assert check.outcome is Outcome.NOTED
    assert check.observed == pytest.approx(0.3)
    assert "2 of 3 golden answers move by more than 0.1" in check.detail
    assert "most for y, from 0.5 to 0.2" in check.detail


def test_several_classes_move_by_the_largest():
    champion = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    check = golden(champion, champion[:, ::-1], task="multiclass")
    assert check.observed == pytest.approx(0.7)
    assert "request 2, from 0.1 / 0.1 / 0.8 to 0.8 / 0.1 / 0.1" in check.detail


def test_numbers_are_compared_in_the_spread_of_the_answers():
    champion = np.array([100.0, 200.0, 300.0])
    assert "0 of 3" in golden(champion, champion + 5, task="regression").detail
    assert "3 of 3" in golden(champion, champion + 50, task="regression").detail


def test_answers_of_other_requests_are_not_compared():
    check = golden(np.zeros(3), np.zeros(4), task="binary")
    assert (check.outcome, check.observed) == (Outcome.NOTED, None)
