"""The join that training lives by: for each row, the newest value of its entity that was known at its moment.

The rows are put in order once, by entity and moment. History comes in parts,
in any order and of any size; each part is looked through once, and what it
answers is kept where it is newer than what an earlier part answered. So memory
depends on the rows and on one part, never on the length of history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NOTHING = -1
# Before any time that nanoseconds since 1970 can name.
NEVER = np.iinfo(np.int64).min

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of history: numbered entities, when each value happened, and when it became known if later.

    `entities` are numbers as in `Questions.number`, negative where nobody asks.
    """

    entities: NDArray[np.integer]
    events: Integers
    known: Integers | None = None


class Questions:
    """Rows that ask for the value of their entity as of their moment, and the newest answer so far.

    Args:
        keys: Columns that name the entity of each row, all of one length; a missing one finds nothing.
        moments: When each row asks, in nanoseconds since 1970.
        ttl: Age, event time to moment, beyond which a value counts as missing.
    """

    def __init__(self, keys: list[pd.Series], moments: Integers, *, ttl: timedelta | None = None) -> None:
        self._names = [pd.Index(pd.unique(key.dropna())) for key in keys]
        asked = self.number(keys)
        order = np.lexsort((moments, asked))
        # Rows without an entity come first, and ask for nothing.
        order = order[int(np.searchsorted(asked[order], 0)) :]
        self.rows = order
        self.count = len(moments)
        self._moments = moments[order]
        self._asked, self._begins = np.unique(asked[order], return_index=True)
        self._begins = np.append(self._begins, len(order))
        self._ttl = None if ttl is None else ttl // timedelta(microseconds=1) * 1_000
        self._events = np.full(len(order), NEVER)
        self._known = np.full(len(order), NEVER)

    def number(self, keys: list[pd.Series]) -> Integers:
        """Number entities, the same ones alike; negative where a name is missing or nobody asks for it."""
        number = np.zeros(1, dtype=np.int64)
        for names, key in zip(self._names, keys, strict=True):
            place = _places(names, key)
            number = np.where((place < 0) | (number < 0), NOTHING, number * (len(names) + 1) + place)
        return number

    def answered(self, part: Part) -> tuple[Integers, Integers]:
        """Look through a part of history, and keep what is newer than what was found before.

        Returns:
            The questions that have a new answer, as places in `rows`, and
            where in the part each of their values is.
        """
        order, entities, clock = _by_entity(part)
        begins = np.flatnonzero(np.concatenate([[True], entities[1:] != entities[:-1]]))[: len(entities)]
        ends = np.append(begins[1:], len(entities))
        mine = np.searchsorted(self._asked, entities[begins])
        asked = np.append(self._asked, NOTHING)[mine] == entities[begins]
        asked &= entities[begins] >= 0
        mine, begins, ends = mine[asked], begins[asked], ends[asked]
        sizes = self._begins[mine + 1] - self._begins[mine]
        questions = _stretches(self._begins[mine], sizes)
        place = _last_until(clock, np.repeat(begins, sizes), np.repeat(ends, sizes), self._moments[questions])
        found = place >= np.repeat(begins, sizes)
        questions, place = questions[found], place[found]
        if part.known is not None:
            place = _newest_so_far(part.events if order is None else part.events[order], clock, entities)[place]
        at = place if order is None else order[place]
        return self._newer(part, questions, at)

    def _newer(self, part: Part, questions: Integers, at: Integers) -> tuple[Integers, Integers]:
        events = part.events[at]
        known = events if part.known is None else np.maximum(part.known[at], events)
        before, told = self._events[questions], self._known[questions]
        # Of equals the one that comes later in history has been written later.
        newer = (events > before) | ((events == before) & (known >= told))
        self._events[questions[newer]], self._known[questions[newer]] = events[newer], known[newer]
        if self._ttl is not None:
            # An old value is no answer, but it is remembered: no older one may take its place.
            newer &= self._moments[questions] - events <= self._ttl
        return questions[newer], at[newer]


def newest_known(
    rows: pd.DataFrame,
    history: pd.DataFrame,
    *,
    on: list[str],
    moment: str,
    event: str,
    created: str | None = None,
    ttl: timedelta | None = None,
) -> Integers:
    """Find, for each row, the position of its entity's newest value known at the row's moment.

    Args:
        rows: One look-up per row.
        history: One value per row, in any order.
        on: Columns that name the entity, in both frames; a missing one finds nothing.
        moment: Column of `rows`; a value counts from its time on, that moment included.
        event: Column of `history` with the event time.
        created: Column of `history` with the time at which the value itself
            became known, where that is not the event time. A value created
            after the moment is passed over for the newest one that was there.
        ttl: Age, event time to moment, beyond which a value counts as missing.

    Returns:
        Shape `(len(rows),)`: positions in `history`, `NOTHING` where no value was known.
    """
    questions = Questions([rows[key] for key in on], nanoseconds(rows[moment]), ttl=ttl)
    part = Part(
        entities=questions.number([history[key] for key in on]),
        events=nanoseconds(history[event]),
        known=None if created is None else nanoseconds(history[created]),
    )
    places, at = questions.answered(part)
    found = np.full(len(rows), NOTHING, dtype=np.int64)
    found[questions.rows[places]] = at
    return found


def nanoseconds(times: pd.Series) -> Integers:
    """Give aware times as nanoseconds since 1970 UTC; times without a zone are UTC."""
    utc = times if pd.api.types.is_datetime64_any_dtype(times.dtype) else pd.to_datetime(times, utc=True)
    count: Integers = utc.to_numpy(dtype="datetime64[ns]").view(np.int64)
    return count


def in_runs(entities: Integers) -> NDArray[np.intp]:
    """Order numbered entities into one run each, every run in the order in which it was; unknown ones come first."""
    # Integers of two bytes are sorted by their digits, not by comparing them.
    narrow = np.min_scalar_type(int(entities.max(initial=0)) + 1)
    return np.argsort((entities + 1).astype(narrow), kind="stable")


def _places(names: pd.Index, key: pd.Series) -> Integers:
    """Give the place of each name, `NOTHING` where it is not among them; of categories each is looked up once."""
    if not isinstance(key.dtype, pd.CategoricalDtype):
        return names.get_indexer(pd.Index(key)).astype(np.int64)
    places = np.append(names.get_indexer(key.cat.categories), NOTHING).astype(np.int64)
    return places[key.cat.codes.to_numpy()]


def _by_entity(part: Part) -> tuple[Integers | None, NDArray[np.integer], Integers]:
    """Give an order in which each entity is one run in order of known time, its entities, and when each was known.

    The order is None where the part is in it already, as published history is.
    """
    clock = part.events if part.known is None else np.maximum(part.events, part.known)
    same = part.entities[1:] == part.entities[:-1]
    if not (same & (clock[1:] < clock[:-1])).any():
        firsts = part.entities[1:][~same]
        runs = np.append(firsts, part.entities[:1])
        if len(np.unique(runs)) == len(runs):
            return None, part.entities, clock
    order = np.lexsort((part.events, clock, part.entities))
    return order, part.entities[order], clock[order]


def _newest_so_far(events: Integers, clock: Integers, entities: NDArray[np.integer]) -> Integers:
    """Give, for each place in order of known time, the place of the newest value known by then.

    What becomes known last need not have happened last: a correction of an old
    value comes after newer ones. Newness is event time, then known time; as
    each entity's numbers are above those of all before it, one running maximum
    serves all entities.
    """
    runs = np.cumsum(np.concatenate([[False], entities[1:] != entities[:-1]])[: len(entities)])
    newness = np.lexsort((clock, events, runs))
    rank = np.empty(len(newness), dtype=np.int64)
    rank[newness] = np.arange(len(newness))
    newest: Integers = newness[np.maximum.accumulate(rank)]
    return newest


def _stretches(begins: Integers, sizes: Integers) -> Integers:
    """Give the places of several stretches, one after the other."""
    ends = np.cumsum(sizes)
    places: Integers = np.arange(int(sizes.sum())) + np.repeat(begins - (ends - sizes), sizes)
    return places


def _last_until(clock: Integers, low: Integers, high: Integers, moments: Integers) -> Integers:
    """Find the last place in `[low, high)` whose time is not after the moment, `low - 1` where there is none.

    All searches are halved together, so the steps are those of the longest run.
    """
    low, high = low.copy(), high.copy()
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        before = (low < high) & (clock[np.minimum(middle, len(clock) - 1)] <= moments)
        low = np.where(before, middle + 1, low)
        high = np.where(before, high, np.minimum(middle, high))
    return low - 1
