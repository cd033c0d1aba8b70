"""How long a tracking server may take and how much it may answer.

MLflow's client bounds the wait for each piece of an answer, not the wait for
all of it nor its size, and it reads whatever a failing server sends before it
tries again. So a server that never ends its answer would hold a caller for
ever. Here every request has a deadline and every answer a limit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

# Most bytes of one answer: thousands of runs with their model cards.
LARGEST = 64 * 2**20
CHUNK = 64 * 2**10
# Longest wait for one request. A file passes through the server to its store.
REQUEST_SECONDS = 5.0
FILE_SECONDS = 60.0
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# A server that is being restarted is back after this, or it is down.
PAUSE_SECONDS = 0.3

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound everything that is asked of a server inside, all requests together; the earlier deadline counts."""
    ends = time.monotonic() + seconds
    outer = _deadline.get()
    token = _deadline.set(ends if outer is None else min(outer, ends))
    try:
        yield
    finally:
        _deadline.reset(token)


def bound_requests() -> None:
    """Bound the requests that MLflow's client makes in this process; again changes nothing."""
    from mlflow import environment_variables as settings
    from mlflow.utils import request_utils

    # The session that MLflow keeps for these settings, which it sets for every request.
    session = request_utils._get_request_session(
        settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(),
        settings.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get(),
        settings.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER.get(),
        request_utils._TRANSIENT_FAILURE_RESPONSE_CODES,
        True,
        settings.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get(),
    )
    if not isinstance(session.get_adapter("http://"), BoundedAdapter):
        for scheme in ("http://", "https://"):
            session.mount(scheme, BoundedAdapter(request_utils.TCPKeepAliveHTTPAdapter(max_retries=0)))


class BoundedAdapter:
    """A transport that ends every request in time, and every answer at a size.

    A look-up is made a second time where the first failed; a change is not,
    since the server may have made it.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: Any, *, stream: bool = False, timeout: object = None, **options: Any) -> Any:
        """Give the answer, whole unless it is asked for as a stream, as a downloaded file is."""
        del timeout  # ours, for the whole request
        if request.method != "GET":
            return self._once(request, stream=stream, options=options)
        try:
            answer = self._once(request, stream=stream, options=options)
        except OSError:
            if not _pause():
                raise
        else:
            if answer.status_code not in TRANSIENT or not _pause():
                return answer
        return self._once(request, stream=stream, options=options)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _once(self, request: Any, *, stream: bool, options: Mapping[str, Any]) -> Any:
        seconds = _left(FILE_SECONDS if request.method == "PUT" else REQUEST_SECONDS)
        if seconds <= 0:
            raise TimeoutError("the server has not answered in time")
        ends = time.monotonic() + seconds
        answer = self._transport.send(request, stream=True, timeout=(seconds, seconds), **options)
        if not stream:
            try:
                answer._content = _whole(answer.raw, ends=ends)
            finally:
                answer.close()
            answer._content_consumed = True
        return answer


def _pause() -> bool:
    """Wait until it is worth asking again; False where there is no time left to."""
    if _left(2 * PAUSE_SECONDS) < 2 * PAUSE_SECONDS:
        return False
    time.sleep(PAUSE_SECONDS)
    return True


def _left(most: float) -> float:
    ends = _deadline.get()
    return most if ends is None else min(most, ends - time.monotonic())


def _whole(body: Any, *, ends: float) -> bytes:
    content = bytearray()
    while piece := body.read1(CHUNK, decode_content=True):
        content += piece
        if len(content) > LARGEST:
            raise OSError(f"the server answered with more than {LARGEST >> 20} MB")
        if time.monotonic() > ends:
            raise TimeoutError("the server has not ended its answer in time")
    return bytes(content)
