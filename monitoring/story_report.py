"""The story of a run as one HTML file that needs no network, with its JSON beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from baton.core.verdict import Decision, Outcome, Verdict
from baton.core.whole_file import replace_file
from baton.monitoring.story import Story, story_to_json
from baton.monitoring.story_plots import MINUS, WORDS, days_plot, decisive, months_plot, shown, verdicts_plot
from baton.registry.verdict_text import SLICE, plain_words

TEMPLATES = Path(__file__).parent / "templates"
# What a browser opens; everything else is text to copy.
OPENED = ("http://", "https://")
NONE = "\N{EN DASH}"
SIGNS = {"passed": "\N{CHECK MARK}", "failed": "\N{MULTIPLICATION X}", "undecided": "?", "noted": "\N{MIDDLE DOT}"}
# A minus before a number, not a hyphen within a word or a date.
NEGATIVE = re.compile(r"(?<![\w-])-(?=\d)")


def render(story: Story, path: Path) -> Path:
    """Draw the report and write its JSON beside it, with the suffix `.json`.

    Args:
        story: What is told.
        path: Where the HTML goes.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path.with_suffix(".json"), story_to_json(story))
    replace_file(path, draw(story).encode())
    return path


def draw(story: Story) -> str:
    """Give the report as HTML: the same text for the same story."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metrics = {judged.verdict.metric for judged in story.verdicts}
    environment.filters |= {"figure": _figure, "signed": _signed, "count": _count, "day": _day, "link": _link}
    environment.filters["sentence"] = lambda text: _sentence(text, metrics=metrics)
    environment.filters["quiet_slices"] = _quiet_slices
    looked = [psi for day in story.days if (psi := shown(day)) is not None]
    template = environment.get_template("story.html.j2")
    return template.render(
        story=story,
        headlines=_headlines(story),
        months=months_plot(story),
        days=days_plot(story),
        verdicts=verdicts_plot(story),
        decisive=decisive,
        outcomes=WORDS,
        held=[judged for judged in story.verdicts if not judged.verdict.promotes],
        promoted=[judged for judged in story.verdicts if judged.verdict.promotes],
        signs=SIGNS,
        alarm_days=sum(psi >= story.alarm for psi in looked),
        told_days=len(looked),
    )


def _headlines(story: Story) -> list[tuple[str, str]]:
    """Give the three or four figures that stand at the top, each with its words."""
    both = [(m.auc_retrained, m.auc_stale) for m in story.months]
    gains = [mine - other for mine, other in both if mine is not None and other is not None]
    # Until the first promotion both lines are one model, and nothing is compared.
    told = [month for month in story.months if month.gain is not None and month.auc_retrained != month.auc_stale]
    decisions = [judged.verdict.decision for judged in story.verdicts]
    found = []
    if told:
        found.append((_signed(sum(gains) / len(gains)), "mean AUC over never retraining"))
        found.append(
            (f"{sum(not month.lost for month in told)} of {len(told)}", "months in which retraining saved log loss")
        )
    if decisions:
        promoted = sum(decision is Decision.PROMOTE for decision in decisions)
        found.append((f"{promoted} of {len(decisions)}", "challengers promoted by the gate"))
    if story.service is not None:
        found.append((_count(story.service.lost), f"requests lost of {_count(story.service.requests)}"))
    return found


def _quiet_slices(verdict: Verdict) -> int:
    """Count the slices that nothing speaks against, which are told as one line."""
    quiet = (Outcome.PASSED, Outcome.NOTED)
    return sum(check.name.startswith(SLICE) and check.outcome in quiet for check in verdict.checks)


def _figure(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 4) -> str:
    # A difference of nothing has no sign.
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", MINUS) if value else f"{0:.{digits}f}"


def _sentence(text: str, *, metrics: Iterable[str]) -> str:
    """Give a line of the program as a person writes it."""
    for metric in metrics:
        text = plain_words(text, metric=metric)
    return NEGATIVE.sub(MINUS, text[:1].upper() + text[1:])


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


def _link(target: str) -> bool:
    page = target.endswith((".html", ".json")) and ":" not in target and " " not in target
    return target.startswith(OPENED) or page
