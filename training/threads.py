"""One thread for linear algebra while anything is fitted, whatever else is fitted beside it.

A sum that BLAS splits over threads differs in its last bits, and its number
of threads belongs to the process: two fits side by side must not give it back
to each other half-way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_inside = 0
_limits = ExitStack()


@contextmanager
def repeatable(*, threads: int) -> Iterator[None]:
    """Keep BLAS to one thread until the last fit has ended, and OpenMP and joblib to `threads` in this one."""
    import joblib
    from threadpoolctl import threadpool_limits

    _enter()
    try:
        # Both of these belong to the calling thread.
        with joblib.parallel_config(n_jobs=threads), threadpool_limits(limits=threads, user_api="openmp"):
            yield
    finally:
        _leave()


def _enter() -> None:
    from threadpoolctl import threadpool_limits

    global _inside  # noqa: PLW0603 - a count of the whole process
    with _lock:
        if not _inside:
            _limits.enter_context(threadpool_limits(limits=1, user_api="blas"))
        _inside += 1


def _leave() -> None:
    global _inside  # noqa: PLW0603
    with _lock:
        _inside -= 1
        if not _inside:
            _limits.close()
