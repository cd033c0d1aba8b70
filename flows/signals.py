"""What SIGINT, SIGTERM and SIGHUP do while servers are started, watched and stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let every ending signal interrupt what runs, as Ctrl-C does."""
    with _handling(_interrupt):
        yield


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let no second Ctrl-C leave half of the programs running."""
    with _handling(signal.SIG_IGN):
        yield


def _interrupt(number: int, frame: object) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Callable[[int, object], NoReturn] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may handle signals, and only it is interrupted.
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
