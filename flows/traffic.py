"""Replayed traffic: the requests of a day, sent to the service as its callers would.

Requests of one hour go together, a few callers at a time, each with the
prediction moment that it stands for. Nothing is dropped silently: an answer
that does not come is counted as lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.errors import BatonError

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec
    from baton.serving.client import PredictionClient

CALLERS = 4
PROBE_SECONDS = 0.1


@dataclass(slots=True)
class Tally:
    """What callers saw: requests, rows, answers that never came, and how long each took."""

    requests: int = 0
    rows: int = 0
    lost: int = 0
    milliseconds: list[float] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def answered(self, *, rows: int, version: str, took_ms: float) -> None:
        """Count one answer."""
        self.requests += 1
        self.rows += rows
        self.milliseconds.append(took_ms)
        self.versions[version] = self.versions.get(version, 0) + rows

    def missed(self) -> None:
        """Count one request that got no answer."""
        self.requests += 1
        self.lost += 1

    def quantile(self, share: float) -> float:
        """Give a quantile of the answers' times in milliseconds, NaN before the first."""
        return float(np.quantile(self.milliseconds, share)) if self.milliseconds else float("nan")


class Callers:
    """A few callers that share one client and one tally."""

    def __init__(self, client: PredictionClient, spec: ModelSpec) -> None:
        self._client = client
        self._spec = spec
        self._lock = threading.Lock()
        self.tally = Tally()

    def send(self, rows: pd.DataFrame) -> None:
        """Send a day's requests, one for each hour, and wait for the answers."""
        if rows.empty:
            return
        hours = rows["moment"].dt.floor("h")
        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(self._ask, [part for _, part in rows.groupby(hours, sort=True)]))

    @contextmanager
    def probing(self, row: pd.DataFrame) -> Iterator[None]:
        """Ask for one row over and over, to see that nobody waits or is lost while something else happens."""
        done = threading.Event()

        def ask() -> None:
            while not done.wait(PROBE_SECONDS):
                self._ask(row)

        prober = threading.Thread(target=ask, daemon=True)
        prober.start()
        try:
            yield
        finally:
            done.set()
            prober.join()

    def _ask(self, rows: pd.DataFrame) -> None:
        begun = time.perf_counter()
        spec = self._spec
        try:
            answer = self._client.predict(
                requests(rows, spec),
                entities=rows["id"].tolist(),
                moments=[moment.to_pydatetime() for moment in rows["moment"]],
            )
        except BatonError:
            with self._lock:
                self.tally.missed()
            return
        took = (time.perf_counter() - begun) * 1_000
        with self._lock:
            self.tally.answered(rows=len(rows), version=answer.version, took_ms=took)


def requests(rows: pd.DataFrame, spec: ModelSpec) -> list[dict[str, Any]]:
    """Give each row's features as a caller writes them; a missing value is None."""
    names = list(spec.features.names)
    columns = [[None if value != value else value for value in rows[name].tolist()] for name in names]  # noqa: PLR0124
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
