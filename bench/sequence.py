"""The chance that noise is promoted at least once in thirty retrainings.

Thirty challengers in a row come before the gate, each on a fresh holdout, none
of them better. Under *replace* they are equal to the champion, under *refresh*
worse by the margin. The same holdouts are also judged by a gate that spends
5 % on each decision, as if it were the only one.

    make bench-sequence            a table
    make bench-sequence JSON=1     one JSON object a line
    SEQUENCES=1000                 sequences of thirty
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import numpy as np
from printed import Line, print_lines

from baton.core.policy import GateSpec
from baton.registry.arguments import Arguments
from baton.registry.gate import decide
from baton.testing.rivals import Rivals, rivals

SEQUENCES = int(os.environ.get("SEQUENCES", "400"))
NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)
RETRAININGS, ALPHA, MARGIN = 30, 0.05, 0.005
# A month of days, each with luck of its own.
ROWS, DAYS, SHOCK = 1_400, 28, 0.3
WORSE_BY = {"replace": 0.0, "refresh": MARGIN}


def promoted(found: Rivals, *, intent: str, decisions: int) -> bool:
    """Whether the gate lets the challenger through."""
    gate = {"intent": intent, "metric": "auc", "margin": MARGIN, "error_rate": ALPHA, "decisions": decisions}
    arguments = Arguments(
        gate=GateSpec.model_validate(gate),
        model="simulated",
        labels=found.labels,
        blocks=found.blocks,
        challenger="c" * 64,
        challenger_scores=found.challenger,
        champion="a" * 64,
        champion_scores=found.champion,
        baselines={"constant": 0.3},
        epoch=1,
        holdout="d" * 64,
        holdout_start=NOW,
        challenger_trained_until=NOW - timedelta(days=1),
        champion_trained_until=NOW - timedelta(days=1),
        shared_rows={"challenger": 0, "champion": 0},
        now=NOW,
    )
    return decide(arguments).promotes


def sequence(seed: int, intent: str) -> tuple[int, int]:
    """Give how many of thirty challengers are promoted, by the gate and by one that spends 5 % on each."""
    ours = theirs = 0
    for step in range(RETRAININGS):
        generator = np.random.default_rng([6, seed, step])
        found = rivals(generator, rows=ROWS, days=DAYS, shock=SHOCK, lift=-WORSE_BY[intent])
        # What the stricter gate promotes, the other promotes too.
        alone = promoted(found, intent=intent, decisions=1)
        theirs += alone
        ours += alone and promoted(found, intent=intent, decisions=RETRAININGS)
    return ours, theirs


def measured() -> Iterator[Line]:
    """Run the sequences of each intent."""
    for intent, worse_by in WORSE_BY.items():
        counts = np.array([sequence(seed, intent) for seed in range(SEQUENCES)])
        ours, theirs = (counts > 0).mean(axis=0)
        hedged = ((counts[:, 0] > 0).sum() + 1) / (SEQUENCES + 2)
        yield {
            "bench": "sequence",
            "intent": intent,
            "worse_by": worse_by,
            "retrainings": RETRAININGS,
            "false_promotion_rate": round(float(ours), 4),
            "margin": round(1.96 * float(np.sqrt(hedged * (1 - hedged) / SEQUENCES)), 4),
            "bound": ALPHA,
            "false_promotion_rate_each_at_5_percent": round(float(theirs), 4),
            "sequences": SEQUENCES,
        }


if __name__ == "__main__":
    print_lines(measured(), title="At least one false promotion in a sequence")
