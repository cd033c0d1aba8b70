"""One quota for all services, kept in Redis and never waited for.

A thread tells Redis every tenth of a second what was taken here, and learns
what is left for all. Between two talks a service counts on from what it knows,
so together they can give too much by what arrives within that time. Where
Redis is silent for a second, this service says that it knows nothing, and each
gives its own share until Redis answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from baton.core.errors import Misuse
from baton.serving.quotas import Quota

log = logging.getLogger(__name__)

TALK_S = 0.1
STALE_S = 1.0
REDIS_TIMEOUT_S = 0.5
# Who has not called for so long is forgotten here; Redis remembers.
QUIET_S = 300.0


@dataclass(slots=True, kw_only=True)
class _Account:
    quota: Quota
    left: float
    untold: int = 0
    wait_s: float = TALK_S
    seen: float = 0.0


class QuotaSharing:
    """The accounts of the callers that this service has seen lately."""

    def __init__(self, url: str, *, share: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        from limits.storage import RedisStorage
        from limits.strategies import SlidingWindowCounterRateLimiter

        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise Misuse(what="quota_url is refused", why="it is no Redis URL", fix="write redis://host:6379")
        scheme = "redis+unix" + url[4:] if url.startswith("unix://") else url
        storage = RedisStorage(
            scheme, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S, wrap_exceptions=True
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._share = share
        self._clock = clock
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._lock = threading.Lock()
        self._heard = float("-inf")
        self._said = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._talk_for_ever, name="quotas", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether Redis has answered within the last second."""
        return self._clock() - self._heard < STALE_S

    def start(self) -> None:
        """Start to talk to Redis."""
        self._thread.start()

    def stop(self) -> None:
        """Tell what is untold, and stop."""
        self._stopping.set()
        self._thread.join()

    def take(self, caller: str, quota: Quota, cost: int) -> float | None:
        """Take from what is left for all: gives 0, or how long to wait; None while Redis is silent."""
        if not self.connected:
            return None
        if cost > quota.limit:
            return float("inf")
        name = (caller, quota.kind)
        with self._lock:
            account = self._accounts.get(name)
            if account is None or account.quota != quota:
                account = self._accounts[name] = _Account(quota=quota, left=max(1.0, quota.limit * self._share))
            account.seen = self._clock()
            if account.left < cost:
                return max(account.wait_s, TALK_S)
            account.left -= cost
            account.untold += cost
        return 0.0

    def _talk_for_ever(self) -> None:
        while not self._stopping.wait(TALK_S):
            self._talk()
        self._talk()

    def _talk(self) -> None:
        try:
            answers = self._limiter.storage.check()
            for name, account in list(self._accounts.items()):
                self._settle(name, account)
        except Exception as error:  # noqa: BLE001 - quotas must not end because Redis did
            self._say(type(error).__name__)
            return
        if answers:
            self._heard = self._clock()
        self._say("" if answers else "it does not answer")

    def _settle(self, name: tuple[str, str], account: _Account) -> None:
        """Tell one caller's account and hear what is left; ours alone where it is quiet."""
        from limits import RateLimitItemPerSecond

        quota = account.quota
        item = RateLimitItemPerSecond(quota.limit, max(1, round(quota.seconds)), namespace="baton")
        with self._lock:
            told, account.untold = account.untold, 0
            if not told and self._clock() - account.seen > QUIET_S:
                self._accounts.pop(name, None)
                return
        try:
            taken = not told or self._limiter.hit(item, *name, cost=told)
            stats = self._limiter.get_window_stats(item, *name)
            if not taken and stats.remaining:
                # What could not be told as a whole was given all the same.
                self._limiter.hit(item, *name, cost=stats.remaining)
        except Exception:
            with self._lock:
                account.untold += told
            raise
        with self._lock:
            # What is refused by Redis was given here in good faith; then nothing is left for now.
            account.left = (stats.remaining if taken else 0) - account.untold
            account.wait_s = max(TALK_S, stats.reset_time - time.time())

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            if reason:
                log.error("quotas_not_shared", extra={"reason": reason})
            else:
                log.info("quotas_shared")
