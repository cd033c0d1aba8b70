"""The page of a verdict: whole in one file, the same for the same verdict, and safe whatever names it shows."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from baton.core.verdict import Check, Outcome
from baton.registry.verdict_page import verdict_html

HOSTILE = Check(
    name="slice depot=<script>alert(1)</script>",
    outcome=Outcome.NOTED,
    observed=0.01,
    required=0.0,
    low=-0.1,
    high=0.1,
    detail="'><img src=x onerror=alert(1)>",
)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.depth = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def verdicts(month, judge, better, worse):
    return {
        "promoted": judge(month, better, worse),
        "held": judge(month, worse, better),
        "first": judge(month, better, None),
        "leaked": judge(month, better, worse, shared_rows={"challenger": 9, "champion": 0}),
    }


@pytest.mark.parametrize("which", ["promoted", "held", "first", "leaked"])
def test_the_page_needs_nothing_from_elsewhere(verdicts, which):
    page = verdict_html(verdicts[which])
    tags = Tags(page).found
    assert "http" not in page.replace("http-equiv", "")
    assert not [tag for tag, _ in tags if tag in {"script", "img", "iframe"}]
    assert [attrs["href"] for tag, attrs in tags if tag == "link"] == ["data:,"]
    assert "prefers-color-scheme: dark" in page


def test_the_same_verdict_gives_the_same_page(verdicts):
    assert verdict_html(verdicts["held"]) == verdict_html(verdicts["held"])


def test_the_page_opens_with_the_decision_and_its_reason(verdicts):
    page = verdict_html(verdicts["held"])
    assert "<h1>Hold</h1>" in page
    assert 'class="lede">Mean log loss gain over the champion \N{MINUS SIGN}' in page


def test_every_check_is_a_row_and_every_interval_a_drawing(verdicts):
    verdict = verdicts["promoted"]
    tags = Tags(verdict_html(verdict)).found
    assert sum(tag == "th" and attrs.get("scope") == "row" for tag, attrs in tags) == len(verdict.checks)
    drawn = sum(check.low is not None for check in verdict.checks)
    assert sum(tag == "circle" for tag, _ in tags) == drawn


def test_names_from_data_are_shown_and_not_obeyed(verdicts):
    verdict = verdicts["promoted"]
    tags = Tags(verdict_html(replace(verdict, checks=(*verdict.checks, HOSTILE)))).found
    assert not [tag for tag, _ in tags if tag in {"script", "img"}]


def test_the_facts_name_the_evidence_and_the_method(verdicts):
    page = verdict_html(verdicts["promoted"])
    assert verdicts["promoted"].evidence[:12] in page
    assert "clustered paired t" in page
