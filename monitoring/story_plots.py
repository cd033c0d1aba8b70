"""Where everything lies in the report's three plots: values in, points of an SVG drawing out.

The template draws what these functions place. No plot needs its colour to be
read: lines differ by dash and name, marks by shape, limits by their label.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timezone

from baton.core.drift_report import Level
from baton.core.verdict import Check, Decision, Verdict
from baton.monitoring import svg_plot
from baton.monitoring.story import Day, Event, EventKind, Story
from baton.monitoring.svg_plot import Line, Mark, Plot, Tick

WIDTH = 880.0
LEFT = 52.0
RIGHT = 118.0
MINUS = "\N{MINUS SIGN}"
# What a decision means for the challenger.
WORDS = {Decision.PROMOTE: "promoted", Decision.HOLD: "refused", Decision.INCONCLUSIVE: "undecided"}
# One month is no line; the table says all of it.
FEWEST_MONTHS = 2
# Characters of a title that stand left of a verdict's bar.
TITLE = 38
# Width that the name of a version takes.
NAME = 26.0
MARKED = (EventKind.DRIFTED, EventKind.RETRAINED, EventKind.PROMOTED, EventKind.REFUSED, EventKind.ROLLED_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One verdict's gain on a common scale: mean with its interval, and the words beside it."""

    y: float
    low: float
    high: float
    mean: float
    title: str
    decision: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """All verdicts' gains over one axis with the lines at no gain and at the margin."""

    plot: Plot
    rows: tuple[Interval, ...]


def months_plot(story: Story) -> Plot | None:
    """Place the AUC of retrained and stale champions by month; a mark where the stale one is the better."""
    months = [m for m in story.months if m.auc_retrained is not None and m.auc_stale is not None]
    if len(months) < FEWEST_MONTHS:
        return None
    retrained = [m.auc_retrained or 0.0 for m in months]
    stale = [m.auc_stale or 0.0 for m in months]
    height, top, bottom = 316.0, 24.0, 266.0
    y_ticks = svg_plot.ticks(min(retrained + stale), max(retrained + stale))
    step = (WIDTH - LEFT - RIGHT) / len(months)
    xs = [LEFT + step * (i + 0.5) for i in range(len(months))]
    ys = svg_plot.scale(y_ticks[0], y_ticks[-1], bottom, top)
    ends = svg_plot.apart(ys(retrained[-1]), ys(stale[-1]))
    marks = [
        Mark(x=x, y=ys(value), kind=kind, words=f"{m.label}: {name} AUC {value:.3f}")
        for values, kind, name in ((stale, "square", "stale"), (retrained, "dot", "retrained"))
        for m, x, value in zip(months, xs, values, strict=True)
    ]
    honest = [
        # Under the month's name, where no line can cross it.
        Mark(x=x, y=bottom + 38, kind="note", words=f"{m.label}: the stale champion is better")
        for m, x in zip(months, xs, strict=True)
        if m.ranked_worse
    ]
    return Plot(
        width=WIDTH,
        height=height,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=top,
        bottom=bottom,
        x_ticks=tuple(Tick(at=x, label=m.label) for x, m in zip(xs, months, strict=True)),
        y_ticks=tuple(Tick(at=ys(value), label=f"{value:.{svg_plot.digits(y_ticks)}f}") for value in y_ticks),
        lines=(
            Line(name="stale", style="stale", runs=(svg_plot.points(xs, [ys(v) for v in stale]),), end_y=ends[1]),
            Line(
                name="retrained", style="fresh", runs=(svg_plot.points(xs, [ys(v) for v in retrained]),), end_y=ends[0]
            ),
        ),
        marks=(*marks, *honest),
    )


def days_plot(story: Story) -> Plot | None:
    """Place the daily PSI of the score with its limits, and what was done about it in a lane below."""
    days = sorted(story.days, key=lambda d: d.day)
    values = [psi for d in days if (psi := shown(d)) is not None]
    if not values:
        return None
    height, top, bottom = 330.0, 24.0, 236.0
    y_ticks = svg_plot.ticks(0.0, max(*values, story.alarm * 1.2))
    first, last = days[0].day, days[-1].day
    ys = svg_plot.scale(0.0, y_ticks[-1], bottom, top)
    xs = svg_plot.scale(first.toordinal(), max(last.toordinal(), first.toordinal() + 1), LEFT, WIDTH - RIGHT)
    changes = [new for old, new in itertools.pairwise(days) if new.version != old.version]
    # A new champion brings a reference of its own: its line begins anew.
    runs = tuple(
        run
        for _, served in itertools.groupby(days, key=lambda d: d.version)
        for run in svg_plot.runs([(xs(d.day.toordinal()), _place(ys, shown(d))) for d in served])
    )
    versions = _spread([Mark(x=xs(d.day.toordinal()), y=top - 8, kind="version", words=d.version) for d in changes])
    lanes = {kind: bottom + 40 + 16 * lane for lane, kind in enumerate(_kinds(story.events))}
    marks = [
        Mark(x=xs(_day(e).toordinal()), y=lanes[e.kind], kind=e.kind.value.replace(" ", "-"), words=_words(e))
        for e in story.events
        if e.kind in lanes and first <= _day(e) <= last
    ]
    names = [Mark(x=WIDTH - RIGHT + 12, y=y, kind="lane", words=kind.value) for kind, y in lanes.items()]
    return Plot(
        width=WIDTH,
        height=max(height, bottom + 40 + 16 * len(lanes)),
        left=LEFT,
        right=WIDTH - RIGHT,
        top=top,
        bottom=bottom,
        x_ticks=tuple(Tick(at=xs(day.toordinal()), label=f"{day:%b}") for day in svg_plot.month_starts(first, last)),
        y_ticks=tuple(Tick(at=ys(value), label=f"{value:g}") for value in y_ticks),
        lines=(Line(name="score PSI", style="fresh", runs=runs, end_y=0.0),),
        limits=(
            Tick(at=ys(story.warn), label=f"warn {story.warn:g}"),
            Tick(at=ys(story.alarm), label=f"alarm {story.alarm:g}"),
        ),
        marks=(*marks, *names, *versions),
    )


def verdicts_plot(story: Story) -> Intervals | None:
    """Place each challenger's gain over its champion, with the lines at 0 and at minus the margin.

    A first champion has only the constant to beat; that gain is many times
    larger, and would hide the others.
    """
    rivals = [judged for judged in story.verdicts if judged.verdict.champion is not None]
    found = [(judged, check) for judged in rivals if (check := decisive(judged.verdict)) is not None]
    if not found:
        return None
    margins = sorted({-float(j.verdict.policy["margin"]) for j, _ in found if "margin" in j.verdict.policy})
    ends = [value for _, check in found for value in (check.low, check.high) if value is not None]
    ticks = svg_plot.ticks(min(*ends, *margins, 0.0), max(*ends, 0.0))
    left, row, top = 264.0, 34.0, 30.0
    xs = svg_plot.scale(ticks[0], ticks[-1], left, WIDTH - 112)
    bottom = top + row * len(found)
    rows = tuple(
        Interval(
            y=top + row * (i + 0.5),
            low=xs(check.low or 0.0),
            high=xs(check.high or 0.0),
            mean=xs(check.observed or 0.0),
            title=_short(judged.title),
            decision=WORDS[judged.verdict.decision],
            words=f"{check.observed:+.4f} ({check.low:+.4f} to {check.high:+.4f})".replace("-", MINUS),
        )
        for i, (judged, check) in enumerate(found)
    )
    plot = Plot(
        width=WIDTH,
        height=bottom + 44,
        left=left,
        right=WIDTH - 112,
        top=top,
        bottom=bottom,
        x_ticks=tuple(
            Tick(at=xs(value), label=f"{value:+.3f}".replace("-", MINUS) if value else "0") for value in ticks
        ),
        y_ticks=(),
        limits=(
            Tick(at=xs(0.0), label="no gain"),
            *(Tick(at=xs(margin), label=f"margin {margin:g}".replace("-", MINUS)) for margin in margins),
        ),
    )
    return Intervals(plot=plot, rows=rows)


def decisive(verdict: Verdict) -> Check | None:
    """Give the check whose interval is told: the last that has one, which is the gain over the champion if any."""
    drawn = [check for check in verdict.checks if None not in (check.observed, check.low, check.high)]
    return drawn[-1] if drawn else None


def shown(day: Day) -> float | None:
    """Give a day's PSI, or None where there were too few rows to trust it."""
    return None if day.level is Level.INSUFFICIENT else day.psi


def _spread(marks: Sequence[Mark]) -> list[Mark]:
    """Leave out the names of versions that would cover the one before."""
    kept: list[Mark] = []
    for mark in marks:
        if not kept or mark.x - kept[-1].x >= NAME:
            kept.append(mark)
    return kept


def _place(scale: Callable[[float], float], value: float | None) -> float | None:
    return None if value is None else scale(value)


def _short(title: str) -> str:
    return title if len(title) <= TITLE else f"{title[: TITLE - 1].rstrip(' ,:')}\N{HORIZONTAL ELLIPSIS}"


def _kinds(events: Sequence[Event]) -> list[EventKind]:
    """List the kinds of event that have a lane: the marked ones that happened."""
    return [kind for kind in MARKED if any(event.kind is kind for event in events)]


def _words(event: Event) -> str:
    return f"{event.at:%d %b}: {event.line}" + (f" ({event.figure})" if event.figure else "")


def _day(event: Event) -> date:
    return event.at.astimezone(timezone.utc).date()
