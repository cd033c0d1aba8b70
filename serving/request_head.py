"""What the headers of a request say, read once and within limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from baton.serving.refusal import Refused

# Where nothing may be read of a body that is refused, the connection cannot go on.
CLOSE = {"connection": "close"}
_QUERY_KEYS = (b"key=", b"api_key=", b"api-key=", b"apikey=", b"x-api-key=", b"token=", b"access_token=", b"baton_")
_READ = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"authorization", b"x-api-key"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The headers that decide on admission; `length` is None where the body's is not said, `shown` the key or token."""

    media_type: str = ""
    length: int | None = None
    shown: bytes = b""


def read_head(
    headers: Sequence[tuple[bytes, bytes]], target: bytes, *, most: int, most_bytes: int, most_body: int
) -> RequestHead:
    """Read the headers.

    Args:
        headers: Names in lower case, and values.
        target: Path and query.
        most: Most headers.
        most_bytes: Most bytes of headers and target.
        most_body: Most bytes of the body.

    Raises:
        Refused: 431 too much, 400 what contradicts itself, 413 too long a
            body, 415 a compressed one, 401 two keys.
    """
    if len(headers) > most:
        _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"there are over {most} headers")
    size = len(target)
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        size += len(name) + len(value)
        if name in _READ:
            if name in found:
                _twice(name)
            found[name] = value
    if size > most_bytes:
        _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers are over {most_bytes} bytes")
    if found.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body uncompressed", {"accept-encoding": "identity"})
    return RequestHead(
        media_type=found.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1"),
        length=_length(found, most_body),
        shown=_shown(found),
    )


def refuse_keys_in_query(query: bytes) -> None:
    """Refuse a key in the query, where every proxy on the way writes it into its log.

    Raises:
        Refused: 401.
    """
    lowered = query.lower()
    if any(lowered.startswith(name) or b"&" + name in lowered for name in _QUERY_KEYS):
        raise unauthorised("keys are shown in a header, never in the query")


def unauthorised(detail: str) -> Refused:
    """Give a 401 that says how to show a key."""
    return Refused(HTTPStatus.UNAUTHORIZED, detail, {"www-authenticate": 'Bearer realm="baton"'}, reason="key")


def media_type_among(head: RequestHead, accepted: Iterable[str]) -> None:
    """Check the body's media type.

    Raises:
        Refused: 415.
    """
    if head.media_type not in accepted:
        told = " or ".join(sorted(filter(None, accepted)))
        _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {told}", {"accept": told.replace(" or ", ", ")})


def _length(found: dict[bytes, bytes], most_body: int) -> int | None:
    declared = found.get(b"content-length")
    if declared is None:
        return None
    if b"transfer-encoding" in found:
        _refuse(HTTPStatus.BAD_REQUEST, "the body has both a length and a transfer encoding")
    # Python's int takes "+1", "1_0" and other alphabets' digits.
    if not declared.isdigit() or len(declared) > 18:  # noqa: PLR2004 - what fits 63 bits
        _refuse(HTTPStatus.BAD_REQUEST, "the content length is no number")
    if int(declared) > most_body:
        _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {most_body} bytes")
    return int(declared)


def _shown(found: dict[bytes, bytes]) -> bytes:
    key, authorization = found.get(b"x-api-key"), found.get(b"authorization")
    if key is not None and authorization is not None:
        raise unauthorised("show one key")
    if authorization is None:
        return (key or b"").strip()
    scheme, _, text = authorization.strip().partition(b" ")
    # What is shown in another scheme is nobody's key, but it is not the same as showing none.
    return text.strip() if scheme.lower() == b"bearer" and text.strip() else b"\0"


def _twice(name: bytes) -> NoReturn:
    if name in {b"authorization", b"x-api-key"}:
        raise unauthorised("show one key")
    _refuse(HTTPStatus.BAD_REQUEST, f"{name.decode()} is given twice")


def _refuse(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> NoReturn:
    raise Refused(status, detail, CLOSE | (headers or {}))
