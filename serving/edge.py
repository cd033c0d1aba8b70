"""The edge: who is let in, before anything of a request's body is read.

In this order: size and header limits, media type, key or token, scope, quota.
On loopback and without a file of keys everybody is let in; once there has been
one, keys are needed until the service ends. Nothing on the way of a known
caller waits, locks or reads a file: keys, tokens and quotas are kept up to date
behind the answers.

    admit    -> Caller, Refused, or Unproven for a key that this process sees for the first time
    prove    -> Caller or Refused, after one Argon2id hash in another thread
    charge   -> rows taken from the caller's quota, or Refused
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from baton.core.errors import BatonError
from baton.serving.api_keys import ADMIN, PREDICT, ApiKey, key_id, read_keys
from baton.serving.backoff import Backoff, Bucket
from baton.serving.callers import Caller, anonymous, media_types, needed
from baton.serving.exposure import check_exposure
from baton.serving.key_ring import KeyRing, RingFull
from baton.serving.quota_sharing import QuotaSharing
from baton.serving.quotas import DAILY, DAY_S, REQUESTS, ROWS, Quota, Quotas
from baton.serving.refusal import Refused, too_many
from baton.serving.request_head import RequestHead, media_type_among, read_head, refuse_keys_in_query, unauthorised
from baton.serving.serving_settings import ServingSettings
from baton.serving.tokens import TokenReader

log = logging.getLogger(__name__)

Scope = Mapping[str, Any]
# Proofs for ids that no file knows, for all callers together: a processor can do about 50 a second.
STRANGERS_BURST, STRANGERS_PER_S = 20.0, 2.0
NO_KEY = "show a key: Authorization: Bearer KEY, or x-api-key: KEY"
WRONG_KEY = "the key is not known, or no longer"


class Unproven(Refused):
    """A key of the right shape that is not known yet; `Edge.prove` finds out."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, WRONG_KEY, reason="key")


class Edge:
    """The gatekeeper of one service."""

    def __init__(
        self,
        settings: ServingSettings,
        *,
        refused: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._count = refused
        self._clock = clock
        self._calendar = calendar
        self._proxies = frozenset(each.strip() for each in settings.trusted_proxies.split(",") if each.strip())
        self._ring = KeyRing()
        self._tokens = _tokens(settings)
        self._needs_key = self._tokens is not None
        self._key_mark: object = None
        self._token_mark: object = None
        self._said = ""
        self._addresses, self._identities = Backoff(), Backoff()
        self._strangers = Bucket(burst=STRANGERS_BURST, per_second=STRANGERS_PER_S)
        self._sharing = (
            QuotaSharing(settings.quota_url, share=settings.quota_share, clock=clock) if settings.quota_url else None
        )
        self._quotas = Quotas(sharing=self._sharing, share=settings.quota_share)
        self._watching: asyncio.Task[None] | None = None

    @property
    def needs_key(self) -> bool:
        """Whether callers need a key or a token."""
        return self._needs_key

    async def open(self) -> None:
        """Read keys and tokens, and keep them up to date from now on.

        Raises:
            BatonError: A file cannot be used, or strangers could reach the
                service without a key or without TLS.
        """
        await asyncio.to_thread(self._reload)
        check_exposure(self._settings, needs_key=self._needs_key)
        if self._sharing:
            self._sharing.start()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """End what `open` began."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._sharing:
            await asyncio.to_thread(self._sharing.stop)
        await asyncio.to_thread(self._ring.close)

    def admit(self, scope: Scope) -> Caller:
        """Let a caller in by its headers alone, in microseconds.

        Raises:
            Refused: Why not.
            Unproven: Ask `prove`.
        """
        try:
            head = self._read(scope)
            return self._allowed(self._known(head, scope), scope)
        except Unproven:
            raise
        except Refused as no:
            self._count(no.reason)
            raise

    async def prove(self, scope: Scope) -> Caller:
        """Find out about a key that `admit` does not know, then let its caller in or not.

        Raises:
            Refused: Why not.
        """
        try:
            return self._allowed(await self._proven(self._read(scope).shown, self.address(scope)), scope)
        except Refused as no:
            self._count(no.reason)
            raise

    def charge(self, caller: Caller, rows: int) -> None:
        """Take a request's rows from the caller's quotas.

        Raises:
            Refused: 429, with `Retry-After` and `RateLimit-*`.
        """
        settings, now = self._settings, self._clock()
        limit = caller.rows or settings.row_quota
        try:
            if limit:
                self._quotas.take(caller.id, Quota(kind=ROWS, limit=limit, seconds=settings.quota_seconds), rows, now)
            if settings.daily_rows:
                daily = Quota(kind=DAILY, limit=settings.daily_rows, seconds=DAY_S)
                self._quotas.take(caller.id, daily, rows, now)
        except Refused as no:
            self._count(no.reason)
            raise

    def address(self, scope: Scope) -> str:
        """Give the caller's address: the connection's, or the last one that a trusted proxy names."""
        address = str((scope.get("client") or ("unknown",))[0])
        if address not in self._proxies:
            return address
        named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        hops = [hop.strip() for hop in ",".join(named).split(",") if hop.strip()]
        return next((hop for hop in reversed(hops) if hop not in self._proxies), address)[:64]

    def _read(self, scope: Scope) -> RequestHead:
        settings = self._settings
        query = scope.get("query_string", b"")
        head = read_head(
            scope["headers"],
            scope.get("raw_path") or scope["path"].encode() + query,
            most=settings.max_headers,
            most_bytes=settings.max_header_bytes,
            most_body=settings.max_body_bytes,
        )
        accepted = media_types(scope["path"])
        if accepted and scope["method"] == "POST":
            media_type_among(head, accepted)
        if query:
            refuse_keys_in_query(query)
        return head

    def _known(self, head: RequestHead, scope: Scope) -> Caller | None:
        if not self._needs_key or needed(scope["path"]) is None:
            return None
        if not head.shown:
            raise unauthorised(NO_KEY)
        key = self._ring.known(head.shown)
        if key:
            return _caller(key)
        text = head.shown.decode("latin-1")
        if key_id(text):
            raise Unproven
        if self._tokens and text.count(".") == 2:  # noqa: PLR2004 - a token is header.claims.signature
            holder = self._tokens.holder(head.shown, self._calendar())
            if holder:
                return Caller(id=holder.id, scopes=holder.scopes, until=math.inf)
        self._addresses.failed(self.address(scope), self._clock())
        raise unauthorised(WRONG_KEY)

    def _allowed(self, caller: Caller | None, scope: Scope) -> Caller:
        need = needed(scope["path"])
        self._check_port(need, scope)
        if caller is None:
            # Checks of health are nobody's quota.
            found = anonymous(self.address(scope))
            return found if need is None else self._counted(found, need)
        if caller.until <= self._calendar():
            raise unauthorised(WRONG_KEY)
        if need is not None and need not in caller.scopes:
            raise Refused(HTTPStatus.FORBIDDEN, f"the key lacks the scope {need}", reason="scope")
        return self._counted(caller, need or PREDICT)

    def _check_port(self, need: str | None, scope: Scope) -> None:
        """Keep administration on its own port, where there is one, and everything else off it."""
        port = self._settings.admin_port
        if port is not None and need is not None and (need == ADMIN) != ((scope.get("server") or ("", 0))[1] == port):
            raise Refused(HTTPStatus.NOT_FOUND, "not found", reason="port")

    def _counted(self, caller: Caller, need: str) -> Caller:
        if need == ADMIN and self._sharing and not self._sharing.connected:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, "quotas cannot be checked", {"retry-after": "1"}, reason="quota"
            )
        limit = caller.requests or self._settings.request_quota
        if limit:
            quota = Quota(kind=REQUESTS, limit=limit, seconds=self._settings.quota_seconds)
            self._quotas.take(caller.id, quota, 1, self._clock())
        return caller

    async def _proven(self, shown: bytes, address: str) -> Caller:
        identity = key_id(shown.decode("latin-1"))
        if identity is None or self._ring.refused(shown):
            self._addresses.failed(address, self._clock())
            raise unauthorised(WRONG_KEY)
        self._slow_down(identity, address)
        try:
            key = await self._ring.prove(shown)
        except RingFull:
            raise too_many("too many new keys at once", wait_s=1, reason="key") from None
        if key is None:
            for known, name in ((self._addresses, address), (self._identities, identity)):
                known.failed(name, self._clock())
            raise unauthorised(WRONG_KEY)
        self._identities.succeeded(identity)
        return _caller(key)

    def _slow_down(self, identity: str, address: str) -> None:
        """Make guessers wait; who names an id of the file waits for wrong guesses at that id alone."""
        now = self._clock()
        if self._ring.holds(identity):
            wait = self._identities.wait_s(identity, now)
        else:
            wait = self._addresses.wait_s(address, now) or self._strangers.take(now)
        if wait > 0:
            self._say("keys_guessed")
            raise too_many("there were too many wrong keys", wait_s=wait, reason="guessing")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.keys_seconds)
            try:
                await asyncio.to_thread(self._reload)
                self._say("")
            except BatonError as error:
                # Whoever was let in stays in; a half-copied file must not lock everybody out.
                self._say(str(error))

    def _reload(self) -> None:
        path = self._settings.key_file
        mark = _mark(path)
        if mark != self._key_mark:
            keys = read_keys(path) if mark else ()
            self._ring.take([key for key in keys if key.revoked is None])
            # A file that is lost lets nobody in, rather than everybody.
            self._needs_key = self._needs_key or mark is not None
            self._key_mark = mark
        if self._tokens and self._settings.jwt_keys:
            mark = _mark(self._settings.jwt_keys)
            if mark != self._token_mark or mark is None:
                self._tokens.read()
                self._token_mark = mark

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            if reason:
                log.warning("edge_alarm", extra={"reason": reason})


def _caller(key: ApiKey) -> Caller:
    until = key.expires.timestamp() if isinstance(key.expires, datetime) else math.inf
    return Caller(id=f"key-{key.id}", scopes=frozenset(key.scopes), until=until, requests=key.requests, rows=key.rows)


def _tokens(settings: ServingSettings) -> TokenReader | None:
    if not settings.jwt_keys:
        return None
    return TokenReader(
        settings.jwt_keys,
        algorithms=settings.jwt_algorithms,
        issuer=settings.jwt_issuer or "",
        audience=settings.jwt_audience or "",
    )


def _mark(path: Any) -> object:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size
