"""The point-in-time join as a loop that anybody can check by eye, for tests and benchmarks of the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

NOTHING = -1


def reference_join(
    rows: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]], *, on: Sequence[str], ttl: timedelta | None
) -> list[int]:
    """Give, for each row, the place in `history` of the newest value known at its `moment`, or `NOTHING`.

    Newest is the latest `event`, then the latest `created`, then the one that
    comes last. A value is known from the later of the two times on, and is
    missing once its event is longer ago than `ttl`.
    """
    return [_newest(row, history, on, ttl) for row in rows]


def _newest(
    row: Mapping[str, Any], history: Sequence[Mapping[str, Any]], on: Sequence[str], ttl: timedelta | None
) -> int:
    best, newest = NOTHING, None
    for place, value in enumerate(history):
        if any(row[key] is None or value[key] is None or row[key] != value[key] for key in on):
            continue
        known = max(value["event"], value.get("created", value["event"]))
        if known <= row["moment"] and (newest is None or (value["event"], known) >= newest):
            best, newest = place, (value["event"], known)
    expired = newest is not None and ttl is not None and row["moment"] - newest[0] > ttl
    return NOTHING if expired else best
