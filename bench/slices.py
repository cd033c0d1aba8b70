"""How often a drop on one slice is caught, and how often clean slices block.

Twenty slices of 5 % of the rows each. In *one drop* the challenger's true AUC
is five points lower on one of them and equal on the others; in *clean* it is
equal on all. `caught_rate` is over the holdouts on which the dropped slice was
powered, as the gate itself says: the others are only reported.

    make bench-slices            a table
    make bench-slices JSON=1     one JSON object a line
    REPEATS=1000                 holdouts of each size
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone

import numpy as np
from printed import Line, print_lines

from baton.core.policy import GateSpec, SliceSpec
from baton.core.verdict import Check, Outcome
from baton.registry.arguments import Arguments
from baton.registry.bout import bout_of
from baton.registry.slices import slice_checks
from baton.testing.rivals import rivals

REPEATS = int(os.environ.get("REPEATS", "500"))
NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)
SLICES, DROP = 20, 0.05
POLICY = SliceSpec(drop=DROP)
# Rows of the holdout, with the days that they come from; None is rows on their own.
HOLDOUTS: tuple[tuple[int, int | None], ...] = ((8_000, None), (20_000, None), (40_000, 28))


def checks_of(seed: int, rows: int, days: int | None, *, dropped: bool) -> dict[str, Check]:
    """Check the slices of one simulated holdout."""
    generator = np.random.default_rng([7, rows, days or 0, seed, dropped])
    groups = generator.integers(0, SLICES, rows)
    lift = np.where((groups == 0) & dropped, -DROP, 0.0)
    found = rivals(generator, rows=rows, lift=lift, days=days, shock=0.2 if days else 0.0)
    arguments = Arguments(
        gate=GateSpec(metric="auc"),
        slicing=POLICY,
        model="simulated",
        labels=found.labels,
        blocks=found.blocks,
        challenger="c" * 64,
        challenger_scores=found.challenger,
        champion="a" * 64,
        champion_scores=found.champion,
        baselines={"constant": 0.3},
        slices={str(value): groups == value for value in range(SLICES)},
        epoch=1,
        holdout="d" * 64,
        holdout_start=NOW,
        challenger_trained_until=NOW,
        shared_rows={},
        now=NOW,
    )
    return {check.name: check for check in slice_checks(bout_of(arguments), POLICY)}


def share(happened: list[bool]) -> tuple[float | None, float | None]:
    """Give the share in which something happened, and its margin; None where nothing was tried."""
    if not happened:
        return None, None
    hedged = (sum(happened) + 1) / (len(happened) + 2)
    return round(float(np.mean(happened)), 4), round(1.96 * float(np.sqrt(hedged * (1 - hedged) / len(happened))), 4)


def measured() -> Iterator[Line]:
    """Try every size of holdout, with a drop and without."""
    for rows, days in HOLDOUTS:
        drops = [checks_of(seed, rows, days, dropped=True)["slice 0"].outcome for seed in range(REPEATS)]
        powered = [outcome for outcome in drops if outcome is not Outcome.NOTED]
        clean = [checks_of(seed, rows, days, dropped=False) for seed in range(REPEATS)]
        blocked = [any(check.outcome is Outcome.FAILED for check in checks.values()) for checks in clean]
        caught, margin = share([outcome is Outcome.FAILED for outcome in powered])
        false_rate, false_margin = share(blocked)
        yield {
            "bench": "slices",
            "rows": rows,
            "rows_of_slice": rows // SLICES,
            "days": days,
            "drop": DROP,
            "powered_share": round(len(powered) / len(drops), 4),
            "caught_rate": caught,
            "margin": margin,
            "clean_slices": SLICES,
            "false_block_rate": false_rate,
            "false_block_margin": false_margin,
            "repeats": REPEATS,
        }


if __name__ == "__main__":
    print_lines(measured(), title="A five-point drop in a 5 % slice")
