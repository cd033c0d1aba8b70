"""A verdict's intervals, placed: which belong on one axis, where on it each of them lies, and drawn in text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.verdict_text import SLICE, check_name, plain_name

# Room on either side of what is drawn, as a share of the axis.
ROOM = 0.04
# Gains over the constant are many times larger than those over the champion,
# and a slice may be measured otherwise than the whole: each kind has its axis.
CONSTANT, BASELINE = "beats_constant", "not_worse_than_"
OVER_CHAMPION = ("better_on_average", "not_worse", "proven_better")
SIGNS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.UNDECIDED: "?", Outcome.NOTED: "·"}
# For a terminal that knows no more: each drawn sign and what stands for it.
PLAIN = str.maketrans("✓✗·━●┆╵", "+x.-o|'")
LONGEST_NAME = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One check's interval, in its unit."""

    name: str
    outcome: Outcome
    low: float
    mean: float
    high: float
    limit: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Bars that share a scale from `start` to `stop`; zero and every limit are on it."""

    title: str
    bars: tuple[Bar, ...]
    start: float
    stop: float

    def place(self, value: float) -> float:
        """Give where a value lies, 0 at the start and 1 at the stop."""
        return (value - self.start) / (self.stop - self.start)


def axes(verdict: Verdict) -> tuple[Axis, ...]:
    """Give the intervals of a verdict by kind, in the order of its checks."""
    metric = plain_name(verdict.metric)
    kinds: dict[str, list[Bar]] = {}
    for check in verdict.checks:
        bar = _bar(check)
        if bar is not None:
            kinds.setdefault(_kind(check.name, metric), []).append(bar)
    return tuple(_axis(title, bars) for title, bars in kinds.items())


def verdict_plot(verdict: Verdict, *, width: int = 46, plain: bool = False) -> str:
    """Draw every interval of a verdict as a line of text.

        ✓ not worse        ┆  ━━━━━━●━━━━━          +0.0031

    Args:
        verdict: What is drawn; a check without an interval is left out.
        width: Characters of the axis.
        plain: Use signs that every terminal has.

    Returns:
        For each kind of gain its title, a line for each interval with the mean
        (`●`) and what the check holds it to (`┆`), and the scale; no text
        where no check has an interval.
    """
    drawn = axes(verdict)
    names = max((len(_cut(bar.name)) for axis in drawn for bar in axis.bars), default=0)
    text = "\n\n".join("\n".join(_lines(axis, names, width)) for axis in drawn)
    return text.translate(PLAIN) if plain else text


def _lines(axis: Axis, names: int, width: int) -> list[str]:
    ends = f"{axis.start:+.4f}", f"{axis.stop:+.4f}"
    zero = _cell(axis, 0.0, width)
    scale = ends[0].ljust(width - len(ends[1])) + ends[1]
    # The sign under zero stands where neither end of the scale is written.
    if len(ends[0]) < zero < width - len(ends[1]):
        scale = f"{scale[:zero]}0{scale[zero + 1 :]}"
    drawn = [
        f"{SIGNS[bar.outcome]} {_cut(bar.name):<{names}}  {_drawn(axis, bar, width)} {bar.mean:+.4f}"
        for bar in axis.bars
    ]
    return [axis.title, *drawn, f"{'':{names + 4}}{scale}"]


def _drawn(axis: Axis, bar: Bar, width: int) -> str:
    cells = [" "] * width
    low, mean, high = (_cell(axis, value, width) for value in (bar.low, bar.mean, bar.high))
    cells[_cell(axis, 0.0, width)] = "╵"
    cells[low : high + 1] = "━" * (high + 1 - low)
    if bar.limit is not None:
        cells[_cell(axis, bar.limit, width)] = "┆"
    cells[mean] = "●"
    return "".join(cells)


def _cell(axis: Axis, value: float, width: int) -> int:
    return min(width - 1, max(0, round(axis.place(value) * (width - 1))))


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _bar(check: Check) -> Bar | None:
    if check.observed is None or check.low is None or check.high is None:
        return None
    return Bar(
        name=check_name(check).removeprefix(SLICE),
        outcome=check.outcome,
        low=check.low,
        mean=check.observed,
        high=check.high,
        limit=check.required,
    )


def _kind(name: str, metric: str) -> str:
    if name == CONSTANT:
        return "Gain over the constant answer"
    if name.startswith(BASELINE):
        return f"Gain of {metric} over simple models"
    if name.startswith(SLICE):
        return "Gain over the champion by slice"
    return f"Gain of {metric} over the champion" if name in OVER_CHAMPION else "Model tests"


def _axis(title: str, bars: Iterable[Bar]) -> Axis:
    bars = tuple(bars)
    ends = [0.0, *(end for bar in bars for end in (bar.low, bar.high)), *(bar.limit for bar in bars if bar.limit)]
    low, high = min(ends), max(ends)
    room = ((high - low) or 1.0) * ROOM
    return Axis(title=title, bars=bars, start=low - room, stop=high + room)
