"""One view's history as the requests would have found it, at their moment and at others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.features.asof_join import NOTHING, newest_known

EVENT = "event_timestamp"
Same = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]


class ViewReplay:
    """Looks values of one view up for a number of requests.

    Args:
        history: The view's entity, `event_timestamp` and values.
        entity: Its entity column.
        entities: Whom each request was about.
        moments: When each request asked (aware).
        ttl: Age from which a value counts as missing.
    """

    def __init__(
        self, history: pd.DataFrame, *, entity: str, entities: pd.Series, moments: pd.Series, ttl: timedelta | None
    ) -> None:
        mine = history[history[entity].isin(entities)]
        self._history = mine.sort_values([entity, EVENT], kind="stable", ignore_index=True)
        self._rows = pd.DataFrame({entity: entities.to_numpy(), "moment": moments.to_numpy()})
        self._rows["moment"] = pd.to_datetime(self._rows["moment"], utc=True)
        self.order: NDArray[np.int64] = np.argsort(self._rows["moment"].to_numpy("datetime64[ns]"), kind="stable")
        self._entity = entity
        self._ttl = ttl

    def values(self, name: str, *, shift: timedelta = timedelta(0)) -> NDArray[Any]:
        """Give a feature as of each moment, or so long after it."""
        return self._taken(name, self._places(shift=shift, ttl=self._ttl))

    def held(
        self, name: str, served: NDArray[Any], same: Same, *, within: timedelta | None = None
    ) -> NDArray[np.bool_]:
        """Tell which served values the entity had at its moment or before, or within a time before it."""
        held: NDArray[np.bool_] = self._last(name, served, same, within=within) != NOTHING
        if within is None:
            return held
        # Nothing was known at the beginning of that time either.
        nothing: NDArray[np.bool_] = held | (pd.isna(served) & (self._places(shift=-within, ttl=self._ttl) == NOTHING))
        return nothing

    def behind(self, name: str, served: NDArray[Any], same: Same) -> NDArray[np.float64]:
        """Give how long before its moment each served value was replaced, in seconds; NaN where it never was."""
        place = self._last(name, served, same)
        events = self._history[EVENT].to_numpy("datetime64[ns]").astype(np.int64)
        moments = self._rows["moment"].to_numpy("datetime64[ns]").astype(np.int64)
        replaced = np.append(events, 0)[np.minimum(place + 1, len(events))]
        return np.where(place >= 0, (moments - replaced) / 1e9, np.nan)

    def _last(
        self, name: str, served: NDArray[Any], same: Same, *, within: timedelta | None = None
    ) -> NDArray[np.int64]:
        """Find the last place in each entity's history, up to its moment, that holds what was served."""
        # What is past its age was known once: serving it is an old value.
        place = self._places(shift=timedelta(0), ttl=None)
        first = self._firsts()
        if within is not None:
            first = np.maximum(first, self._places(shift=-within, ttl=None))
        found = np.full(len(place), NOTHING, dtype=np.int64)
        open_ = place >= 0
        while open_.any():
            at = np.flatnonzero(open_)
            equal = same(served[at], self._taken(name, place[at]))
            found[at[equal]] = place[at[equal]]
            open_[at[equal]] = False
            place = place - 1
            open_ &= place >= first
        return found

    def _firsts(self) -> NDArray[np.int64]:
        first = self._history.drop_duplicates(self._entity)
        where = pd.Series(first.index, index=first[self._entity])
        return self._rows[self._entity].map(where).fillna(0).to_numpy(np.int64)

    def _places(self, *, shift: timedelta, ttl: timedelta | None) -> NDArray[np.int64]:
        rows = self._rows.assign(moment=self._rows["moment"] + pd.Timedelta(shift))
        return newest_known(rows, self._history, on=[self._entity], moment="moment", event=EVENT, ttl=ttl)

    def _taken(self, name: str, places: NDArray[np.int64]) -> NDArray[Any]:
        column = self._history[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            return np.append(column.to_numpy(np.float64), np.nan)[places]
        return np.append(column.to_numpy(object), [None])[places]
