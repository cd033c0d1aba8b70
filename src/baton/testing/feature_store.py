"""A feature store in memory that looks up one row at a time: slow, plain, and what the real one must agree with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from baton.core.errors import EmptyWindow, SourceMissing, listed
from baton.core.spec import ModelSpec, ViewSpec

if TYPE_CHECKING:
    import pandas as pd


class MemoryFeatureStore:
    """Implements `baton.core.ports.FeatureStore` with dictionaries.

    Example:
        >>> from baton.core.spec import spec_from
        >>> MemoryFeatureStore(spec).publish({"shop_daily": frame})  # doctest: +SKIP
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._views = spec.features.views
        self._text = set(spec.features.text)
        self._history: dict[str, dict[str, list[tuple[Any, Mapping[Any, Any]]]]] = {}
        self._current: dict[str, dict[str, list[tuple[Any, Mapping[Any, Any]]]]] = {}
        self._as_of: datetime | None = None

    def publish(self, views: Mapping[str, pd.DataFrame]) -> None:
        """Replace the history of each view."""
        if absent := [name for name in self._views if name not in views]:
            raise SourceMissing(
                what="not every view can be published",
                why=f"nothing was computed for {listed(absent)}",
                fix="compute all views of model.yaml",
            )
        for name, view in self._views.items():
            entities: dict[str, list[tuple[Any, Mapping[Any, Any]]]] = {}
            for row in views[name].sort_values("event_timestamp", kind="stable").to_dict("records"):
                entities.setdefault(row[view.entity], []).append((row["event_timestamp"], row))
            self._history[name] = entities

    def historical(self, rows: pd.DataFrame, *, moment: str) -> pd.DataFrame:
        """Add every view's values as known at each row's `moment`; same rows, same order."""
        if not self._history:
            raise EmptyWindow(what="no feature history", why="no view is published", fix="publish the views")
        answers = [self._known(self._history, row, row[moment]) for row in rows.to_dict("records")]
        return rows.assign(**{name: self._column(name, answers).to_numpy() for name in self._names()})

    def materialize(self, *, as_of: datetime) -> None:
        """Make the values known at `as_of` the ones that `online` answers with."""
        self._current, self._as_of = dict(self._history), as_of

    def online(self, entities: Sequence[Mapping[str, str]]) -> pd.DataFrame:
        """Give the values known at the last `materialize`, one row per entity row, in order."""
        import pandas as pd

        if self._as_of is None:
            raise EmptyWindow(
                what="no online values", why="nothing was materialised yet", fix="materialize the store first"
            )
        answers = [self._known(self._current, entity, self._as_of) for entity in entities]
        return pd.DataFrame({name: self._column(name, answers) for name in self._names()})

    def _names(self) -> list[str]:
        return [name for view in self._views.values() for name in view.values]  # noqa: PD011 - a field of the spec

    def _known(
        self, history: Mapping[str, Mapping[str, Any]], row: Mapping[Any, Any], moment: datetime
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for name, view in self._views.items():
            known = [
                values
                for at, values in history[name].get(row[view.entity], ())
                if at <= moment and (view.ttl is None or moment - at <= view.ttl)
            ]
            answer |= _values(view, known[-1] if known else {})
        return answer

    def _column(self, name: str, answers: Sequence[Mapping[str, Any]]) -> pd.Series:
        import pandas as pd

        return pd.Series([a[name] for a in answers], dtype="object" if name in self._text else "float64", name=name)


def _values(view: ViewSpec, row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in view.values}  # noqa: PD011 - a field of the spec, not a frame
