"""Replay served requests: recompute their features from what had landed by their moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from baton.core.errors import EmptyWindow
from baton.monitoring.skew import Fault, Replayed, Skew, name_skew
from baton.monitoring.view_replay import ViewReplay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from baton.compose import Platform
    from baton.core.spec import ModelSpec
    from baton.features.source import Definitions

Tables = Mapping[str, pd.DataFrame]
REQUESTS = 1_000
INSTANT = pd.Timedelta(1, unit="us")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewReport:
    """What a replay found: how many requests it could recompute, and each feature that was served otherwise."""

    requests: int
    unknown: int
    skews: tuple[Skew, ...]

    @property
    def skewed(self) -> bool:
        """Whether a feature was served otherwise than training sees it; a replay of nothing proves nothing."""
        return bool(self.skews)


def replay_skew(platform: Platform, *, as_of: datetime, requests: int = REQUESTS) -> SkewReport:
    """Replay a sample of the requests in the log for moments before `as_of`.

    Raises:
        EmptyWindow: No request is in the log whose features have landed.
    """
    from baton.monitoring.prediction_window import FEATURE_PREFIX, read_predictions

    spec, landing = platform.spec, platform.landing
    through = min([as_of, *(landing.landed_through(name) or as_of for name in spec.source.tables)])
    start = as_of - timedelta(days=spec.drift.window_days)
    log = read_predictions(platform.predictions, start=start, end=through) if start < through else pd.DataFrame()
    if log.empty:
        raise EmptyWindow(
            what="nothing to replay",
            why=f"no request of the last {spec.drift.window_days} days has its features landed",
            fix="run baton ingest, then ask again",
        )
    sample = log.sample(min(requests, len(log)), random_state=spec.seed).sort_values("moment", kind="stable")
    served = sample.rename(columns=lambda name: name.removeprefix(FEATURE_PREFIX)).reset_index(drop=True)
    return compare(spec, landing.read_all(as_of=through), platform.definitions, served, as_of=through)


def compare(
    spec: ModelSpec, tables: Tables, definitions: Definitions, served: pd.DataFrame, *, as_of: datetime
) -> SkewReport:
    """Recompute requests from landed tables, and name what differs.

    Args:
        spec: The project.
        tables: What has landed; what of it became known later than a request is not used for it.
        definitions: The project's features.
        served: One request a row: `entity`, `moment` and the features as used.
        as_of: Nothing known at this moment or later is used.
    """
    asked = _asked(spec, definitions.request(tables), served)
    known = asked["known"].to_numpy(np.bool_)
    served, asked = served[known].reset_index(drop=True), asked[known].reset_index(drop=True)
    replayed = _of_requests(spec, served, asked) + _of_views(spec, tables, definitions, served, asked, as_of=as_of)
    skews = tuple(skew for each in replayed if (skew := name_skew(each)) is not None)
    return SkewReport(requests=len(served), unknown=int((~known).sum()), skews=skews)


def _asked(spec: ModelSpec, rows: pd.DataFrame, served: pd.DataFrame) -> pd.DataFrame:
    """Give whom each request was about, and what its own features should have been where its id is known.

    A request names the thing to predict by its id, or the entities alone,
    joined in order of their names.
    """
    keys, own = list(spec.features.entities), [name for name in spec.features.request if name in served]
    rows = rows.drop_duplicates(spec.prediction.id, keep="last").set_index(spec.prediction.id)
    found = rows.reindex(served["entity"])[list(dict.fromkeys([*keys, *own]))].reset_index(drop=True)
    by_id = served["entity"].isin(rows.index).to_numpy()
    parts = served["entity"].str.split("|")
    # Keys with the separator in them cannot be told apart, and are left out.
    by_keys = ~by_id & (parts.str.len() == len(keys)).to_numpy() if keys else np.zeros(len(served), dtype=np.bool_)
    for at, key in enumerate(keys):
        found.loc[by_keys, key] = parts[by_keys].str[at]
    return found.assign(known=by_id | by_keys, by_id=by_id)


def _of_requests(spec: ModelSpec, served: pd.DataFrame, asked: pd.DataFrame) -> list[Replayed]:
    mine = asked["by_id"].to_numpy(np.bool_)
    names = [name for name in spec.features.request if name in served and name in asked]
    return [
        Replayed(
            feature=name,
            served=_column(spec, served[name])[mine],
            expected=_column(spec, asked[name])[mine],
        )
        for name in names
        if mine.any()
    ]


def _of_views(
    spec: ModelSpec,
    tables: Tables,
    definitions: Definitions,
    served: pd.DataFrame,
    asked: pd.DataFrame,
    *,
    as_of: datetime,
) -> list[Replayed]:
    views = definitions.views(tables, as_of=as_of)
    # Where each row is known an instant later, a window ends just before its moment.
    later = {name: _later(table, spec.source.tables[name].known_time) for name, table in tables.items()}
    bounded = definitions.views(later, as_of=as_of)
    found: list[Replayed] = []
    for name, view in spec.features.views.items():
        look_up = partial(
            ViewReplay, entity=view.entity, entities=asked[view.entity], moments=served["moment"], ttl=view.ttl
        )
        replay, boundary = look_up(views[name]), look_up(bounded[name])
        found += [
            Replayed(
                feature=feature,
                served=_column(spec, served[feature]),
                expected=replay.values(feature),
                otherwise={Fault.WINDOW_BOUNDARY: boundary.values(feature)},
                replay=replay,
                fresh=view.fresh,
            )
            for feature in view.values  # noqa: PD011 - a field of the spec, not a frame
            if feature in served
        ]
    return found


def _later(table: pd.DataFrame, known_time: str) -> pd.DataFrame:
    return table.assign(**{known_time: table[known_time] + INSTANT})


def _column(spec: ModelSpec, column: pd.Series) -> NDArray[Any]:
    if column.name in spec.features.text:
        return column.to_numpy(object)
    return column.to_numpy(np.float64, na_value=np.nan)
