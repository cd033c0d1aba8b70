"""How much one caller may ask for: requests and rows in a sliding window, rows in a day.

A window slides: at its boundary the count does not fall to zero but runs out
over the next window's length, so that nobody gets twice the quota by waiting
for the minute's turn. Time is monotonic. Counting takes no lock and no I/O;
services that share their quotas in Redis do so behind the answers, see
`quota_sharing`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from baton.serving.refusal import Refused, too_many

MOST_CALLERS = 10_000
# Who comes back exactly when told is not refused for the last bit of a double.
ROUNDING = 1e-6
DAY_S = 86_400.0
REQUESTS, ROWS, DAILY = "requests", "rows", "daily rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many within a window of so many seconds."""

    kind: str
    limit: int
    seconds: float


class Sharing(Protocol):
    """Quotas that several services share."""

    def take(self, caller: str, quota: Quota, cost: int) -> float | None:
        """Take from what is left: gives 0, or how long to wait; None where nobody knows."""
        ...


class Quotas:
    """What every caller has left, here or, with `sharing`, in all services together."""

    def __init__(self, *, sharing: Sharing | None = None, share: float = 1.0) -> None:
        self._sharing = sharing
        self._share = share
        # For each caller and kind: the window's number, and what was taken in it and in the one before.
        self._windows: OrderedDict[tuple[str, str], tuple[int, float, float]] = OrderedDict()

    def take(self, caller: str, quota: Quota, cost: int, now: float) -> None:
        """Take from a caller's quota.

        Raises:
            Refused: 429 with `Retry-After`; 413 where the cost is beyond the whole quota.
        """
        limit = quota.limit
        wait = self._sharing.take(caller, quota, cost) if self._sharing else None
        if wait is None:
            # Nobody knows what the other services have given, so this one gives its share.
            limit = max(1, math.floor(limit * self._share)) if self._sharing else limit
            wait = self._here((caller, quota.kind), limit, quota.seconds, cost, now)
        if wait > 0:
            raise self._over(quota, limit, wait)

    def _window(self, name: tuple[str, str], seconds: float, now: float) -> tuple[int, float, float]:
        number = math.floor(now / seconds)
        window, taken, before = self._windows.get(name, (number, 0.0, 0.0))
        if number == window:
            return window, taken, before
        return number, 0.0, taken if number == window + 1 else 0.0

    def _here(self, name: tuple[str, str], limit: int, seconds: float, cost: int, now: float) -> float:
        number, taken, before = self._window(name, seconds, now)
        passed = now / seconds - number
        if before * (1 - passed) + taken + cost <= limit + ROUNDING:
            self._windows[name] = number, taken + cost, before
            if len(self._windows) > MOST_CALLERS:
                self._windows.popitem(last=False)
            return 0.0
        return seconds * _share_to_wait(limit, cost, taken=taken, before=before, passed=passed)

    @staticmethod
    def _over(quota: Quota, limit: int, wait: float) -> Refused:
        told = f"{limit} {quota.kind} in {quota.seconds:g} s"
        if math.isinf(wait):
            return Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"one request is over the quota of {told}", reason="quota"
            )
        headers = {
            "ratelimit-limit": str(limit),
            "ratelimit-remaining": "0",
            "ratelimit-reset": str(max(1, math.ceil(wait))),
            "ratelimit-policy": f'"{quota.kind.replace(" ", "-")}";q={limit};w={quota.seconds:g}',
        }
        return too_many(f"the quota is {told}", wait_s=wait, headers=headers, reason="quota")


def _share_to_wait(limit: int, cost: int, *, taken: float, before: float, passed: float) -> float:
    """How much of a window must pass until `cost` fits, both windows' counts running out evenly.

    Args:
        limit: The quota.
        cost: What is asked for.
        taken: Taken in this window.
        before: Taken in the window before.
        passed: How much of this window has passed, 0-1.
    """
    if cost > limit:
        return math.inf
    if taken + cost <= limit:
        return 1 - (limit - taken - cost) / before - passed
    return (1 - passed) + 1 - (limit - cost) / taken
