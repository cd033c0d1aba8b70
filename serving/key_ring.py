"""Which key is whose, within a microsecond.

Proving a key means one Argon2id hash, tens of milliseconds of a processor.
That is done once for each key, in a thread of its own; from then on the key is
known by a digest under a secret that this process alone has, so looking it up
takes one hash table access and tells nothing by its time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from baton.serving.api_keys import ApiKey, hasher, key_id

log = logging.getLogger(__name__)

MOST_REFUSED = 1_024
MOST_WAITING = 256


class RingFull(Exception):
    """Too many new keys are being proven."""


class KeyRing:
    """The keys of a file, and the proven ones among those that callers have shown."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._keys: dict[str, ApiKey] = {}
        self._proven: dict[bytes, ApiKey] = {}
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._proving: dict[bytes, asyncio.Future[ApiKey | None]] = {}
        self._hasher = hasher()
        # Who shows an unknown id waits as long as who shows a wrong secret.
        self._nobody: str = self._hasher.hash(secrets.token_urlsafe(32))
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prove")

    def take(self, keys: Sequence[ApiKey]) -> None:
        """Take the file's present keys; what is no longer among them, or changed, is proven anew or refused."""
        self._keys = {key.id: key for key in keys}
        kept = {digest: self._keys.get(key.id) for digest, key in self._proven.items() if self._same(key)}
        self._proven = {digest: key for digest, key in kept.items() if key}
        self._refused.clear()

    def _same(self, key: ApiKey) -> bool:
        present = self._keys.get(key.id)
        return present is not None and present.hash == key.hash

    def known(self, text: bytes) -> ApiKey | None:
        """Give the key that was proven before, or None."""
        return self._proven.get(self._digest(text))

    def refused(self, text: bytes) -> bool:
        """Whether this very key was found wrong before."""
        return self._digest(text) in self._refused

    def holds(self, identity: str) -> bool:
        """Whether the file has a key of this id, alive at the moment."""
        key = self._keys.get(identity)
        return key is not None and key.lives(datetime.now(timezone.utc))

    async def prove(self, text: bytes) -> ApiKey | None:
        """Prove a key that is not known yet: gives it, or None where it is wrong.

        Raises:
            RingFull: Too many are being proven already.
        """
        digest = self._digest(text)
        waiting = self._proving.get(digest)
        if waiting is None:
            if len(self._proving) >= MOST_WAITING:
                raise RingFull
            loop = asyncio.get_running_loop()
            waiting = asyncio.ensure_future(loop.run_in_executor(self._worker, self._verified, text.decode("latin-1")))
            self._proving[digest] = waiting
            waiting.add_done_callback(lambda done: self._remember(digest, done))
        # Many callers may wait for one proof; one that leaves does not end it for the others.
        return await asyncio.shield(waiting)

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _verified(self, text: str) -> ApiKey | None:
        key = self._keys.get(key_id(text) or "")
        right = self._hasher.verify(text, key.hash if key else self._nobody)
        return key if key and right else None

    def _remember(self, digest: bytes, done: asyncio.Future[ApiKey | None]) -> None:
        self._proving.pop(digest, None)
        if done.cancelled() or done.exception():
            return
        key = done.result()
        if key is None:
            self._refused[digest] = None
            if len(self._refused) > MOST_REFUSED:
                self._refused.popitem(last=False)
        elif self._same(key):
            self._proven[digest] = self._keys[key.id]

    def _digest(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._secret, digest_size=16).digest()
