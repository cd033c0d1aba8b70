"""The service's Prometheus metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from baton.serving.batcher import Scored
from baton.serving.predictor import Predictor

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MILLISECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
# The time of a request, part by part; the parts sum to the total.
PARTS = {
    "parse": "reading and checking the body",
    "queue": "waiting for earlier batches",
    "batch": "waiting for others to join the batch",
    "compute": "computing the batch",
    "serialisation": "handing back and writing the answer",
    "total": "all of it",
}
# Counted by the edge, which all models of a service have in common.
EDGE_FAMILY = "baton_refusals"
# Versions and cohorts that are told apart; of more the oldest are forgotten, so that series stay few.
MOST_SERVED = 6


class Metrics:
    """Counters and histograms of one service, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("baton_requests", "Prediction requests by status.", ["status"], **own)
        self.rows = Counter("baton_rows", "Rows answered.", **own)
        self.swaps = Counter("baton_swaps", "Champions taken into service.", **own)
        self.swap_failures = Counter(
            "baton_swap_failures", "Releases that could not be served, by error.", ["reason"], **own
        )
        self.log_rows = Counter(
            "baton_log_rows", "Rows of the prediction log, by what became of them.", ["fate"], **own
        )
        self.refusals = Counter("baton_refusals", "Requests turned away before their body was read.", ["reason"], **own)
        self.deadline_exceeded = Counter("baton_deadline_exceeded", "Requests whose deadline passed first.", **own)
        self.overloaded = Counter("baton_overloaded", "Requests turned away for want of time.", **own)
        self.model_errors = Counter("baton_model_errors", "Requests whose rows the model could not score.", **own)
        self.degraded = Counter("baton_degraded", "Requests that another than their model answered.", ["rung"], **own)
        self.out_of_range = Counter("baton_out_of_range_rows", "Rows beyond the training range.", **own)
        self.extraction_suspects = Counter(
            "baton_extraction_suspects", "Suspicions that a caller maps the model.", **own
        )
        self.online = Counter(
            "baton_online_features",
            "Rows with fetched features by outcome, and views without values.",
            ["outcome"],
            **own,
        )
        self.online_as_of = Gauge(
            "baton_online_as_of_seconds", "When what is online was known, seconds since 1970.", ["view"], **own
        )
        self.online_limit = Gauge(
            "baton_online_limit_seconds", "How far the online store may be behind, as declared.", ["view"], **own
        )
        self._model = Gauge("baton_model_info", "1 for what is served.", ["model", "version", "digest", "epoch"], **own)
        self._times = _Times()
        self.registry.register(self._times)
        self._statuses: dict[int, Any] = {}

    def request(self, status: int) -> None:
        """Count a prediction request by the status that it was answered with."""
        child = self._statuses.get(status)
        if child is None:
            child = self._statuses[status] = self.requests.labels(str(status))
        child.inc()

    def answered(self, scored: Scored, *, parse_ms: float, total_ms: float, version: str, cohort: str) -> None:
        """Count an answered request's rows and where its time went, in milliseconds."""
        self.rows.inc(len(scored.scores))
        known = parse_ms + scored.queue_ms + scored.batch_ms + scored.compute_ms
        rest = max(total_ms - known, 0.0)
        self._times.observe(
            (version, cohort), (parse_ms, scored.queue_ms, scored.batch_ms, scored.compute_ms, rest, total_ms)
        )

    def swapped(self, predictor: Predictor) -> None:
        """Count a swap and say what is served now."""
        release = predictor.release
        self.swaps.inc()
        self._model.clear()
        self._model.labels(release.model, release.version, release.champion, str(release.epoch)).set(1)

    def render(self) -> tuple[bytes, str]:
        """Give the text exposition and its media type."""
        return _text(self.registry)


def rendered(metrics: Mapping[str, Metrics]) -> tuple[bytes, str]:
    """Give the text exposition of one service's models, and its media type.

    Of several models every series has the label `model`, but for what the edge
    refused before a model was known.
    """
    first, *others = metrics.values()
    return _text(_Several(metrics)) if others else first.render()


def _text(registry: Any) -> tuple[bytes, str]:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Several:
    """The metrics of several models as one collector."""

    def __init__(self, metrics: Mapping[str, Metrics]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Give each family once, with the series of all models; the client calls this."""
        families: dict[str, Metric] = {}
        for name, metrics in self._metrics.items():
            for family in metrics.registry.collect():
                whole = families.setdefault(family.name, family)
                own = {} if family.name == EDGE_FAMILY else {"model": name}
                samples = [sample._replace(labels={**own, **sample.labels}) for sample in family.samples]
                whole.samples = samples if whole is family else [*whole.samples, *samples]
        yield from families.values()


class _Times:
    """Histograms of the parts by version and cohort.

    The client's own histograms lock and look up a label for each observation,
    which for six of them is a third of what an answer costs. These are lists
    of counts that only the event loop touches, turned into histograms when
    they are asked for.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[list[int]]] = {}
        self._sums: dict[tuple[str, str], list[float]] = {}

    def observe(self, served: tuple[str, str], times: tuple[float, ...]) -> None:
        """Count one request's times, in the order of `PARTS`."""
        counts = self._counts.get(served)
        if counts is None:
            counts = self._add(served)
        sums = self._sums[served]
        for at, ms in enumerate(times):
            counts[at][bisect_left(MILLISECONDS, ms)] += 1
            sums[at] += ms

    def collect(self) -> Iterator[Metric]:
        """Give the histograms; the client calls this."""
        from prometheus_client.core import HistogramMetricFamily

        edges = [str(float(edge)) for edge in MILLISECONDS] + ["+Inf"]
        for at, (part, told) in enumerate(PARTS.items()):
            family = HistogramMetricFamily(
                f"baton_{part}_milliseconds", f"Time of a request: {told}.", labels=["version", "cohort"]
            )
            for served, counts in self._counts.items():
                buckets = list(zip(edges, accumulate(counts[at]), strict=True))
                family.add_metric(list(served), buckets=buckets, sum_value=self._sums[served][at])
            yield family

    def _add(self, served: tuple[str, str]) -> list[list[int]]:
        if len(self._counts) >= MOST_SERVED:
            oldest = next(iter(self._counts))
            del self._counts[oldest], self._sums[oldest]
        counts = self._counts[served] = [[0] * (len(MILLISECONDS) + 1) for _ in PARTS]
        self._sums[served] = [0.0] * len(PARTS)
        return counts
