"""A verdict as one HTML page that needs no network: the decision, every interval, every check and what they rest on."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.interval_plot import SIGNS, axes
from baton.registry.verdict_text import SLICE, check_name, plain_name, plain_words

TEMPLATES = Path(__file__).parent / "templates"
MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
# A minus before a number, not a hyphen within a word or a date.
NEGATIVE = re.compile(r"(?<![\w-])-(?=\d)")
DECISIONS = {"PROMOTE": "Promote", "HOLD": "Hold", "INCONCLUSIVE": "Inconclusive"}
OUTCOMES = {"passed": "passed", "failed": "failed", "undecided": "not decided yet", "noted": "noted, decides nothing"}
# What a reader of the page need not know to follow it.
DIGITS = 12


def verdict_html(verdict: Verdict) -> str:
    """Give the page: the same text for the same verdict."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"signed": _signed, "count": _count, "day": _day}
    environment.filters["sentence"] = lambda text: _sentence(text, metric=verdict.metric)
    return environment.get_template("verdict.html.j2").render(
        verdict=verdict,
        decision=DECISIONS[verdict.decision.value],
        metric=plain_name(verdict.metric),
        level=_level(verdict.alpha),
        axes=axes(verdict),
        checks=[_row(check) for check in verdict.checks],
        outcomes=OUTCOMES,
        signs={outcome.value: sign for outcome, sign in SIGNS.items()},
        facts=_facts(verdict),
    )


def _row(check: Check) -> dict[str, Any]:
    counted = check.name == "enough_blocks"
    shown = (lambda number: NONE if number is None else _count(number)) if counted else _signed
    return {
        "name": check_name(check).removeprefix(SLICE),
        "slice": check.name.startswith(SLICE),
        "outcome": check.outcome.value,
        "observed": shown(check.observed),
        "required": shown(check.required),
        "interval": NONE if check.low is None else f"{_signed(check.low)} to {_signed(check.high)}",
        "detail": check.detail,
        "blocks": check.outcome in {Outcome.FAILED, Outcome.UNDECIDED},
    }


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    champion = f"{verdict.champion[:DIGITS]}, epoch {verdict.epoch}" if verdict.champion else "none yet"
    return [
        ("Model", verdict.model),
        ("Intent", verdict.intent),
        ("Challenger", verdict.challenger[:DIGITS]),
        ("Champion", champion),
        ("Holdout", verdict.holdout[:DIGITS]),
        ("Evidence", verdict.evidence[:DIGITS]),
        ("Verdict", verdict.id[:DIGITS]),
        ("Method", verdict.method),
        ("Error rate of this decision", f"{verdict.alpha:.4g}"),
        ("Judged", f"{verdict.judged_at:%Y-%m-%d %H:%M} UTC"),
    ]


def _level(alpha: float) -> str:
    return f"{100 * (1 - 2 * alpha):.4g}{NARROW}%"


def _signed(value: float | None, digits: int = 4) -> str:
    if value is None:
        return NONE
    # A difference of nothing has no sign.
    return f"{value:+,.{digits}f}".replace("-", MINUS).replace(",", NARROW) if round(value, digits) else "0"


def _sentence(text: str, *, metric: str) -> str:
    return NEGATIVE.sub(MINUS, plain_words(text[:1].upper() + text[1:], metric=metric))


def _count(value: float) -> str:
    return f"{int(value):,}".replace(",", NARROW)


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"
