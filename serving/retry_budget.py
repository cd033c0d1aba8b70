"""How often a client may ask again.

A service that fails is not helped by being asked four times as often. Every
request earns a tenth of a retry, so that over time one in eleven requests is a
retry at most; a few are free, so that a client that has just begun may retry
too.
"""

from __future__ import annotations

import threading

EARNED = 0.1
MOST = 10.0


class RetryBudget:
    """The retries that a client has left; threads may share it."""

    def __init__(self, *, earned: float = EARNED, most: float = MOST) -> None:
        self._earned = earned
        self._most = most
        self._left = most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Remember a request that was no retry."""
        with self._lock:
            self._left = min(self._most, self._left + self._earned)

    def spend(self) -> bool:
        """Take a retry; gives whether there was one."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True
