"""How often the gate errs, and how often it sees a true gain.

Two simulated models with known AUCs are judged again and again by the same
`decide` that judges a challenger. Each rate comes with the half-width of its
95 % Monte Carlo interval, `margin`.

    make bench-gate            tables
    make bench-gate JSON=1     one JSON object a line
    REPEATS=3200               repeats of each rate; four times as many halve the margin
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from printed import Line, print_parts

from baton.core.policy import GateSpec
from baton.registry.arguments import Arguments
from baton.registry.evidence import judge, replay
from baton.registry.gate import decide
from baton.registry.paired import Blocks, paired_difference
from baton.testing.rivals import Rivals, rivals

REPEATS = int(os.environ.get("REPEATS", "800"))
NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)
ROWS = (500, 1_000, 2_000, 5_000, 20_000)
CORRELATIONS = (0.90, 0.97)
DECISIONS = (1, 3, 12, 30)
# The rule that most templates use: ship when the AUC is higher by this.
NAIVE = 0.005
ALPHA, MARGIN, LIFT = 0.05, 0.005, 0.01
DAYS, SHOCK, SLICES = 28, 0.5, 20


def gate_of(intent: str, decisions: int = 1) -> GateSpec:
    """Give the policy that is tried."""
    return GateSpec.model_validate(
        {"intent": intent, "metric": "auc", "margin": MARGIN, "error_rate": ALPHA, "decisions": decisions}
    )


def arguments_of(found: Rivals, gate: GateSpec, **more: Any) -> Arguments:
    """Put two simulated models before the gate."""
    facts: dict[str, Any] = {
        "gate": gate,
        "model": "simulated",
        "labels": found.labels,
        "blocks": found.blocks,
        "challenger": "c" * 64,
        "challenger_scores": found.challenger,
        "champion": "a" * 64,
        "champion_scores": found.champion,
        "baselines": {"constant": 0.3},
        "epoch": 1,
        "holdout": "d" * 64,
        "holdout_start": NOW,
        "challenger_trained_until": NOW - timedelta(days=1),
        "champion_trained_until": NOW - timedelta(days=1),
        "shared_rows": {"challenger": 0, "champion": 0},
        "now": NOW,
    }
    return Arguments(**{**facts, **more})


def promoted(found: Rivals, gate: GateSpec) -> bool:
    """Whether the gate lets the challenger through."""
    return decide(arguments_of(found, gate)).promotes


def proven_by_row(found: Rivals, alpha: float) -> bool:
    """Whether DeLong's test, to which every row is its own block, calls the challenger better."""
    alone = Blocks(codes=np.arange(len(found.labels)), count=len(found.labels))
    return paired_difference("auc", found.labels, found.challenger, found.champion, alone).interval(alpha)[0] > 0


def lift_of(found: Rivals) -> float:
    """Give the measured AUC of the challenger less the champion's."""
    alone = Blocks(codes=np.arange(len(found.labels)), count=len(found.labels))
    return paired_difference("auc", found.labels, found.challenger, found.champion, alone).mean


def drawn(repeats: int, *, seed: int, rows: int, **how: Any) -> Iterator[Rivals]:
    """Draw holdouts one after the other; the same seed gives the same again."""
    for repeat in range(repeats):
        yield rivals(np.random.default_rng([seed, rows, repeat]), rows=rows, **how)


def share(happened: Iterable[bool]) -> tuple[float, float]:
    """Give the share of repeats in which something happened, and its margin."""
    found = list(happened)
    # None or all of the repeats is not known exactly either: one more of each is assumed.
    hedged = (sum(found) + 1) / (len(found) + 2)
    return round(sum(found) / len(found), 4), round(1.96 * float(np.sqrt(hedged * (1 - hedged) / len(found))), 4)


def repeats_of(rows: int) -> int:
    """Give fewer repeats where each takes longer."""
    return REPEATS if rows <= 5_000 else max(2, REPEATS // 4)


def a_million_rows() -> Iterator[Line]:
    """Seconds of one core for a million rows with twenty slices; the evidence is kept and replayed."""
    generator = np.random.default_rng(5)
    found = rivals(generator, rows=1_000_000, days=DAYS)
    groups = generator.integers(0, SLICES, len(found.labels))
    slices = {f"group={value}": groups == value for value in range(SLICES)}
    arguments = arguments_of(found, gate_of("replace"), slices=slices)
    with tempfile.TemporaryDirectory(prefix="bench-gate-") as folder:
        begun = time.process_time()
        decide(arguments)
        decided = time.process_time()
        verdict = judge(Path(folder), arguments)
        kept = time.process_time()
        same = replay(verdict, Path(folder)).to_json() == verdict.to_json()
    yield {
        "bench": "gate-million",
        "rows": len(found.labels),
        "slices": SLICES,
        "decide_s": round(decided - begun, 2),
        "decide_and_keep_s": round(kept - decided, 2),
        "replay_is_byte_identical": same,
    }


def equal_models() -> Iterator[Line]:
    """Replace, one decision: how often an equal model is promoted."""
    gate = gate_of("replace")
    for correlation in CORRELATIONS:
        for rows in ROWS:
            draws = list(drawn(repeats_of(rows), seed=1, rows=rows, correlation=correlation))
            rate, margin = share(promoted(each, gate) for each in draws)
            yield {
                "bench": "gate-replace",
                "rows": rows,
                "correlation": correlation,
                "false_promotion_rate": rate,
                "margin": margin,
                "bound": ALPHA,
                "false_promotion_rate_naive": share(lift_of(each) > NAIVE for each in draws)[0],
                "repeats": len(draws),
            }


def worse_models() -> Iterator[Line]:
    """Refresh, one decision: how often a model that is worse by the margin is promoted."""
    gate = gate_of("refresh")
    for correlation in CORRELATIONS:
        for rows in ROWS:
            draws = drawn(repeats_of(rows), seed=2, rows=rows, correlation=correlation, lift=-MARGIN)
            rate, margin = share(promoted(each, gate) for each in draws)
            yield {
                "bench": "gate-refresh",
                "rows": rows,
                "correlation": correlation,
                "worse_by": MARGIN,
                "false_promotion_rate": rate,
                "margin": margin,
                "bound": ALPHA,
                "repeats": repeats_of(rows),
            }


def better_models() -> Iterator[Line]:
    """Replace: how often a true +0.01 AUC is promoted, by rows and by the decisions that share the error rate."""
    for rows in ROWS:
        draws = list(drawn(repeats_of(rows) // 2, seed=3, rows=rows, lift=LIFT))
        for decisions in DECISIONS:
            power, margin = share(promoted(each, gate_of("replace", decisions)) for each in draws)
            yield {
                "bench": "gate-power",
                "rows": rows,
                "correlation": 0.90,
                "lift": LIFT,
                "decisions": decisions,
                "power": power,
                "margin": margin,
                "repeats": len(draws),
            }


def clustered_rows() -> Iterator[Line]:
    """Days that push all scores of a model one way: the gate beside the paired test that takes rows one by one."""
    for rows in (2_800, 14_000):
        draws = list(drawn(REPEATS, seed=4, rows=rows, days=DAYS, shock=SHOCK))
        for decisions in (1, 30):
            gate = gate_of("replace", decisions)
            rate, margin = share(promoted(each, gate) for each in draws)
            yield {
                "bench": "gate-clustered",
                "rows": rows,
                "days": DAYS,
                "decisions": decisions,
                "false_promotion_rate": rate,
                "margin": margin,
                "bound": round(gate.alpha, 5),
                "false_promotion_rate_by_row": share(proven_by_row(each, gate.alpha) for each in draws)[0],
                "repeats": len(draws),
            }


if __name__ == "__main__":
    print_parts((a_million_rows, equal_models, worse_models, better_models, clustered_rows))
