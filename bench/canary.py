"""How often the rollout judge errs when it is asked all the time, and how soon it sees what is worse.

Each rate is of `REPEATS` simulated rollouts and comes with the half-width of
its 95 % Monte Carlo interval, `margin`. The judge, the plan and the controller
are the real ones.

    make bench-canary            tables
    make bench-canary JSON=1     one JSON object a line
    REPEATS=200                  fewer repeats
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from printed import Line, print_parts

from baton.core.policy import RolloutSpec
from baton.core.rollout import LATENCY_EDGES_MS, Decision, Stage
from baton.registry.rollout_judge import judge
from baton.registry.rollout_plan import Status
from baton.testing.arms import Truth, first_decision, rolled_out

REPEATS = int(os.environ.get("REPEATS", "1000"))
POLICY = RolloutSpec(mode="canary")
# An hour of looks every ten seconds.
LOOKS, EVERY = 360, 10
WITHIN = 500
# Sixteen milliseconds and a half: twice the 95th percentile of a champion of 5 ms.
SLOW_AT = 78
BASE_RATES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10)


def share(happened: list[bool]) -> tuple[float, float]:
    """Give the share of repeats in which something happened, and its margin."""
    hedged = (sum(happened) + 1) / (len(happened) + 2)
    return round(sum(happened) / len(happened), 4), round(
        1.96 * float(np.sqrt(hedged * (1 - hedged) / len(happened))), 4
    )


def no_difference() -> Iterator[Line]:
    """No difference, looked at every ten seconds for an hour: how often the challenger is ever rolled back."""
    for at, (errors, weight) in enumerate(((0.001, 0.05), (0.01, 0.05), (0.05, 0.05), (0.01, 0.5), (0.05, 0.5))):
        truth = Truth(errors=errors)
        facts: dict[str, Any] = {"weight": weight, "looks": LOOKS, "every": EVERY, "wanted": Decision.ROLL_BACK}
        found = [
            first_decision(np.random.default_rng([1, at, repeat]), POLICY, truth, truth, **facts) is not None
            for repeat in range(REPEATS)
        ]
        rate, margin = share(found)
        yield {
            "bench": "canary-no-difference",
            "base_error_rate": errors,
            "weight": weight,
            "looks": LOOKS,
            "false_roll_back_rate": rate,
            "margin": margin,
            "bound": POLICY.alpha,
            "repeats": REPEATS,
        }


def worse_by_what_is_not_allowed() -> Iterator[Line]:
    """Worse by exactly what is not allowed: how often a whole rollout ends as promoted."""
    champion = Truth(errors=0.01)
    slow_ms = LATENCY_EDGES_MS[SLOW_AT]
    # A latency whose 95th percentile is what counts as slow: five in a hundred are, and of the champion nearly none.
    tail = NormalDist().inv_cdf(1 - POLICY.slow)
    slower = replace(champion, median_ms=slow_ms / float(np.exp(champion.spread * tail)))
    worse = {
        "errors": replace(champion, errors=champion.errors + POLICY.errors),
        "latency": slower,
        "score": replace(champion, score=POLICY.score_shift),
    }
    for at, (name, truth) in enumerate(worse.items()):
        ended = [
            rolled_out(
                np.random.default_rng([2, at, repeat]), POLICY, champion, truth, most_looks=LOOKS, slow_ms=slow_ms
            )
            for repeat in range(REPEATS)
        ]
        rate, margin = share([each.status is Status.PROMOTING for each in ended])
        yield {
            "bench": "canary-worse",
            "worse_in": name,
            "false_promotion_rate": rate,
            "margin": margin,
            "bound": POLICY.beta,
            "rolled_back": share([each.status is Status.ROLLED_BACK for each in ended])[0],
            "repeats": REPEATS,
        }


def as_good() -> Iterator[Line]:
    """As good as the champion: how a whole rollout at fifty requests a second ends, and after how long."""
    for at, errors in enumerate((0.0, 0.001, 0.01)):
        truth = Truth(errors=errors)
        ended = [
            rolled_out(np.random.default_rng([3, at, repeat]), POLICY, truth, truth, most_looks=4 * LOOKS)
            for repeat in range(max(2, REPEATS // 5))
        ]
        rate, margin = share([each.status is Status.PROMOTING for each in ended])
        yield {
            "bench": "canary-as-good",
            "base_error_rate": errors,
            "promoted": rate,
            "margin": margin,
            "false_roll_back_rate": share([each.status is Status.ROLLED_BACK for each in ended])[0],
            "minutes_p50": round(float(np.median([each.looks for each in ended])) / 6, 1),
            "challenger_requests_p50": int(np.median([each.requests for each in ended])),
            "repeats": len(ended),
        }


def doubled_errors() -> Iterator[Line]:
    """An error rate that doubles: requests of the challenger by which it is rolled back."""
    for weight in (0.05, 0.25):
        for at, errors in enumerate(BASE_RATES):
            yield _found(4 * 10 + at, errors, 2 * errors, weight)


def broken() -> Iterator[Line]:
    """Ten failures in a hundred beside one in a thousand."""
    yield _found(5, 0.001, 0.10, 0.05)


def nothing() -> Iterator[Line]:
    """No request at all, looked at for an hour."""
    stage = Stage(revision=1)
    said = {judge([stage], POLICY, slow_ms=None).decision.value for _ in range(LOOKS)}
    yield {"bench": "canary-no-data", "looks": LOOKS, "says": ", ".join(sorted(said))}


def _found(seed: int, base: float, rate: float, weight: float) -> Line:
    repeats = max(2, REPEATS // 5)
    facts: dict[str, Any] = {"weight": weight, "looks": 300, "every": EVERY, "wanted": Decision.ROLL_BACK}
    found = [
        first_decision(
            np.random.default_rng([seed, round(weight * 100), repeat]),
            POLICY,
            Truth(errors=base),
            Truth(errors=rate),
            **facts,
        )
        for repeat in range(repeats)
    ]
    within, margin = share([requests is not None and requests <= WITHIN for requests in found])
    median = float(np.median([requests or np.inf for requests in found]))
    return {
        "bench": "canary-detection",
        "base_error_rate": base,
        "error_rate": rate,
        "weight": weight,
        "requests_p50": int(median) if np.isfinite(median) else None,
        "found_within_500": within,
        "margin": margin,
        "repeats": repeats,
    }


if __name__ == "__main__":
    print_parts((nothing, broken, doubled_errors, no_difference, worse_by_what_is_not_allowed, as_good))
