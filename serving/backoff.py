"""Slow those down who guess keys, without slowing those who hold one."""

from __future__ import annotations

from collections import OrderedDict

# A person who pastes the wrong key twice is not slowed down.
FREE_FAILURES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# Who has been quiet for so long starts anew.
FORGOTTEN_S = 600.0
MOST_NAMES = 4_096


class Backoff:
    """For each name, an address or a key's id, how long it must wait after wrong keys: 1, 2, 4 ... 60 s."""

    def __init__(self) -> None:
        # Failures, and when the next try is free.
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """How long this name must still wait, 0 if not at all."""
        return max(0.0, self._known.get(name, (0, 0.0))[1] - now)

    def failed(self, name: str, now: float) -> None:
        """Remember a wrong key."""
        failures, free_at = self._known.pop(name, (0, 0.0))
        failures = 1 if now - free_at > FORGOTTEN_S else failures + 1
        beyond = failures - FREE_FAILURES
        pause = min(FIRST_PAUSE_S * 2.0 ** min(beyond - 1, 16), LONGEST_PAUSE_S) if beyond > 0 else 0.0
        self._known[name] = failures, now + pause
        # An attacker with many addresses pushes out the oldest names, never the memory's limit.
        if len(self._known) > MOST_NAMES:
            self._known.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget a name that has shown a right key."""
        self._known.pop(name, None)


class Bucket:
    """So many at once and so many a second, for everybody together."""

    def __init__(self, *, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = float("-inf")

    def take(self, now: float) -> float:
        """Take one: gives 0, or how long until there is one."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second
