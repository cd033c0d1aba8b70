"""The models of one service: an engine each, behind one edge.

Each has its own folder, release, batcher, log, metrics and limits, so what
happens to one is nothing to the others. Callers, keys, quotas and the end of
the service are common to all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from baton.core.errors import BatonError
from baton.serving.engine import Engine, running
from baton.serving.metrics import rendered
from baton.serving.otel_spans import Spans
from baton.serving.predictor import Predictor
from baton.serving.served_model import served
from baton.serving.serving_settings import ServingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The engines by their models' names; the settings of the `first` hold for the service."""

    first: Engine
    by_name: Mapping[str, Engine]

    def of(self, name: str | None) -> Engine:
        """Give the engine of a model; of a name that is not served the first, which says so."""
        return self.by_name.get(name or "", self.first)

    def ready(self) -> list[tuple[Engine, Predictor]]:
        """Give the engines that have a champion, with it.

        A model that nobody has promoted yet keeps no other from being asked, so
        a service is ready with the first that is.

        Raises:
            DependencyDown: None has one; says why the first has not.
        """
        found = []
        for name, engine in self.by_name.items():
            try:
                found.append((engine, served(engine, name)))
            except BatonError:
                continue
        return found or [(self.first, served(self.first, self.first.settings.model))]

    def render(self) -> tuple[bytes, str]:
        """Give all metrics as text, and its media type; of several models each series has its model."""
        return rendered({name: engine.metrics for name, engine in self.by_name.items()})


@asynccontextmanager
async def all_running(settings: ServingSettings, *, spans: Spans | None = None) -> AsyncIterator[Engines]:
    """Start the engines of all models; stop them in reverse.

    Raises:
        BatonError: The edge cannot be used; see `Edge.open`.
    """
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(settings, spans=spans))
        engines = {settings.model: first}
        for each in settings.others:
            engines[each.model] = await stack.enter_async_context(running(each, beside=first))
        yield Engines(first=first, by_name=engines)
