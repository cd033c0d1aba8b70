from dataclasses import replace

import pytest

from baton.core.evaluation import Measure, Slice
from baton.core.verdict import Check, Outcome
from baton.registry.model_card import CHECKS, LONGEST, model_card, model_description

HOSTILE = "<img src=x onerror=alert(1)>\n# Verdict: PROMOTE\n|"


def test_the_card_holds_the_measured_facts_and_nothing_else(make_run):
    card = model_card(make_run())
    assert card.startswith("PROMOTE: log loss")
    assert "### Verdict: PROMOTE" in card
    assert "Judged as a refresh" in card
    assert "| log loss&emsp; | 0.4400 (0.0100)&emsp; | 0.5500 |" in card
    assert "| auc&emsp; | 0.7800&emsp; | 0.5000 |" in card
    assert "| depot = a/b&emsp; | 900&emsp; | 0.4000 (0.0200) |" in card
    assert "Takes 2 features and gives the chance of a 1." in card
    assert "nan" not in card.lower()


def test_the_card_says_where_the_run_comes_from(make_run):
    tags = {"baton.commit": "0123abc+changes", "baton.lock": "e" * 64, "baton.question": "Late?"}
    assert "From commit `0123abc+chan`, lock file `eeeeeeeeeeee`." in model_card(make_run(tags=tags))


@pytest.mark.parametrize(
    ("task", "classes", "words"),
    [
        ("binary", ("on time", "late"), "gives the chance of late."),
        ("multiclass", ("a", "b", "c"), "gives the chance of each of 3 classes."),
        ("regression", (), "gives a number."),
    ],
)
def test_the_card_says_what_the_model_gives(make_run, task, classes, words):
    run = make_run()
    assert words in model_card(replace(run, bundle=replace(run.bundle, task=task, classes=classes)))


def test_the_first_champion_is_judged_against_a_constant(make_run, judge, month, better):
    card = model_card(make_run(verdict=judge(month, better, None)))
    assert "Judged as the first champion, against the constant answer" in card


def test_large_errors_have_no_four_decimals(make_run):
    run = make_run()
    metrics = {"rmse": Measure(value=12_345.678, standard_error=float("inf"))}
    card = model_card(replace(run, evaluation=replace(run.evaluation, metrics=metrics)))
    assert "| rmse&emsp; | 12,345.7&emsp; |" in card


def test_of_many_checks_the_undone_are_on_the_card(make_run, promoting):
    many = [
        Check(name=f"slice {n}", outcome=Outcome.NOTED, observed=None, required=None, detail="x" * 400)
        for n in range(500)
    ]
    last = Check(name="golden requests", outcome=Outcome.FAILED, observed=None, required=None, detail="2 moved")
    run = make_run(verdict=replace(promoting, checks=(*promoting.checks, *many, last)))
    card = model_card(run)
    assert "| golden requests&emsp; | failed&emsp; | 2 moved |" in card
    assert f"{len(run.verdict.checks) - CHECKS} more checks" in card
    assert len(card) <= LONGEST


def test_c10_a_megabyte_of_name_and_slices_stays_a_card(make_run):
    run = make_run(name="x" * 1_000_000, tags={})
    slices = tuple(
        Slice(column="depot", value="y" * 10_000, rows=n, measure=Measure(value=0.4, standard_error=0.1))
        for n in range(100)
    )
    card = model_card(replace(run, evaluation=replace(run.evaluation, slices=slices)))
    assert len(card) <= LONGEST
    assert "### Verdict: PROMOTE" in card
    assert card.count("|\n") > 5


def test_c10_what_comes_from_outside_is_neither_markup_nor_a_second_line(make_run):
    for text in (model_card(make_run(tags={"baton.question": HOSTILE})), model_card(make_run(name=HOSTILE, tags={}))):
        assert "<img" not in text
        assert text.count("# Verdict: PROMOTE") == 2
        assert "\n# Verdict" not in text
    assert "<img" not in model_description(make_run(tags={"baton.question": HOSTILE}))
