"""The story of a run, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baton.monitoring.story import Story, story_from_json
from baton.monitoring.story_report import draw, render

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HEADINGS = [
    "Does retraining pay?",
    "What the gate decided",
    "How far the world moved",
    "What happened, in order",
    "What the service did",
    "Look for yourself",
    "How long it took",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"NO BROWSER: the report was not opened, since {CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


def opened(browser: Any, path: Path, **how: Any) -> tuple[Any, list[str], list[str]]:
    page = browser.new_page(**how)
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return page, problems, [url for url in asked if url != path.as_uri() and not url.startswith("data:")]


def test_the_report_is_one_small_file_with_its_json(story: Story, tmp_path: Path) -> None:
    path = render(story, tmp_path / "new" / "story.html")
    assert path.stat().st_size < 2_000_000
    assert story_from_json(path.with_suffix(".json").read_bytes()) == story
    assert sorted(p.name for p in path.parent.iterdir()) == ["story.html", "story.json"]


def test_the_same_story_is_the_same_page(story: Story) -> None:
    assert draw(story) == draw(story)


def test_words_are_words_and_only_pages_are_links(story: Story) -> None:
    html = draw(story)
    assert "Will this flight arrive &lt;late&gt;?" in html
    assert '<a href="http://127.0.0.1:5000"' in html
    assert '<a href="drift/july.html"' in html
    assert "<code>baton why flights 2</code>" in html
    assert 'href="javascript' not in html


def test_a_refused_challenger_is_told_with_reason_and_interval(story: Story) -> None:
    html = draw(story)
    assert "Not better on average: the champion stays." in html
    assert "\N{MINUS SIGN}0.0090 to +0.0030" in html


def test_the_page_opens_without_errors_or_requests(story: Story, tmp_path: Path, browser: Any) -> None:
    page, problems, asked = opened(browser, render(story, tmp_path / "story.html"))
    assert problems == []
    assert asked == []
    assert page.locator("h1").inner_text() == story.question
    assert page.locator("h2").all_inner_texts() == HEADINGS
    assert page.locator("svg").count() == 3
    page.close()


def test_a_bare_story_is_told_too(story: Story, tmp_path: Path, browser: Any) -> None:
    bare = replace(story, months=(), days=(), verdicts=(), events=(), service=None, links=(), timings=())
    page, problems, asked = opened(browser, render(bare, tmp_path / "story.html"))
    assert (problems, asked) == ([], [])
    assert page.locator("h2").all_inner_texts() == HEADINGS
    assert page.locator(".none").count() == len(HEADINGS)
    page.close()


def test_a_narrow_screen_scrolls_tables_and_not_the_page(story: Story, tmp_path: Path, browser: Any) -> None:
    page, *_ = opened(browser, render(story, tmp_path / "story.html"), viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


def test_light_and_dark_differ_and_both_can_be_read(story: Story, tmp_path: Path, browser: Any) -> None:
    path = render(story, tmp_path / "story.html")
    paper = {}
    for scheme in ("light", "dark"):
        page, *_ = opened(browser, path, color_scheme=scheme)
        for words in ("body", ".lede", ".tag", "svg .name.fresh", "svg .name.stale", "svg .name.alarm"):
            assert page.evaluate(CONTRAST, words) >= 4.5, (scheme, words)
        paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.close()
    assert paper["light"] != paper["dark"]


def test_a_month_that_retraining_lost_is_marked_and_not_counted(story: Story) -> None:
    jul, _, nov = story.months
    html = draw(replace(story, months=(jul, replace(nov, gain=-0.0017))))
    assert '<span class="tag alarm">lost</span>' in html
    assert "<dd>1 of 2</dd><dt>months in which retraining saved log loss</dt>" in html
    assert "\N{MINUS SIGN}0.0017" in html


# Contrast of an element's words with the page, by WCAG 2.2.
CONTRAST = """selector => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const element = document.querySelector(selector);
  const style = getComputedStyle(element);
  const ink = light(element.closest('svg') ? style.fill : style.color);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
