"""Intervals as text: each kind of gain on its own axis, every mark where its number is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from baton.core.verdict import Check, Outcome
from baton.registry.interval_plot import axes, verdict_plot

SLICE = Check(
    name="slice depot_name=a", outcome=Outcome.FAILED, observed=-0.1, required=0.0, low=-0.15, high=-0.05, detail="d"
)


@pytest.fixture(scope="module")
def promoted(month, judge, better, worse):
    return judge(month, better, worse, baselines={"constant": 0.28, "rule": worse})


def test_each_kind_of_gain_has_an_axis(promoted):
    found = axes(replace(promoted, checks=(*promoted.checks, SLICE)))
    assert [axis.title for axis in found] == [
        "Gain over the constant answer",
        "Gain of log loss over simple models",
        "Gain of log loss over the champion",
        "Gain over the champion by slice",
    ]
    assert [bar.name for bar in found[-1].bars] == ["depot_name=a"]


def test_zero_and_every_limit_is_on_the_axis(promoted):
    for axis in axes(promoted):
        for value in (0.0, *(each for bar in axis.bars for each in (bar.low, bar.mean, bar.high, bar.limit))):
            assert 0 <= axis.place(value) <= 1


def test_marks_stand_where_their_numbers_are(promoted):
    text = verdict_plot(replace(promoted, checks=(SLICE,)), width=41)
    _, line, scale = text.splitlines()
    drawn = line.partition("depot_name=a  ")[2][:41]
    assert line.startswith("✗ depot_name=a")
    assert line.endswith("-0.1000")
    assert drawn.index("━") < drawn.index("●") < drawn.rindex("━") < drawn.index("┆")
    assert scale.split() == ["-0.1560", "+0.0060"]


def test_a_terminal_that_knows_no_signs_gets_letters(promoted):
    assert verdict_plot(promoted, plain=True).isascii()


def test_a_long_name_is_cut_and_no_line_is_longer_than_the_axis(promoted):
    long = replace(SLICE, name="slice depot=" + "n" * 90)
    text = verdict_plot(replace(promoted, checks=(*promoted.checks, long)))
    assert max(map(len, text.splitlines())) <= 2 + 28 + 2 + 46 + 9


def test_without_an_interval_there_is_no_plot(promoted):
    assert not verdict_plot(replace(promoted, checks=promoted.checks[:2]))


def test_a_gain_of_exactly_nothing_can_be_drawn(judge, month, better):
    assert "●" in verdict_plot(judge(month, better, better))
