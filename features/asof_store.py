"""A Feast offline store over Parquet files whose point-in-time join is a real as-of join.

Feast loads it by name, from `offline_store: {type: baton.features.asof_store.AsofOfflineStore}`;
only then is this module imported, and Feast with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.repo_config import FeastConfigBaseModel

from baton.features.asof_history import History, all_known, as_known, newest_known_of_each
from baton.features.asof_join import Questions, nanoseconds

MOMENT = "event_timestamp"


class AsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """How Feast's configuration names the store; it has no settings of its own."""

    type: Literal["baton.features.asof_store.AsofOfflineStore"] = "baton.features.asof_store.AsofOfflineStore"


class AsofJob(RetrievalJob):  # type: ignore[misc]
    """A retrieval that runs when it is asked for its result."""

    def __init__(self, run: Callable[[], pa.Table], metadata: RetrievalMetadata | None = None) -> None:
        self._run = run
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether names carry their view; see `get_historical_features`."""
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """No view is computed on demand: a definition is computed once, before it is published."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 - Feast's interface
        return self._run()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # noqa: ARG002 - Feast's interface
        frame: pd.DataFrame = self._run().to_pandas()
        return frame


class AsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Parquet files joined as of each row's moment: rows in are rows out, in order, with their types.

    A value counts from the later of its event time and its created time, if
    its source has one, whether or not `filter_by_created_timestamp` is set:
    what was not known yet is never joined.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(  # noqa: PLR0917 - Feast's interface
        config: Any,  # noqa: ARG004
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: Any,  # noqa: ARG004
        project: str,  # noqa: ARG004
        full_feature_names: bool = False,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> AsofJob:
        """Add the values of each view as known at each row's `event_timestamp`."""
        if not isinstance(entity_df, pd.DataFrame):
            raise NotImplementedError("the as-of store joins data frames, not queries")
        moments = entity_df[MOMENT]
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[c for c in entity_df.columns if c != MOMENT],
            min_event_timestamp=moments.min(),
            max_event_timestamp=moments.max(),
        )

        def run() -> pa.Table:
            joined = pa.Table.from_pandas(entity_df, preserve_index=False)
            for view in feature_views:
                name = view.projection.name_to_use()
                wanted = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == name]
                values = _as_known(entity_df, view, wanted)
                for column in wanted:
                    joined = joined.append_column(f"{name}__{column}" if full_feature_names else column, values[column])
            return joined

        return AsofJob(run, metadata)

    @staticmethod
    def pull_latest_from_table_or_query(  # noqa: PLR0917 - Feast's interface
        config: Any,  # noqa: ARG004
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> AsofJob:
        """Give the newest value of each entity known from `start_date` to `end_date`, for the online store."""

        def run() -> pa.Table:
            history = _history(data_source, join_key_columns, timestamp_field, created_timestamp_column)
            return newest_known_of_each(history, feature_name_columns, start=start_date, end=end_date)

        return AsofJob(run)

    @staticmethod
    def pull_all_from_table_or_query(  # noqa: PLR0917 - Feast's interface
        config: Any,  # noqa: ARG004
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsofJob:
        """Give every value known from `start_date` to `end_date`."""

        def run() -> pa.Table:
            history = _history(data_source, join_key_columns, timestamp_field, created_timestamp_column)
            return all_known(history, feature_name_columns, start=start_date, end=end_date)

        return AsofJob(run)


def _history(source: Any, keys: list[str], event: str, created: str | None) -> History:
    return History(path=Path(source.path), keys=keys, event=event, created=created or None)


def _as_known(rows: pd.DataFrame, view: Any, wanted: list[str]) -> pa.Table:
    """Look one view up for every row, in the rows' order."""
    source = view.batch_source
    keys = [column.name for column in view.entity_columns]
    asked = [rows[view.projection.join_key_map.get(key, key)] for key in keys]
    # Feast says "for ever" with a zero.
    questions = Questions(asked, nanoseconds(rows[MOMENT]), ttl=view.ttl or None)
    return as_known(questions, _history(source, keys, source.timestamp_field, source.created_timestamp_column), wanted)
