"""What a suite of data tests costs: a million rows of fifty columns, beside Great Expectations' own engine on pandas.

Both check the same suite, the one that the rows themselves suggest, on the same frame in the same process, and find the
same. `ROWS` and `COLUMNS` change the size.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from printed import Line, print_lines

from baton.core.spec import ModelSpec, TableSpec, spec_from
from baton.settings import Settings, quiet_vendors
from baton.validation.derived_suite import derive_expectations
from baton.validation.great_expectations_builder import build_suite
from baton.validation.great_expectations_suite import DataTests

ROWS = int(os.environ.get("ROWS", "1_000_000"))
COLUMNS = int(os.environ.get("COLUMNS", "50"))
DAYS = 30
SAMPLE = 100_000
# Every so many columns one is text, one is a code; the others are numbers, some with holes.
TEXT_EVERY, CODE_EVERY, HOLES_EVERY = 5, 7, 3


def made(rows: int, columns: int, *, seed: int) -> pd.DataFrame:
    """Give a table with a key, two times and other columns up to `columns`."""
    rng = np.random.default_rng(seed)
    known = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(
        np.sort(rng.random(rows)) * DAYS * 86_400_000, unit="ms"
    )
    table: dict[str, Any] = {"id": np.arange(rows), "event_time": known, "known_time": known}
    names = np.array([f"value-{number:03d}" for number in range(60)], dtype=object)
    for at in range(columns - len(table)):
        if at % TEXT_EVERY == 0:
            table[f"text_{at}"] = rng.choice(names, size=rows)
        elif at % CODE_EVERY == 0:
            table[f"code_{at}"] = rng.integers(0, 8, size=rows)
        else:
            numbers = rng.lognormal(1, 1, size=rows)
            table[f"number_{at}"] = np.where(rng.random(rows) < 0.02, np.nan, numbers) if at % HOLES_EVERY else numbers
    return pd.DataFrame(table)


def project(suite: list[Any]) -> ModelSpec:
    """Give a project of one table with a suite."""
    table = {"key": ["id"], "expectations": [each.model_dump() for each in suite]}
    return spec_from(
        {
            "name": "data",
            "source": {"reader": "source.py:read", "tables": {"rows": table}},
            "features": {"request": ["number_1"]},
            "prediction": {"id": "id", "moment": "event_time"},
            "label": {"table": "rows", "column": "code_7"},
        }
    )


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Give how long something takes, in seconds, and what it gives."""
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def figures() -> Iterator[Line]:
    """Check a suite by counting in DuckDB, and by Great Expectations' own engine alone."""
    with tempfile.TemporaryDirectory() as folder:
        quiet_vendors(Settings(home=Path(folder)))
        rows = made(ROWS, COLUMNS, seed=1)
        sample = rows.sample(min(SAMPLE, ROWS), random_state=1)
        derived, suite = timed(lambda: derive_expectations(sample, TableSpec(key=["id"])))
        spec = project(suite)
        tests = DataTests(Path(folder) / "checks", spec)
        tests.check("rows", rows.head(1000), batch="loads what has to be loaded")
        wall, checked = timed(lambda: tests.check("rows", rows, batch="all"))
        own = build_suite("own", "rows", suite).expectations
        peer, results = timed(lambda: tests._own_engine(rows, own))
    size = {"rows": ROWS, "columns": COLUMNS, "expectations": len(suite)}
    met = len(suite) - len(checked.report.failures)
    yield line("data_derived", derived, {**size, "rows": len(sample)}, met=None, ratio=None)
    yield line("data_own_engine", peer, size, met=sum(bool(result.success) for result in results), ratio=None)
    yield line("data", wall, size, met=met, ratio=round(peer / wall, 1))


def line(bench: str, seconds: float, size: dict[str, int], **figures: Any) -> Line:
    """Give one line of figures; `ratio` is how many times as long the own engine takes."""
    what = {"data_derived": "derive the suite from a sample", "data_own_engine": "Great Expectations on pandas"}
    return {"bench": bench, "what": what.get(bench, "Baton"), "wall_s": round(seconds, 2), **size, **figures}


if __name__ == "__main__":
    print_lines(figures(), title="A suite of data tests on one batch")
