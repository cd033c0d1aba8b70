"""Feast as the feature store: Parquet history, SQLite registry and online values, one view per spec entry."""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.digest import digest_of
from baton.core.errors import DataRefused, DependencyDown, EmptyWindow, SourceMissing, listed
from baton.core.spec import ModelSpec, ViewSpec
from baton.features.durable import write_json, write_parquet
from baton.features.online_map import connection_string, mark_filled, write_map
from baton.features.row_order import in_order

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

MOMENT = "event_timestamp"
ONLINE_FILE, REGISTRY_FILE = "online.db", "registry.db"
# What the online values were known at, and what they are being filled with.
FILLED, FILLING = "materialized.json", "filling.json"
# Feast asks where history begins; nothing is older.
BEGINNING = datetime(1970, 1, 2, tzinfo=timezone.utc)


class FeastFeatureStore:
    """The feature store of one project, kept under one folder; implements `baton.core.ports.FeatureStore`."""

    def __init__(self, folder: Path, spec: ModelSpec, *, online_url: str | None = None) -> None:
        self._folder = folder.absolute()
        self._spec = spec
        # Redis for the online values; a SQLite file in the folder where left out.
        self._online_url = online_url
        self._opened: Any = None

    def publish(self, views: Mapping[str, pd.DataFrame]) -> None:
        """Replace the history of each view, a file at a time, each whole or not at all.

        Raises:
            SourceMissing: A view of model.yaml is not among them.
        """
        import pyarrow as pa

        absent = [name for name in self._spec.features.views if name not in views]
        if absent:
            raise SourceMissing(
                what="not every view can be published",
                why=f"nothing was computed for {listed(absent)}",
                fix="compute all views of model.yaml",
            )
        for name, view in self._spec.features.views.items():
            values = list(view.values)
            typed = self._typed(views[name][[view.entity, MOMENT, *values]], values)
            # Ordered history is what makes the as-of join quick.
            rows = in_order(pa.Table.from_pandas(typed, preserve_index=False), view.entity, MOMENT)
            write_parquet(self._file(name), rows)

    def historical(self, rows: pd.DataFrame, *, moment: str) -> pd.DataFrame:
        """Add every view's values as known at each row's `moment`; same rows, same order.

        Raises:
            DataRefused: Feast gave other rows than it was asked for.
        """
        if not self._spec.features.views:
            return rows.copy()
        entities = rows[[moment, *self._spec.features.entities]].rename(columns={moment: MOMENT})
        entities = entities.assign(_row=range(len(rows)))
        store = self._feast()
        with _asking("join"):
            joined = store.get_historical_features(entity_df=entities, features=self._references()).to_df()
        if len(joined) != len(rows) or (joined["_row"].to_numpy() != entities["_row"].to_numpy()).any():
            raise DataRefused(
                what="the join did not keep its rows",
                why=f"{len(rows)} rows went in, {len(joined)} came out or in another order",
                fix="report it: no snapshot can be made with this store",
            )
        values = self._typed(joined[list(self._names())], self._names())
        return rows.assign(**{name: values[name].to_numpy() for name in self._names()})

    def materialize(self, *, as_of: datetime) -> None:
        """Make the values known at `as_of` the ones that `online` answers with."""
        store = self._feast()
        # Where this dies half-way, some values are those of this moment and the rest as old as before.
        write_json(self._folder / FILLING, {"as_of": as_of})
        # Feast draws progress bars and headings on the terminal.
        with _asking("materialise"), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            store.materialize(BEGINNING, as_of, feature_views=list(self._spec.features.views))
        write_json(self._folder / FILLED, {"as_of": as_of})
        (self._folder / FILLING).unlink()
        project = _project(self._spec.name)
        if self._online_url:
            with _asking("mark the online store"):
                mark_filled(self._online_url, project=project, as_of=as_of)
        write_map(
            self._folder, self._spec, project=project, as_of=as_of, sqlite=None if self._online_url else ONLINE_FILE
        )
        log.info("features_materialized", extra={"as_of": as_of.isoformat()})

    def online(self, entities: Sequence[Mapping[str, str]]) -> pd.DataFrame:
        """Give the values known at the last `materialize`, one row per entity row, in order.

        Feast returns values past their TTL and values from the future as if
        present; here both are missing.

        Raises:
            EmptyWindow: Nothing was ever materialised.
        """
        import pandas as pd

        as_of = self._materialized()
        store = self._feast()
        with _asking("look up"):
            answer = store.get_online_features(features=self._references(), entity_rows=list(map(dict, entities)))
        columns, results = answer.to_dict(), answer.proto.results
        stamps = dict(zip(answer.proto.metadata.feature_names.val, results, strict=True))
        current = {
            name: [
                value if _fresh(stamp.ToNanoseconds(), as_of, view.ttl) else None
                for value, stamp in zip(columns[name], stamps[name].event_timestamps, strict=True)
            ]
            for view in self._spec.features.views.values()
            for name in view.values  # noqa: PD011 - a field of the spec, not a frame
        }
        return self._typed(pd.DataFrame(current, dtype=object), self._names())

    def _typed(self, frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """Make every value that is not text a float, so that a missing one changes no type."""
        return frame.astype({name: "object" if name in self._spec.features.text else "float64" for name in names})

    def _names(self) -> tuple[str, ...]:
        return tuple(v for view in self._spec.features.views.values() for v in view.values)  # noqa: PD011

    def _references(self) -> list[str]:
        return [f"{name}:{value}" for name, view in self._spec.features.views.items() for value in view.values]  # noqa: PD011

    def _file(self, view: str) -> Path:
        return self._folder / "views" / f"{view}.parquet"

    def _materialized(self) -> datetime:
        """Give the moment of the newest values that may be online."""
        files = [file for file in (self._folder / FILLED, self._folder / FILLING) if file.is_file()]
        if not files:
            raise EmptyWindow(
                what="no online values", why="nothing was materialised yet", fix="materialize the store first"
            )
        return max(datetime.fromisoformat(json.loads(file.read_bytes())["as_of"]) for file in files)

    def _feast(self) -> Any:
        """Open Feast's store, applying the definitions where they have changed since the last time."""
        if self._opened is None:
            absent = [name for name in self._spec.features.views if not self._file(name).is_file()]
            if absent:
                raise EmptyWindow(
                    what="no feature history", why=f"nothing is published for {listed(absent)}", fix="publish the views"
                )
            applied = self._folder / "applied.json"
            wanted = {
                # The URL by its digest: it may hold a password.
                "features": digest_of([self._spec.features.model_dump(mode="json"), self._folder, self._online_url])
            }
            with _alone(self._folder):
                store, known = self._registered()
                same = applied.is_file() and json.loads(applied.read_bytes()) == wanted
                if not same or not known.issuperset(self._spec.features.views):
                    with _asking("take the definitions"):
                        store.apply(self._definitions())
                    write_json(applied, wanted)
            self._opened = store
        return self._opened

    def _registered(self) -> tuple[Any, set[str]]:
        """Open Feast's store with the names of the views in its registry; one that cannot be read is made anew.

        The registry holds nothing that model.yaml does not say, so nothing is lost with it.
        """
        from sqlalchemy.exc import DatabaseError

        try:
            store = self._open()
            return store, {view.name for view in store.list_feature_views()}
        except DatabaseError as error:
            log.warning("feature_registry_made_anew", extra={"reason": str(error).splitlines()[0]})
            for file in self._folder.glob(f"{REGISTRY_FILE}*"):
                file.unlink()
            return self._open(), set()

    def _open(self) -> Any:
        with _unchecked():
            from feast import FeatureStore, RepoConfig

        self._folder.mkdir(parents=True, exist_ok=True)
        return FeatureStore(
            config=RepoConfig(
                project=_project(self._spec.name),
                provider="local",
                registry={"registry_type": "sql", "path": f"sqlite:///{self._folder / REGISTRY_FILE}"},
                online_store=self._online_store(),
                offline_store={"type": "baton.features.asof_store.AsofOfflineStore"},
                # Only the newest value of each entity goes online; by default Feast reads all history to find it.
                materialization={"pull_latest_features": True},
                entity_key_serialization_version=3,
            )
        )

    def _online_store(self) -> dict[str, str]:
        if self._online_url:
            return {"type": "redis", "connection_string": connection_string(self._online_url)}
        with closing(sqlite3.connect(self._folder / ONLINE_FILE)) as file:
            # Kept in the file: whoever reads is not shut out while values are written.
            file.execute("PRAGMA journal_mode=WAL")
        return {"type": "sqlite", "path": str(self._folder / ONLINE_FILE)}

    def _definitions(self) -> list[Any]:
        from feast import Entity, ValueType

        entities = {
            name: Entity(name=name, join_keys=[name], value_type=ValueType.STRING)
            for name in self._spec.features.entities
        }
        views = [
            _feature_view(name, view, entities[view.entity], self._file(name), text=self._spec.features.text)
            for name, view in self._spec.features.views.items()
        ]
        return [*entities.values(), *views]


@contextmanager
def _unchecked() -> Iterator[None]:
    """Import Feast without run-time type checks of its own calls.

    Feast decorates its classes with typeguard's `typechecked`, which compiles
    every method a second time at import: 4 to 5 of 6 seconds. The checks only
    tell a caller of a wrong type, which mypy and the contract tests do here.
    """
    import typeguard

    def unchecked(target: Any = None, **_: Any) -> Any:
        return unchecked if target is None else target

    checked, typeguard.typechecked = typeguard.typechecked, unchecked
    try:
        yield
    finally:
        typeguard.typechecked = checked


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process changes the registry: of two that apply at once, Feast may lose one's views."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise DependencyDown(
            what=f"Feast could not {what}",
            why=f"{type(error).__name__}: {error}",
            fix="remove the feature store's folder and publish the views again",
        ) from error


def _feature_view(name: str, view: ViewSpec, entity: Any, file: Path, *, text: Sequence[str]) -> Any:
    from feast import FeatureView, Field, FileSource
    from feast.types import Float64, String

    return FeatureView(
        name=name,
        entities=[entity],
        ttl=view.ttl or timedelta(0),
        schema=[
            Field(name=entity.name, dtype=String),
            *(Field(name=v, dtype=String if v in text else Float64) for v in view.values),  # noqa: PD011
        ],
        source=FileSource(name=f"{name}_source", path=str(file), timestamp_field=MOMENT),
    )


def _fresh(stamp: int, as_of: datetime, ttl: timedelta | None) -> bool:
    """Whether a value was known at `as_of` and was not too old by then."""
    age = as_of - datetime.fromtimestamp(0, tz=timezone.utc) - timedelta(microseconds=stamp // 1_000)
    return stamp > 0 and age >= timedelta(0) and (ttl is None or age <= ttl)


def _project(name: str) -> str:
    """Give a name that Feast takes: letters, digits and underscores, no underscore first.

    Feast begins the names of its SQLite tables with it, and SQLite keeps those that begin with its own.
    """
    project = "".join(c if c.isalnum() else "_" for c in name)
    return f"m_{project}" if project.startswith("sqlite_") or project == "sqlite" else project
