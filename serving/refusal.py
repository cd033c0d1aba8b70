"""An answer that is no: the status, the reason for the caller, and the reason for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from baton.core.errors import Misuse


class Refused(Misuse):
    """A request that is turned away before its rows are looked at; `problem_of` makes it an answer.

    `reason` is one of a few fixed words, since it labels a counter.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, *, reason: str = ""
    ) -> None:
        super().__init__(what=detail, why=status.phrase, fix="change the request")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.reason = reason or status.phrase.lower().replace(" ", "_")

    def __str__(self) -> str:
        return self.detail

    def __reduce__(self) -> tuple[object, ...]:
        # As for its parents: keyword arguments do not survive the default reduction.
        return (Refused, (self.status, self.detail, self.headers))


def too_many(detail: str, *, wait_s: float, headers: Mapping[str, str] | None = None, reason: str) -> Refused:
    """Give a 429 that says, in whole seconds and never too few, when to come again."""
    wait = {"retry-after": str(max(1, -int(-wait_s // 1)))}
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, detail, {**wait, **(headers or {})}, reason=reason)
