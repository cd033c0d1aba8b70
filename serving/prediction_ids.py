"""Names of predictions: UUIDs of version 7, which begin with the millisecond in which they were made.

So whoever sends a label for a prediction later names the place in the log in
which it is found, and no index of all predictions is needed. The rows of one
request share its UUID and are told apart by their number.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone

# Asking the kernel for randomness lets another thread have the interpreter, so it is asked for many ids at once.
RANDOM_BYTES, IDS_AT_ONCE = 10, 512
_FORM = re.compile(r"([0-9a-f]{12})7[0-9a-f]{3}[89ab][0-9a-f]{15}(-\d{1,6})?", re.ASCII)

_random: list[bytes] = []


def new_ids(count: int, now: datetime) -> tuple[str, ...]:
    """Give the ids of a request's rows, in order."""
    random = int.from_bytes(_take_random()) & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)
    request = f"{int(now.timestamp() * 1e3):012x}{random:020x}"
    return (request,) if count == 1 else tuple(f"{request}-{at}" for at in range(count))


def _take_random() -> bytes:
    # Taking from the end of a list is one step, so no two threads take the same.
    while True:
        try:
            return _random.pop()
        except IndexError:
            drawn = os.urandom(RANDOM_BYTES * IDS_AT_ONCE)
            _random.extend(drawn[at : at + RANDOM_BYTES] for at in range(0, len(drawn), RANDOM_BYTES))


def made_at(identity: str) -> datetime | None:
    """Give the millisecond in which a prediction was made, or None for what is no prediction's id."""
    found = _FORM.fullmatch(identity)
    if not found:
        return None
    try:
        return datetime.fromtimestamp(int(found.group(1), 16) / 1e3, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
