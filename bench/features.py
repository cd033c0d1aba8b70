"""The point-in-time join: how fast beside polars and Feast's own stores, how right, and how much memory.

    make bench-features            tables
    make bench-features JSON=1     one JSON object a line
    FULL=1                         histories of 10 and 100 million rows for the memory, 10,000 for the check

Every engine reads the same Parquet file and gives one table, in the same run.
Ours is asked through Feast's `get_historical_features`, with all that Feast
adds; polars is the floor, told that the file is ordered, which spares it the
sorting. `leaks` are values that were not known at the row's moment, or were not
the newest, by comparison with a loop; `lost` are rows that did not come back.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from printed import Line, print_parts

from baton.features.asof_history import History, as_known
from baton.features.asof_join import NOTHING, Questions, nanoseconds
from baton.settings import Settings, quiet_vendors
from baton.testing.reference_join import reference_join

FULL = bool(os.environ.get("FULL"))
ROWS, HISTORY, FEATURES = 1_000_000, 10_000_000, 20
# What Feast's default store can do in less than a minute.
SMALL_ROWS, SMALL_HISTORY, SMALL_FEATURES = 100_000, 1_000_000, 2
EACH = 100  # values of an entity
REPEATS = 3
HISTORIES = 10_000 if FULL else 1_000
SECOND, YEAR = 1_000_000_000, 365 * 86_400
START = 1_704_067_200 * SECOND
OURS = "baton.features.asof_store.AsofOfflineStore"


def main() -> None:
    """Measure one part after the other, and print what was found."""
    if len(sys.argv) > 1:
        print(json.dumps(_peak(Path(sys.argv[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="bench-features-") as folder:
        quiet_vendors(Settings(home=Path(folder)))
        parts = (fast, beside_feast, right, bounded)
        print_parts([_named(part, Path(folder)) for part in parts])


def fast(folder: Path) -> Iterator[Line]:
    """A million rows, twenty features, ten million values: beside polars."""
    import polars as pl

    path, rows = _history(folder, HISTORY, FEATURES), _rows(ROWS, HISTORY)
    names = [f"v{at}" for at in range(FEATURES)]
    store = _store(folder, path, names, OURS)
    frame = pl.from_pandas(rows.assign(row=np.arange(len(rows))))

    def polars() -> Any:
        history = pl.read_parquet(path)
        ordered = frame.sort("who", "event_timestamp")
        return ordered.join_asof(history, on="event_timestamp", by="who", check_sortedness=False).sort("row")

    (seconds, joined), (floor, expected) = _in_turn(lambda: _asked(store, rows, names), polars)
    differing = sum(
        int((~_same(joined[name].to_numpy(zero_copy_only=False), expected[name].to_numpy())).sum()) for name in names
    )
    yield {
        "bench": "features",
        "part": "fast",
        "rows": len(rows),
        "features": FEATURES,
        "history": HISTORY,
        "seconds": round(seconds, 2),
        "polars_seconds": round(floor, 2),
        "ratio_to_polars": round(seconds / floor, 2),
        "leaks": differing,
        "lost": len(rows) - joined.num_rows,
    }


def beside_feast(folder: Path) -> Iterator[Line]:
    """A hundred thousand rows, two features, a million values: beside the stores that come with Feast."""
    path, rows = _history(folder, SMALL_HISTORY, SMALL_FEATURES), _rows(SMALL_ROWS, SMALL_HISTORY)
    names = [f"v{at}" for at in range(SMALL_FEATURES)]
    took = {}
    for kind in (OURS, "duckdb", "dask"):
        store = _store(folder, path, names, kind)
        runs = REPEATS if kind == OURS else 1
        ((took[kind], _),) = _in_turn(partial(_asked, store, rows, names), repeats=runs)
    yield {
        "bench": "features",
        "part": "beside_feast",
        "rows": len(rows),
        "features": SMALL_FEATURES,
        "history": SMALL_HISTORY,
        "seconds": round(took[OURS], 3),
        "feast_duckdb_seconds": round(took["duckdb"], 2),
        "feast_default_seconds": round(took["dask"], 2),
        "speedup_over_feast_duckdb": round(took["duckdb"] / took[OURS], 1),
        "speedup_over_feast_default": round(took["dask"] / took[OURS], 1),
    }


def right(folder: Path) -> Iterator[Line]:
    """Random histories with ties, late corrections and ages, beside a loop."""
    rng = np.random.default_rng(5)
    leaks = lost = asked = 0
    for _ in range(HISTORIES):
        rows, values, ttl = _drawn(rng)
        expected = reference_join(rows, values, on=["who"], ttl=ttl)
        # In pieces, so that corrections come in another part than what they correct.
        pq.write_table(pa.Table.from_pylist(values), folder / "drawn.parquet", row_group_size=int(rng.integers(1, 20)))
        frame = pd.DataFrame(rows)
        questions = Questions([frame["who"]], nanoseconds(frame["moment"]), ttl=ttl)
        history = History(path=folder / "drawn.parquet", keys=["who"], event="event", created="created")
        found = as_known(questions, history, ["place"])["place"].fill_null(NOTHING).to_pylist()
        asked += len(rows)
        lost += len(rows) - len(found)
        leaks += sum(one != other for one, other in zip(found, expected, strict=False))
    yield {
        "bench": "features",
        "part": "right",
        "histories": HISTORIES,
        "rows": asked,
        "leaks": leaks,
        "lost": lost,
    }


def bounded(folder: Path) -> Iterator[Line]:
    """Peak memory of a process that joins, and ten times the history."""
    size = HISTORY if FULL else HISTORY // 10
    peaks = {}
    for count in (size, 10 * size):
        path = _history(folder, count, FEATURES)
        told = subprocess.run([sys.executable, __file__, str(path)], check=True, capture_output=True, text=True).stdout
        peaks[count] = json.loads(told)["peak_mb"]
        yield {"bench": "features", "part": "bounded", "history": count, "rows": SMALL_ROWS, **json.loads(told)} | {
            "peak_ratio": round(peaks[count] / peaks[size], 2)
        }


def _peak(path: Path) -> Line:
    """Join in this process alone, and give its peak."""
    count = pq.read_metadata(path).num_rows
    rows = _rows(SMALL_ROWS, count)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    questions = Questions([rows["who"]], nanoseconds(rows["event_timestamp"]))
    history = History(path=path, keys=["who"], event="event_timestamp")
    as_known(questions, history, [f"v{at}" for at in range(FEATURES)])
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": round(seconds, 2), "before_mb": round(before / 1024), "peak_mb": round(after / 1024)}


def _history(folder: Path, count: int, features: int) -> Path:
    """Write a view ordered by entity and time, as the feature store publishes it; once."""
    path = folder / f"view-{count}-{features}.parquet"
    if path.exists():
        return path
    rng, at_once, writer = np.random.default_rng(0), 1_000_000, None
    for begin in range(0, count // EACH, at_once // EACH):
        entities = _names(np.repeat(np.arange(begin, begin + at_once // EACH), EACH))
        moments = np.sort(rng.integers(0, YEAR, (at_once // EACH, EACH)), axis=1).ravel()
        columns = {"who": pa.array(entities), "event_timestamp": _times(moments)}
        columns |= {f"v{at}": pa.array(rng.integers(0, 1_000, at_once).astype(np.float64)) for at in range(features)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


def _rows(count: int, history: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    # One in a hundred is nobody.
    who = _names(rng.integers(0, history // EACH * 101 // 100, count))
    return pd.DataFrame({"who": who, "event_timestamp": _times(rng.integers(0, YEAR, count)).to_pandas()})


def _names(numbers: Any) -> Any:
    return np.char.add("e", np.char.zfill(numbers.astype(str), 8)).astype(object)


def _times(seconds: Any) -> pa.Array:
    return pa.array((START + seconds * SECOND).view("datetime64[ns]"), pa.timestamp("ns", "UTC"))


def _store(folder: Path, path: Path, names: list[str], kind: str) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    project = f"p{abs(hash((path.name, kind))) % 10**8}"
    store = FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{folder}/{project}.db"},
            online_store={"type": "sqlite", "path": f"{folder}/{project}-online.db"},
            offline_store={"type": kind},
            entity_key_serialization_version=3,
        )
    )
    who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
    schema = [Field(name="who", dtype=String), *(Field(name=name, dtype=Float64) for name in names)]
    source = FileSource(path=str(path), timestamp_field="event_timestamp")
    store.apply([who, FeatureView(name="view", entities=[who], schema=schema, source=source, ttl=timedelta(0))])
    return store


def _asked(store: Any, rows: pd.DataFrame, names: list[str]) -> Any:
    return store.get_historical_features(entity_df=rows, features=[f"view:{name}" for name in names]).to_arrow()


def _in_turn(*runs: Callable[[], Any], repeats: int = REPEATS) -> list[tuple[float, Any]]:
    """Give each run's shortest time and last result; they take turns, so that what else goes on meets all of them."""
    found: list[tuple[float, Any]] = [(float("inf"), None)] * len(runs)
    for _ in range(repeats):
        for at, run in enumerate(runs):
            begun = time.perf_counter()
            result = run()
            found[at] = (min(found[at][0], time.perf_counter() - begun), result)
    return found


def _same(one: Any, other: Any) -> Any:
    return (one == other) | (np.isnan(one) & np.isnan(other))


def _drawn(rng: np.random.Generator) -> tuple[list[Line], list[Line], timedelta | None]:
    """Draw a history and rows that ask of it; times on a coarse grid, so that many tie."""
    start = pd.Timestamp("2024-01-01", tz="UTC").to_pydatetime()

    def times(count: int) -> list[Any]:
        return [start + timedelta(minutes=10 * int(at)) for at in rng.integers(0, 40, count)]

    many, few = int(rng.integers(0, 40)), int(rng.integers(1, 15))
    late = rng.choice([-30, 0, 0, 10, 90], many)
    values = [
        {"who": who, "event": event, "created": event + timedelta(minutes=int(wait)), "place": place}
        for place, (who, event, wait) in enumerate(zip(_people(rng, many), times(many), late, strict=True))
    ] or [{"who": "a", "event": start, "created": start, "place": 0}]
    rows = [{"who": who, "moment": at} for who, at in zip(_people(rng, few), times(few), strict=True)]
    return rows, values, [None, timedelta(minutes=30), timedelta(hours=2)][int(rng.integers(3))]


def _people(rng: np.random.Generator, count: int) -> list[str | None]:
    return [["a", "b", "c", None][at] for at in rng.integers(0, 4, count)]


def _named(part: Callable[[Path], Iterator[Line]], folder: Path) -> Callable[[], Iterator[Line]]:
    def run() -> Iterator[Line]:
        return part(folder)

    run.__doc__ = part.__doc__
    return run


if __name__ == "__main__":
    main()
