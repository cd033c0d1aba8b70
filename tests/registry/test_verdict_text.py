"""A verdict in words: what a person reads in a terminal, in a flow run's artifact and on a page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from baton.core.verdict import Check, Outcome
from baton.registry.verdict_text import plain_name, plain_words, verdict_line, verdict_markdown, verdict_rows


@pytest.fixture
def promoted(month, judge, better, worse):
    return judge(month, better, worse)


@pytest.fixture
def held(month, judge, better, worse):
    return judge(month, worse, better)


def test_a_line_gives_the_decision_and_the_sentence_that_decided(promoted, held):
    assert verdict_line(promoted).startswith("PROMOTE: log loss gain over the champion +")
    assert verdict_line(held).startswith("HOLD: mean log loss gain over the champion -")


@pytest.mark.parametrize(("name", "plain"), [("log_loss", "log loss"), ("not_worse", "not worse"), ("auc", "auc")])
def test_a_name_is_written_as_a_person_writes_it(name, plain):
    assert plain_name(name) == plain


def test_only_the_metric_is_renamed_in_a_sentence():
    said = plain_words("log_loss gain, 9 rows fail on flight_arr15_28d", metric="log_loss")
    assert said == "log loss gain, 9 rows fail on flight_arr15_28d"


def test_each_check_is_a_row_as_wide_as_the_header(promoted):
    header, rows = verdict_rows(promoted)
    assert len(rows) == len(promoted.checks)
    assert {len(row) for row in rows} == {len(header)}
    assert {row[1] for row in rows} == {"yes"}


def test_a_check_that_failed_stands_out(held):
    _, rows = verdict_rows(held)
    assert ["better on average", "NO"] in [row[:2] for row in rows]


def test_no_word_of_the_program_is_left_in_the_markdown(promoted, held):
    for verdict in (promoted, held):
        assert "_" not in verdict_markdown(verdict)


def test_the_markdown_is_one_heading_and_one_whole_table(held):
    lines = verdict_markdown(held).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == "## HOLD"
    assert lines[2].startswith("**mean log loss gain")
    assert len(table) == len(held.checks) + 2
    assert {len(re.findall(r"\|", line)) for line in table} == {6}


def test_the_reasons_stand_below_the_table(held):
    assert "- enough blocks: 28 blocks of rows, 14 needed" in verdict_markdown(held).splitlines()


def test_a_count_is_written_without_decimals(held):
    _, rows = verdict_rows(held)
    assert ["enough blocks", "yes", "28", "14"] in [row[:4] for row in rows]


def test_a_bar_in_a_sentence_does_not_break_the_table(held):
    checks = tuple(replace(check, name="a|b") for check in held.checks)
    table = [line for line in verdict_markdown(replace(held, checks=checks)).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {6}


def test_the_first_champion_is_judged_against_a_constant(month, judge, better):
    assert "against a constant" in verdict_markdown(judge(month, better, None))


def test_the_rows_that_would_decide_are_told_where_they_are_known(promoted):
    assert "would decide" not in verdict_markdown(promoted)
    assert "About 52,000 rows would decide." in verdict_markdown(replace(promoted, rows_needed=52_000))


def test_what_is_only_noted_is_told_as_such(promoted):
    noted = Check(name="slice a_b=c_d", outcome=Outcome.NOTED, observed=-0.1, required=0.0, detail="few rows")
    _, rows = verdict_rows(replace(promoted, checks=(*promoted.checks, noted)))
    assert rows[-1][:2] == ["slice a_b=c_d", "noted"]
