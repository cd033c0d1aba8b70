"""What is counted while two models share the traffic, and what a judge makes of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

# Upper ends of the latency histogram in milliseconds: a hundredth to a minute, each a tenth more than the last.
LATENCY_EDGES_MS = tuple(round(0.01 * 1.1**at, 5) for at in range(165))


class Arm(StrEnum):
    """The two sides of a rollout; also the cohorts of the prediction log."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


class Decision(StrEnum):
    """What the evidence says of a challenger in traffic."""

    PROMOTE = "PROMOTE"
    ROLL_BACK = "ROLL BACK"
    WAIT = "WAIT"


@dataclass(slots=True, kw_only=True)
class Sums:
    """Count, sum and sum of squares of numbers, which is all that a mean and its error need."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Count more numbers."""
        for value in values:
            self.count += 1
            self.total += value
            self.squares += value * value

    def join(self, other: Sums) -> None:
        """Count what another has counted."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    @property
    def mean(self) -> float:
        """The mean, 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """The variance, NaN of fewer than two."""
        if self.count < 2:  # noqa: PLR2004 - one number has no spread
            return math.nan
        return max(0.0, (self.squares - self.total * self.total / self.count) / (self.count - 1))


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one arm did: requests, those without an answer, how long answers took, and what they were.

    `latency` counts answers by `LATENCY_EDGES_MS`, one more at the end for
    what took longer; `losses` are of the answers whose label has arrived.
    """

    requests: int = 0
    errors: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_EDGES_MS) + 1))
    scores: Sums = field(default_factory=Sums)
    losses: Sums = field(default_factory=Sums)

    def answered(self, milliseconds: float, scores: Iterable[float]) -> None:
        """Count a request that was answered."""
        self.requests += 1
        self.latency[bisect_left(LATENCY_EDGES_MS, milliseconds)] += 1
        self.scores.add(scores)

    def failed(self) -> None:
        """Count a request that was not answered, for a reason that is not its caller's."""
        self.requests += 1
        self.errors += 1

    def join(self, other: Tally) -> None:
        """Count what another has counted."""
        self.requests += other.requests
        self.errors += other.errors
        self.latency = [mine + its for mine, its in zip(self.latency, other.latency, strict=True)]
        self.scores.join(other.scores)
        self.losses.join(other.losses)

    def quantile_ms(self, share: float) -> float:
        """Give the smallest edge that `share` of the answers were within, NaN without answers."""
        needed, seen = share * sum(self.latency), 0
        if not needed:
            return math.nan
        for edge, count in zip((*LATENCY_EDGES_MS, math.inf), self.latency, strict=True):
            seen += count
            if seen >= needed:
                return edge
        return math.inf

    def slower_than(self, milliseconds: float) -> int:
        """Give how many answers took longer than an edge."""
        return sum(self.latency[bisect_left(LATENCY_EDGES_MS, milliseconds) + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What both arms did at one weight; `revision` is the release's."""

    revision: int
    champion: Tally = field(default_factory=Tally)
    challenger: Tally = field(default_factory=Tally)

    def of(self, arm: Arm) -> Tally:
        """Give the tally of an arm."""
        return self.champion if arm is Arm.CHAMPION else self.challenger


def whole(stages: Sequence[Stage], arm: Arm) -> Tally:
    """Give an arm's tally over all stages."""
    total = Tally()
    for stage in stages:
        total.join(stage.of(arm))
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One thing that was looked at: what it is for both arms, what it may be, and what that says.

    `low` and `high` bound the challenger's excess whenever one looks; `says`
    is PROMOTE where the excess is proven to be within `limit`, ROLL BACK where
    it is proven to be beyond what it may, WAIT where neither is.
    """

    name: str
    champion: float
    challenger: float
    low: float
    high: float
    limit: float
    says: Decision
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What all signs say together; a challenger is promoted by all and rolled back by any."""

    signs: tuple[Sign, ...]

    @property
    def decision(self) -> Decision:
        """PROMOTE only where there is a sign and each says so: no data never promotes."""
        said = {sign.says for sign in self.signs}
        if Decision.ROLL_BACK in said:
            return Decision.ROLL_BACK
        return Decision.PROMOTE if said == {Decision.PROMOTE} else Decision.WAIT

    @property
    def comparable(self) -> bool:
        """Whether every sign has seen enough of both arms to bound their difference at all."""
        return all(math.isfinite(sign.low) and math.isfinite(sign.high) for sign in self.signs)

    @property
    def reason(self) -> str:
        """The signs that decide, in one line."""
        decision = self.decision
        return "; ".join(sign.said for sign in self.signs if sign.says is decision) or "nothing was seen yet"
