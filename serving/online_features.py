"""Fetch the features of entities within a deadline, or fall back to what the model declares, and say so.

A value that is older than its view allows at the row's moment, or later than
that moment, is missing, as it is where a training row is joined. Where the
store fails, all its values become those of the model's reference (the median,
the most frequent text), or the request is refused, as the settings say.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from baton.core.errors import BatonError, DependencyDown
from baton.core.profile import Profile, profile_from_json
from baton.packaging.rows import TEXT
from baton.serving.breaker import Breaker, BreakerOpen
from baton.serving.online_map import OnlineMap, OnlineView, read_map
from baton.serving.online_request import KEYED, parse_entities
from baton.serving.online_store import Found, OnlineStore, Stored, opened
from baton.serving.request_body import PredictionRequest, read_body
from baton.serving.request_schema import parse_rows

if TYPE_CHECKING:
    from baton.serving.metrics import Metrics
    from baton.serving.predictor import Predictor
    from baton.serving.serving_settings import ServingSettings

log = logging.getLogger(__name__)

STORE = "feast"
ONLINE, FALLBACK = "online", "fallback"
# Often enough to notice that it is well again, seldom enough that its deadline shows in no percentile.
PAUSE_S = 1.0
FAILURES = 5
# How often the map is looked at for a newer one.
LOOK_S = 1.0


class FeaturesDown(DependencyDown):
    """The online store does not answer, and the model may not guess."""

    retry_after_s = PAUSE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A map with its store, and the mark of the file that it was read from."""

    found: OnlineMap
    store: OnlineStore
    mark: tuple[int, int]


class OnlineFeatures:
    """The features of one model's entities."""

    def __init__(self, settings: ServingSettings, *, metrics: Metrics) -> None:
        self._folder = settings.folder / STORE
        self._settings = settings
        self._metrics = metrics
        self._breaker = Breaker("the online store", failures=FAILURES, pause_s=PAUSE_S)
        self._defaults: WeakKeyDictionary[Predictor, dict[str, Any]] = WeakKeyDictionary()
        self._open: _Open | None = None
        self._looked = float("-inf")
        self._said = ""

    @property
    def found(self) -> OnlineMap | None:
        """What the store holds, or None where there is none."""
        return self._map()

    def asked(self, content: bytes) -> bool:
        """Whether a body names entities alone, and there is a store to ask."""
        # Nearly all bodies have no such key, and finding that out must cost them nothing.
        return b'"entities"' in content and KEYED.search(content) is not None and self._map() is not None

    async def request(self, content: bytes, predictor: Predictor) -> PredictionRequest:
        """Give the checked rows of a body that names entities.

        Raises:
            BodyUnreadable: It is no strict JSON.
            RequestRefused: It breaks the schema.
            FeaturesDown: The store failed and the settings allow no fallback.
        """
        found = self._map()
        assert found is not None, "asked() comes first"
        fields = predictor.bundle.fields
        asked = parse_entities(read_body(content), fields, found, most_rows=self._settings.max_request_rows)
        moments = asked.moments or (datetime.now(timezone.utc),) * len(asked.entities)
        stored = await self._look_up(found, asked.entities)
        self._late(found)
        rows, flags = [], []
        for entity, own, moment in zip(asked.entities, asked.own, moments, strict=True):
            values, missing = self._values(found, stored, entity, moment, self._defaults_of(predictor))
            if asked.left_out:
                missing["request"] = "not given"
            row = dict.fromkeys(asked.left_out) | dict(own) | values
            rows.append({field.name: row.get(field.name) for field in fields})
            flag: dict[str, Any] = {"features": FALLBACK if stored is None else ONLINE}
            flags.append(flag | ({"missing": missing} if missing else {}))
        self._metrics.online.labels(FALLBACK if stored is None else ONLINE).inc(len(rows))
        return PredictionRequest(
            rows=parse_rows(rows, fields),
            entities=tuple("|".join(entity[name] for name in found.entities) for entity in asked.entities),
            moments=asked.moments,
            flags=tuple(flags),
        )

    async def close(self) -> None:
        """Let go of the store."""
        if self._open is not None:
            await self._open.store.close()

    async def _look_up(self, found: OnlineMap, entities: Sequence[Mapping[str, str]]) -> Found | None:
        """Ask the store within the deadline; None where it fails and a fallback is allowed."""
        wanted = list(
            {
                (view.name, each[view.entity]): (view, each[view.entity]) for each in entities for view in found.views
            }.values()
        )
        try:
            # A caller that leaves says nothing of the store.
            with self._breaker.guarding(lambda error: not isinstance(error, asyncio.CancelledError)):
                async with asyncio.timeout(self._settings.online_ms / 1e3):
                    assert self._open is not None
                    return await self._open.store.read(wanted)
        except BreakerOpen as error:
            reason: Exception = error
        except Exception as error:  # noqa: BLE001 - drivers have no common base, and none may reach a caller
            reason = error
            self._say(type(error).__name__)
        if self._settings.online_fallback == "refuse":
            raise FeaturesDown(
                what="the features cannot be fetched", why=type(reason).__name__, fix="send whole rows, or try again"
            ) from reason
        return None

    def _values(
        self,
        found: OnlineMap,
        stored: Found | None,
        entity: Mapping[str, str],
        moment: datetime,
        defaults: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Give an entity's values with, by view, why values are missing."""
        values: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for view in found.views:
            names = [value.name for value in view.values]
            if stored is None:
                values |= {name: defaults.get(name) for name in names}
                continue
            held = stored.get((view.name, entity[view.entity]))
            why = _why_missing(held, view, moment)
            if why:
                missing[view.name] = why
                self._metrics.online.labels(why).inc()
                known = defaults if why == "unknown" and self._settings.online_unknown == "defaults" else {}
                values |= {name: known.get(name) for name in names}
            else:
                assert held is not None
                values |= {name: held.values.get(name) for name in names}
        return values, missing

    def _defaults_of(self, predictor: Predictor) -> Mapping[str, Any]:
        defaults = self._defaults.get(predictor)
        if defaults is None:
            defaults = self._defaults[predictor] = defaults_of(profile_from_json(predictor.profile))
        return defaults

    def _map(self) -> OnlineMap | None:
        """Give the map in force; a newer one is taken, and a broken one leaves the last good one."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            try:
                self._look()
            except (BatonError, OSError, ValueError) as error:
                self._say(str(error))
        return self._open.found if self._open else None

    def _look(self) -> None:
        from baton.serving.online_map import MAP_FILE

        try:
            facts = (self._folder / MAP_FILE).stat()
        except FileNotFoundError:
            return
        mark = (facts.st_mtime_ns, facts.st_ino)
        if self._open is not None and self._open.mark == mark:
            return
        found = read_map(self._folder)
        if found is None:
            return
        self._tell(found)
        before = self._open
        if before is not None and (before.found.project, before.found.sqlite) == (found.project, found.sqlite):
            # The same store with newer values.
            self._open = _Open(found=found, store=before.store, mark=mark)
            return
        seconds = self._settings.online_ms / 1e3
        self._open = _Open(found=found, store=opened(found, url=self._settings.online_url, seconds=seconds), mark=mark)

    def _tell(self, found: OnlineMap) -> None:
        """Tell the metrics how old the values are and may be; the alarm compares the two."""
        for view in found.views:
            self._metrics.online_as_of.labels(view.name).set(found.as_of.timestamp())
            if view.fresh_seconds:
                self._metrics.online_limit.labels(view.name).set(view.fresh_seconds)

    def _late(self, found: OnlineMap) -> None:
        """Say it where the store is further behind than declared, and count it."""
        behind = datetime.now(timezone.utc) - found.as_of
        for view in found.views:
            if view.fresh_seconds and behind.total_seconds() > view.fresh_seconds:
                self._metrics.online.labels("behind").inc()
                self._say(f"{view.name} is further behind than its declared {view.fresh_seconds / 60:g} minutes")

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            log.warning("online_features_failed", extra={"reason": reason})


def defaults_of(profile: Profile) -> dict[str, Any]:
    """Give each feature's stand-in: a number's median, a text's most frequent value, or none where most are missing."""
    defaults: dict[str, Any] = {}
    for column in profile.columns:
        if column.kind == TEXT:
            likeliest = max(range(len(column.values)), key=lambda at: column.shares[at], default=None)
            defaults[column.name] = None if likeliest is None else column.values[likeliest]
        else:
            defaults[column.name] = column.quantiles[len(column.quantiles) // 2] if column.quantiles else None
    return defaults


def _why_missing(held: Stored | None, view: OnlineView, moment: datetime) -> str:
    """Say why a view has no values at a moment, or nothing where it has."""
    if held is None:
        return "unknown"
    age = moment.timestamp() - held.at
    if age < 0:
        return "future"
    return "stale" if view.ttl_seconds is not None and age > view.ttl_seconds else ""
