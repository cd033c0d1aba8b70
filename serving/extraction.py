"""Notice a caller who maps the model instead of asking it.

Whoever wants a copy of a model walks through its input space: a grid, or steps
from row to row that change one feature at a time. Real rows follow each other
with nearly everything changed. So of each caller a few neighbouring rows are
looked at now and then; where most of them differ in next to nothing, that is an
alarm for people. It refuses nobody: quotas and rounded scores are what limits
a copy, this says whose requests to look at.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from baton.packaging.rows import Rows, stack

log = logging.getLogger(__name__)

# Of so many requests in a row the first ones are looked at, so that all others pay nothing.
EVERY, LOOKED_AT = 64, 8
# Neighbours that are judged together, and the share of near ones that is no chance.
JUDGED, SUSPECT = 100, 0.5
# A grid changes one feature or carries over into the next; of many features that is a tenth.
FEW = 0.1
MOST_ROWS = 8
MOST_CALLERS = 1_000


@dataclass(slots=True)
class _Trail:
    requests: int = 0
    last: Rows | None = None
    pairs: int = 0
    near: int = 0


class ExtractionWatch:
    """The trails of the callers that were seen lately; `alarm` is called once for each suspicion."""

    def __init__(self, alarm: Callable[[], None]) -> None:
        self._alarm = alarm
        self._trails: OrderedDict[str, _Trail] = OrderedDict()

    def saw(self, caller: str, rows: Rows) -> None:
        """Look at a caller's rows, or mostly not."""
        trail = self._trails.get(caller)
        if trail is None:
            trail = self._trails[caller] = _Trail()
            if len(self._trails) > MOST_CALLERS:
                self._trails.popitem(last=False)
        at = trail.requests % EVERY
        trail.requests += 1
        if at < LOOKED_AT:
            self._look(caller, trail, rows.part(0, MOST_ROWS), first=at == 0)

    def _look(self, caller: str, trail: _Trail, rows: Rows, *, first: bool) -> None:
        seen = rows if first or trail.last is None else _together(trail.last, rows)
        trail.last = rows.part(len(rows) - 1, len(rows))
        if len(seen) < 2:  # noqa: PLR2004 - a pair
            return
        # Bit by bit, since a missing number is like a missing number.
        bits = np.ascontiguousarray(seen.numbers).view(np.int32)
        changed = (bits[1:] != bits[:-1]).sum(axis=1) + (seen.texts[1:] != seen.texts[:-1]).sum(axis=1)
        width = bits.shape[1] + seen.texts.shape[1]
        trail.pairs += int((changed > 0).sum())
        trail.near += int(((changed > 0) & (changed <= max(1, int(width * FEW)))).sum())
        if trail.pairs >= JUDGED:
            if trail.near > SUSPECT * trail.pairs:
                self._alarm()
                log.warning("extraction_suspect", extra={"caller": caller, "near": trail.near, "pairs": trail.pairs})
            trail.pairs = trail.near = 0


def _together(last: Rows, rows: Rows) -> Rows:
    # Another version may have other fields; then there is nothing to compare.
    same = last.numbers.shape[1:] == rows.numbers.shape[1:] and last.texts.shape[1:] == rows.texts.shape[1:]
    return stack([last, rows]) if same else rows
