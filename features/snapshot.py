"""Training tables: labelled rows with their features as known at each prediction moment, frozen under their digest.

Format version 1: `<digest>.parquet` with the columns id, moment, block, label,
label_known and the features; `<digest>.json` beside it with the file's own
SHA-256 and what the columns cannot say. A change of either gets a new version
number in the JSON and a reader for the old one. `keys/<key>.json` says which
snapshot some work ended in; it may be removed at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from baton.core.digest import digest_of_file, digest_of_frame
from baton.core.errors import DataRefused, EmptyWindow, IntegrityBroken, SourceMissing, listed
from baton.core.label_codes import label_codes
from baton.core.snapshot import Snapshot
from baton.core.spec import ModelSpec
from baton.features.durable import write_json, write_parquet
from baton.features.leak import audit_join
from baton.features.row_order import by_moment
from baton.features.snapshot_key import project_code, snapshot_key
from baton.features.source import Definitions, ProjectDefinitions

if TYPE_CHECKING:
    from baton.core.ports import FeatureStore
    from baton.features.landing import Landing

FORMAT = 1
# What reading a file raises that is gone or was changed.
UNREADABLE = (OSError, ValueError, KeyError, TypeError)
BLOCKS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}


def refresh(
    spec: ModelSpec, landing: Landing, definitions: Definitions, store: FeatureStore, *, as_of: datetime
) -> None:
    """Compute every view from what has landed before `as_of`, and publish it."""
    tables = _landed(spec, landing, as_of=as_of)
    if tables[spec.label.table].empty:
        # Views of nothing must not take the place of what is published.
        raise _nothing_known(spec, as_of=as_of)
    store.publish(definitions.views(tables, as_of=as_of))


def freeze(
    spec: ModelSpec,
    landing: Landing,
    definitions: Definitions,
    store: FeatureStore,
    *,
    as_of: datetime,
    folder: Path,
    start: datetime | None = None,
) -> Snapshot:
    """Freeze the rows whose label was known before `as_of`, audited, to a file named by its content.

    The store's views must have been refreshed at `as_of`. Work that was done
    before, in this process or another, is not done again; see `frozen`.

    Args:
        spec: The project.
        landing: Where the project's rows have landed.
        definitions: The project's features.
        store: Where the views are published.
        as_of: Nothing known at this moment or later is used.
        folder: Where snapshots are kept.
        start: Rows with an earlier prediction moment are left out.

    Raises:
        EmptyWindow: No row has a label yet.
        DataRefused: The join lost rows, or it shows what was not known yet.
    """
    key = _key(spec, landing, definitions, as_of=as_of, start=start)
    if key is not None and (done := _recall(folder, key, as_of=as_of)) is not None:
        return done
    tables = _landed(spec, landing, as_of=as_of)
    rows = _labelled(spec, tables, definitions)
    rows = rows[
        (rows[spec.prediction.moment] < as_of) & (True if start is None else rows[spec.prediction.moment] >= start)
    ]
    if rows.empty:
        raise _nothing_known(spec, as_of=as_of)
    frame = _featured(spec, rows, store, extra=["label", "label_known"])
    audit_join(frame, spec, tables, definitions)
    snapshot = _store(frame, folder, as_of=as_of)
    # Code that was edited meanwhile is not the code that did this work.
    if key is not None and key == _key(spec, landing, definitions, as_of=as_of, start=start):
        _remember(folder, key, snapshot)
    return snapshot


def frozen(
    spec: ModelSpec, landing: Landing, *, as_of: datetime, folder: Path, start: datetime | None = None
) -> Snapshot | None:
    """Give the snapshot that `freeze` has made of the same rows, declarations and code, or None.

    Where there is one, `refresh` and `freeze` have nothing to add. Its bytes
    are verified; one that was changed is None, and `freeze` makes it anew.
    """
    return _recall(folder, snapshot_key(spec, landing, as_of=as_of, start=start), as_of=as_of)


def frame(snapshot: Snapshot) -> pd.DataFrame:
    """Read a snapshot's rows.

    Raises:
        IntegrityBroken: The file is gone, or its bytes are not the ones that were frozen.
    """
    beside = snapshot.path.with_suffix(".json")
    if not snapshot.path.is_file() or not beside.is_file():
        raise IntegrityBroken(what="a snapshot is gone", why=f"no {snapshot.path.name}", fix="freeze it again")
    if not _whole(snapshot.path):
        raise IntegrityBroken(
            what=f"snapshot {snapshot.digest[:12]} was changed",
            why=f"{snapshot.path.name} has other bytes than were frozen",
            fix="remove it and freeze it again",
        )
    return pd.read_parquet(snapshot.path)


def find(folder: Path, digest: str) -> Snapshot:
    """Give a snapshot that was frozen earlier, by its digest.

    Raises:
        SourceMissing: There is no such snapshot.
    """
    beside = folder / f"{digest}.json"
    if not beside.is_file():
        raise SourceMissing(what=f"no snapshot {digest[:12]}", why=f"looked in {folder}", fix="freeze one")
    said = json.loads(beside.read_bytes())
    return Snapshot(
        path=folder / f"{digest}.parquet",
        digest=digest,
        columns=tuple(said["columns"]),
        rows=said["rows"],
        start=datetime.fromisoformat(said["start"]),
        end=datetime.fromisoformat(said["end"]),
        as_of=datetime.fromisoformat(said["as_of"]),
    )


def traffic(
    spec: ModelSpec,
    tables: Mapping[str, pd.DataFrame],
    definitions: Definitions,
    store: FeatureStore,
    *,
    start: datetime,
    end: datetime,
) -> pd.DataFrame:
    """Give the rows to predict in `[start, end)` with all features, as a caller of the service would send them.

    The same code as `freeze`, without labels. Tables and views must be as of
    `end` or later: a request counts from its prediction moment on, when all
    that its features are made of has landed.
    """
    moment = spec.prediction.moment
    rows = definitions.request(tables)
    return _featured(spec, rows[(rows[moment] >= start) & (rows[moment] < end)], store, extra=[])


def _key(
    spec: ModelSpec, landing: Landing, definitions: Definitions, *, as_of: datetime, start: datetime | None
) -> str | None:
    """Name the work, or give None where definitions are not the project's code as it is now."""
    if not isinstance(definitions, ProjectDefinitions) or definitions.code != project_code(spec):
        return None
    return snapshot_key(spec, landing, as_of=as_of, start=start)


def _remember(folder: Path, key: str, snapshot: Snapshot) -> None:
    said = digest_of_file(snapshot.path.with_suffix(".json"))
    write_json(folder / "keys" / f"{key}.json", {"snapshot": snapshot.digest, "said": said})


def _recall(folder: Path, key: str, *, as_of: datetime) -> Snapshot | None:
    """Give the snapshot that some work ended in: the key vouches for the JSON beside it, and that for the rows."""
    try:
        known = json.loads((folder / "keys" / f"{key}.json").read_bytes())
        digest, said = known["snapshot"], known["said"]
        if digest_of_file(folder / f"{digest}.json") != said:
            return None
    except UNREADABLE:
        return None
    return _intact(folder, digest, as_of=as_of)


def _intact(folder: Path, digest: str, *, as_of: datetime) -> Snapshot | None:
    """Give a snapshot whose rows are the bytes that were frozen, or None."""
    try:
        # The same rows may have been frozen first at another moment.
        return replace(find(folder, digest), as_of=as_of) if _whole(folder / f"{digest}.parquet") else None
    except UNREADABLE:
        return None


def _whole(path: Path) -> bool:
    """Whether a snapshot's rows are there and are the bytes that were frozen."""
    try:
        said = json.loads(path.with_suffix(".json").read_bytes())["file"]
    except UNREADABLE:
        return False
    return path.is_file() and digest_of_file(path) == said


def _landed(spec: ModelSpec, landing: Landing, *, as_of: datetime) -> dict[str, pd.DataFrame]:
    tables = landing.read_all(as_of=as_of)
    absent = [name for name in spec.source.tables if tables[name].columns.empty]
    if absent:
        raise EmptyWindow(
            what="not every table has rows",
            why=f"nothing has landed for {listed(absent)}",
            fix="ingest a later --as-of",
        )
    return tables


def _nothing_known(spec: ModelSpec, *, as_of: datetime) -> EmptyWindow:
    return EmptyWindow(
        what="no row to freeze",
        why=f"no label of {spec.label.table} was known before {as_of:%Y-%m-%d %H:%M %Z}",
        fix="choose a later --as-of or land more data",
    )


def _labelled(spec: ModelSpec, tables: Mapping[str, pd.DataFrame], definitions: Definitions) -> pd.DataFrame:
    """Join each request row with its label and the moment at which the label became known."""
    source = spec.source.tables[spec.label.table]
    labels = tables[spec.label.table][[spec.prediction.id, spec.label.column, source.known_time]]
    # A corrected label replaces the one before it; landed rows are in order of known time.
    newest = labels[labels[spec.label.column].notna()].drop_duplicates(spec.prediction.id, keep="last")
    rows = definitions.request(tables)
    if twice := int(rows[spec.prediction.id].duplicated().sum()):
        raise DataRefused(
            what=f"{spec.prediction.id} names more than one row",
            why=f"{twice} request rows repeat an id, and a label would count for each",
            fix="give every row an id of its own in the definitions",
        )
    place = pd.Index(newest[spec.prediction.id]).get_indexer(pd.Index(rows[spec.prediction.id]))
    found = newest.iloc[place[place >= 0]]
    labelled: pd.DataFrame = rows[place >= 0].copy()
    labelled["label"] = label_codes(found[spec.label.column], spec.label.classes).to_numpy(np.float64)
    labelled["label_known"] = found[source.known_time].array
    return labelled


def _featured(spec: ModelSpec, rows: pd.DataFrame, store: FeatureStore, *, extra: list[str]) -> pd.DataFrame:
    """Add the views' values, and give every column the name, type and place that it has in training and serving."""
    moment, names = spec.prediction.moment, spec.features.names
    joined = store.historical(rows, moment=moment).rename(columns={spec.prediction.id: "id"})
    # A moment may itself be a feature's name; it is kept under both.
    joined = joined.assign(moment=joined[moment], block=_blocks(joined[moment], joined["id"], spec))
    joined = by_moment(joined)
    columns = {column: joined[column] for column in ["id", "moment", "block", *extra]}
    columns |= {name: _feature(joined[name], text=name in spec.features.text) for name in names}
    return pd.DataFrame(columns)


def _feature(column: pd.Series, *, text: bool) -> pd.Series:
    if text:
        return column.fillna("").astype(str)
    # The exported model takes float32. A value that is rounded here, once, is
    # the same number in training, parity proof and service.
    return pd.Series(column.to_numpy(np.float32).astype(np.float64), index=column.index)


def _blocks(moments: pd.Series, ids: pd.Series, spec: ModelSpec) -> pd.Series:
    """Name the block of rows that share luck: the local day or hour, or each row alone."""
    if spec.prediction.block == "none":
        return ids
    # A zone's offset is a whole number of quarter hours, so the local clock is
    # asked once per quarter hour and not once per row.
    quarters = moments.dt.floor("15min")
    local = quarters.drop_duplicates()
    names = local.dt.tz_convert(spec.prediction.timezone).dt.strftime(BLOCKS[spec.prediction.block])
    place = pd.Index(local).get_indexer(pd.Index(quarters))
    return pd.Series(names.to_numpy()[place], index=moments.index)


def _store(frame: pd.DataFrame, folder: Path, *, as_of: datetime) -> Snapshot:
    digest = digest_of_frame(frame)
    path = folder / f"{digest}.parquet"
    snapshot = Snapshot(
        path=path,
        digest=digest,
        columns=tuple(frame.columns),
        rows=len(frame),
        start=frame["moment"].iloc[0].to_pydatetime(),
        end=frame["moment"].iloc[-1].to_pydatetime(),
        as_of=as_of,
    )
    if _intact(folder, digest, as_of=as_of) != snapshot:
        write_parquet(path, frame)
        said = {name: getattr(snapshot, name) for name in ("columns", "rows", "start", "end", "as_of")}
        # Last, so that a snapshot with this file is whole.
        write_json(path.with_suffix(".json"), {**said, "format": FORMAT, "file": digest_of_file(path)})
    return snapshot
