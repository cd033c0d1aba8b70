"""Find the predictor that a path names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from baton.core.errors import DependencyDown, SourceMissing
from baton.serving.predictor import Predictor

if TYPE_CHECKING:
    from baton.serving.engine import Engine


def served(engine: Engine, name: str, version: str | None = None) -> Predictor:
    """Give the champion of a model.

    Args:
        engine: The service's parts.
        name: The model that is asked for.
        version: The version that is asked for; the champion's, or None for whichever it is.

    Raises:
        SourceMissing: Another model or version is asked for.
        DependencyDown: There is no champion.
    """
    if name != engine.settings.model:
        raise SourceMissing(
            what="there is no such model", why=f"this service serves {', '.join(engine.settings.names)}", fix="name it"
        )
    predictor = engine.champion.current
    if predictor is None:
        failure = engine.champion.failure
        raise DependencyDown(
            what=f"{engine.settings.model} has no champion in service",
            why=str(failure) if failure else "none was promoted yet",
            fix="promote a model",
        )
    if version is not None and version != predictor.release.version:
        raise SourceMissing(
            what="that version is not served", why=f"version {predictor.release.version} is", fix="leave it out"
        )
    return predictor
