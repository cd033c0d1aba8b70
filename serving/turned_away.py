"""Why work that was in order has no answer: no room, no time, or a model that fails on it."""

from __future__ import annotations

from baton.core.errors import BatonError, DependencyDown


class Overloaded(DependencyDown):
    """More is queued than can be done in time; `retry_after_s` is when that is expected to be over."""

    def __init__(self, *, queued_rows: int, retry_after_s: float) -> None:
        super().__init__(what="the service is overloaded", why=f"{queued_rows} rows are queued", fix="try again later")
        self.retry_after_s = max(retry_after_s, 0.0)


class DeadlineExceeded(TimeoutError):
    """The caller's deadline passed first; what was not begun by then is not computed."""

    def __init__(self, *, waited_ms: float) -> None:
        super().__init__("the answer took too long")
        self.waited_ms = waited_ms


class ModelFailed(BatonError):
    """The model raised an error for a request's rows, or gave a score that is no number."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(
            what="the model cannot score these rows",
            # Its text may hold values of the rows.
            why=type(reason).__name__,
            fix="leave them out, and report the model",
        )
