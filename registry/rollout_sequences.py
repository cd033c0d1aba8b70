"""Bounds and evidence that hold whenever one looks, from counts and sums alone.

A test that is made once errs as often as it says; looked at every ten seconds
until it says what one hopes for, it errs nearly always. What is here may be
looked at after every request, and a decision made at any moment, since each
rests on a nonnegative martingale that under the hypothesis exceeds `1 / alpha`
with a chance of at most `alpha`, ever (Ville's inequality):

- a rate, by a beta mixture of likelihood ratios (Robbins, Statistical methods
  related to the law of the iterated logarithm, Annals of Mathematical
  Statistics, 1970);
- an excess of failures, by a mixture over how many times more there are, on
  which arm each failure falls. Only that matters, so the rate of both arms
  may go up and down together;
- a difference of means, by a normal mixture on its score process over
  information (Robbins; Johari, Pekelis, Walsh, Always valid inference, 2015,
  as the mixture SPRT; Howard, Ramdas, McAuliffe, Sekhon, Time-uniform
  confidence sequences, Annals of Statistics, 2021). It is asymptotic in the
  number of answers, so it says nothing of fewer than `FEWEST`.

Stages of different weights are put together stage by stage, never pooled:
a rate that drifts while the weight grows would else look like a difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from baton.core.rollout import Sums

# Jeffreys' prior: the mixture costs half a logarithm of the count.
PRIOR = 0.5
STEPS = 60
# How many times more failures are looked for; a mixture loses to the best of them the log of its share.
EXCESSES = (1.5, 2.0, 3.0, 6.0, 20.0)
SHARES = (0.2, 0.4, 0.2, 0.1, 0.1)
# Answers of each arm below which a mean is not normal enough.
FEWEST = 50


def rate_bounds(events: int, count: int, alpha: float) -> tuple[float, float]:
    """Bound a rate; the chance that it is ever outside, over all counts, is at most `alpha`.

    Args:
        events: How often it happened.
        count: How often it could have.
        alpha: The error rate of both ends together.

    Example:
        >>> low, high = rate_bounds(10, 1_000, alpha=0.05)
        >>> round(low, 4), round(high, 4)
        (0.0024, 0.0262)
    """
    return _rate_bounds(events, count, alpha) if count else (0.0, 1.0)


@lru_cache(maxsize=65_536)
def _rate_bounds(events: int, count: int, alpha: float) -> tuple[float, float]:
    others = count - events
    seen = events / count
    mixture = _log_beta(PRIOR + events, PRIOR + others) - _log_beta(PRIOR, PRIOR)
    allowed = mixture - math.log(1 / alpha)

    def excluded(rate: float) -> bool:
        at = (events * math.log(rate) if events else 0.0) + (others * math.log1p(-rate) if others else 0.0)
        return at < allowed

    low = _edge(0.0, seen, excluded) if events else 0.0
    high = _edge(1.0, seen, excluded) if others else 1.0
    return low, high


def log_excess(stages: Iterable[tuple[int, int, int, int]]) -> float:
    """Give the log of the evidence that the challenger fails more often; it exceeds log(1 / alpha) at most so often.

    Args:
        stages: Of each, the champion's failures and requests and the challenger's failures and requests.
    """
    logs = [math.log(share) for share in SHARES]
    for champion, of_champion, challenger, of_challenger in stages:
        share = of_challenger / (of_champion + of_challenger) if of_champion and of_challenger else 0.0
        if not share:
            continue
        for at, times in enumerate(EXCESSES):
            # Of a failure somewhere: the chance that it is the challenger's, beside what it is at equal rates.
            spread = math.log(times * share + 1 - share)
            logs[at] += challenger * (math.log(times) - spread) - champion * spread
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs))


def mean_bounds(stages: Sequence[tuple[Sums, Sums]], alpha: float, *, scale: float) -> tuple[float, float]:
    """Bound the challenger's mean less the champion's; at most `alpha` that it is ever outside.

    Args:
        stages: Of each, the champion's sums and the challenger's.
        alpha: The error rate of both ends together.
        scale: Difference around which the bounds are narrowest; any is valid.

    Returns:
        The ends, infinite where there is too little to say.
    """
    score, information = 0.0, 0.0
    for champion, challenger in stages:
        if min(champion.count, challenger.count) < FEWEST:
            continue
        variance = champion.variance / champion.count + challenger.variance / challenger.count
        if variance <= 0:
            continue
        score += (challenger.mean - champion.mean) / variance
        information += 1 / variance
    if not information:
        return -math.inf, math.inf
    mixed = scale * scale * information
    radius = math.sqrt((1 + mixed) / (mixed * information) * (2 * math.log(1 / alpha) + math.log1p(mixed)))
    middle = score / information
    return middle - radius, middle + radius


def _edge(outside: float, inside: float, excluded: Callable[[float], bool]) -> float:
    """Find where a rate begins to be allowed, between one that is not and one that is."""
    for _ in range(STEPS):
        middle = (outside + inside) / 2
        if not 0 < middle < 1:
            break
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
