"""The service's Prometheus metrics."""

from __future__ import annotations

from typing import Any

from baton.serving.batcher import Scored
from baton.serving.predictor import Predictor

MILLISECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)


class Metrics:
    """Counters and histograms of one service, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("baton_requests", "Prediction requests by status.", ["status"], **own)
        self.rows = Counter("baton_rows", "Rows answered.", **own)
        self.swaps = Counter("baton_swaps", "Champions taken into service.", **own)
        self.swap_failures = Counter(
            "baton_swap_failures", "Releases that could not be served, by error.", ["reason"], **own
        )
        self.log_rows = Counter(
            "baton_log_rows", "Rows of the prediction log, by what became of them.", ["fate"], **own
        )
        self._timings = {
            part: Histogram(f"baton_{part}_milliseconds", f"Time of a request: {part}.", buckets=MILLISECONDS, **own)
            for part in ("queue", "batch", "compute")
        }
        self._model = Gauge("baton_model_info", "1 for what is served.", ["model", "version", "digest", "epoch"], **own)

    def answered(self, scored: Scored) -> None:
        """Count an answered request's rows and time."""
        self.rows.inc(len(scored.scores))
        self._timings["queue"].observe(scored.queue_ms)
        self._timings["batch"].observe(scored.batch_ms)
        self._timings["compute"].observe(scored.compute_ms)

    def swapped(self, predictor: Predictor) -> None:
        """Count a swap and say what is served now."""
        release = predictor.release
        self.swaps.inc()
        self._model.clear()
        self._model.labels(release.model, release.version, release.champion, str(release.epoch)).set(1)

    def render(self) -> tuple[bytes, str]:
        """Give the text exposition and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
