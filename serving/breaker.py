"""Stop asking what does not answer, and find out with one request when it does again.

    closed     everything goes through; so many failures in a row open it
    open       nothing goes through until its pause is over
    half open  one request goes through and decides; all others are refused

Time is monotonic: a step of the clock neither opens it nor keeps it open.

Libraries do not do that: purgatory 3 reads the wall clock, and half open it lets
everybody through at once, which is what fells a service that has just come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from baton.core.errors import DependencyDown

FAILURES = 5
PAUSE_S = 5.0


class BreakerOpen(DependencyDown):
    """What is asked for has failed again and again and is left alone for a moment."""


class Breaker:
    """A breaker in front of one dependency; threads may share it."""

    def __init__(
        self,
        name: str,
        *,
        failures: int = FAILURES,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._most = failures
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @contextmanager
    def guarding(self, counts: Callable[[Exception], bool] = lambda _: True) -> Iterator[None]:
        """Do the body if the breaker lets it through, and remember how it went.

        Args:
            counts: Whether an error says that the dependency fails, and not its caller.

        Raises:
            BreakerOpen: It does not.
        """
        probe = self._enter()
        try:
            yield
        except BaseException as error:
            # Whoever was called off, or left, has learned nothing of the dependency.
            self._leave(probe=probe, failed=counts(error) if isinstance(error, Exception) else None)
            raise
        self._leave(probe=probe, failed=False)

    def _enter(self) -> bool:
        """Let one through or refuse it; gives whether it is the probe."""
        with self._lock:
            if self._opened_at is None:
                return False
            left = self._opened_at + self._pause_s - self._clock()
            if left > 0 or self._probing:
                raise BreakerOpen(
                    what=f"{self._name} is left alone",
                    why=f"it failed {self._failures} times in a row",
                    fix=f"try again in {max(left, 1):.0f} s",
                )
            self._probing = True
            return True

    def _leave(self, *, probe: bool, failed: bool | None) -> None:
        with self._lock:
            if probe:
                self._probing = False
            elif self._opened_at is not None:
                # It was on its way before; only the probe decides.
                return
            if failed is None:
                return
            if not failed:
                self._failures, self._opened_at = 0, None
                return
            self._failures += 1
            if self._failures >= self._most:
                self._opened_at = self._clock()
