"""What data tests catch and what they stop by mistake: faults planted in real days, beside 200 days that are clean.

The suite is the one that the flights of the first quarter suggest, with days that stop a batch. Every later day is
compared with the days before it, as it would land. A fault counts as caught where its batch is refused, or where no row
that it changed or added lands; a clean batch that is refused is a false block. `FULL=1` lands the clean days singly,
else week by week.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from corruption_cases import CASES, Case
from printed import Line, print_lines

from baton.core.errors import BatonError
from baton.core.spec import ModelSpec, load_spec
from baton.features.source import read_tables
from baton.settings import Settings, quiet_vendors
from baton.validation.derived_suite import derive_expectations
from baton.validation.great_expectations_suite import DataTests
from baton.validation.suite import Checked

FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
TRAINED = pd.Timestamp("2013-04-01", tz="UTC")
CLEAN_DAYS = 200
DAYS_A_BATCH = 1 if os.environ.get("FULL") else 7
FAULTY_DAYS = [pd.Timestamp("2013-04-17", tz="UTC"), pd.Timestamp("2013-08-06", tz="UTC")]
DAY = pd.Timedelta(days=1)
Tables = dict[str, pd.DataFrame]


def project(tables: Tables) -> ModelSpec:
    """Give the flights with the suites that their first quarter suggests."""
    spec = load_spec(FLIGHTS)
    derived = {}
    for name, table in spec.source.tables.items():
        window = tables[name][tables[name][table.known_time] < TRAINED]
        derived[name] = table.model_copy(
            update={
                "expectations": derive_expectations(window, table, timezone=spec.prediction.timezone, unlike="stop")
            }
        )
    source = spec.source.model_copy(update={"tables": derived})
    return spec.model_copy(update={"source": source})


def checked(
    tests: DataTests, table: str, all_rows: pd.DataFrame, rows: pd.DataFrame, *, start: pd.Timestamp, days: int
) -> Checked:
    """Check rows as the batch of some days, with what landed before."""
    back, known = tests.looks_back(table), all_rows["known_time"]
    before = all_rows[(known < start) & (known >= start - back)] if back else None
    return tests.check(table, rows, batch=f"{start:%Y-%m-%d}", before=before, since=start, until=start + days * DAY)


def between(rows: pd.DataFrame, start: pd.Timestamp, days: int) -> pd.DataFrame:
    """Give the rows that became known on some days."""
    return rows[(rows["known_time"] >= start) & (rows["known_time"] < start + days * DAY)]


def clean(tests: DataTests, tables: Tables) -> Iterator[tuple[str, pd.Timestamp, Checked]]:
    """Check 200 days as they were."""
    for name in ("schedule", "departures", "arrivals", "weather"):
        for offset in range(0, CLEAN_DAYS, DAYS_A_BATCH):
            start, days = TRAINED + offset * DAY, min(DAYS_A_BATCH, CLEAN_DAYS - offset)
            yield (
                name,
                start,
                checked(tests, name, tables[name], between(tables[name], start, days), start=start, days=days),
            )


def caught(tests: DataTests, tables: Tables, case: Case, day: pd.Timestamp) -> tuple[bool, str]:
    """Plant a fault in a day; give whether it was caught, and what said so."""
    known = tables[case.table]
    rows, before = (between(known, start, 1).reset_index(drop=True) for start in (day, day - DAY))
    try:
        planted = case.change(rows, before, np.random.default_rng(7))
    except (OSError, ValueError) as error:
        return True, f"cannot be read: {str(error).splitlines()[0][:60]}"
    if timeless(planted):
        return True, "a time is missing or has no zone: refused where the source is read"
    try:
        found = checked(tests, case.table, known, planted, start=day, days=1)
    except BatonError as error:
        return True, error.what
    if not found.report.passed:
        return True, stopped_by(found)
    told = "; ".join(sorted(set(found.bad["reason"]))) or "nothing"
    wrong = set(changed(rows, planted))
    return -1 not in wrong and not wrong & set(found.good.index), f"set aside or dropped: {told}"[:110]


def timeless(rows: pd.DataFrame) -> bool:
    """Whether a time is missing or has no zone, by the rule of `baton.features.source.read_tables`."""
    times = [rows[name] for name in ("event_time", "known_time")]
    return any(not isinstance(time.dtype, pd.DatetimeTZDtype) or time.isna().any() for time in times)


def changed(rows: pd.DataFrame, planted: pd.DataFrame) -> pd.Index:
    """Give the rows that a fault changed or added; of one that took rows away there is a row that cannot be found."""
    if len(planted) < len(rows) or list(planted) != list(rows):
        return pd.Index([-1])
    same = planted.reindex(rows.index)
    differs = (same != rows) & ~(same.isna() & rows.isna())
    return rows.index[differs.any(axis=1)].union(planted.index.difference(rows.index))


def figures() -> Iterator[Line]:
    """Plant every fault, then land the clean days."""
    with tempfile.TemporaryDirectory() as folder:
        quiet_vendors(Settings(home=Path(folder)))
        tables = read_tables(load_spec(FLIGHTS))
        tests = DataTests(Path(folder) / "checks", project(tables))
        missed = 0
        for case in CASES:
            found = [caught(tests, tables, case, day) for day in FAULTY_DAYS]
            hits = sum(hit for hit, _ in found)
            missed += hits < len(found)
            yield line(
                "case", case.name, caught=f"{hits} of {len(found)}", fault=case.fault, table=case.table, by=found[0][1]
            )
        blocked = 0
        for name, start, landed in clean(tests, tables):
            if not landed.report.passed:
                blocked += 1
                yield line("false_block", f"{start:%Y-%m-%d}", table=name, by=stopped_by(landed))
    yield line("all", "all", cases=len(CASES), missed=missed, clean_days=CLEAN_DAYS, false_blocks=blocked)


def line(kind: str, name: str, **figures: Any) -> Line:
    """Give one line of the table; what a kind of line does not have is empty."""
    empty = dict.fromkeys(("caught", "fault", "table", "by", "cases", "missed", "clean_days", "false_blocks"))
    bench = "corruption" if kind == "all" else f"corruption_{kind}"
    return {"bench": bench, "what": name, **(empty if kind != "all" or not os.environ.get("JSON") else {}), **figures}


def stopped_by(found: Checked) -> str:
    """Say what stopped a batch."""
    stop = next(failure for failure in found.report.failures if failure.severity == "stop")
    return f"{stop.expectation} {stop.column or ''} {'; '.join(stop.examples[:1])}"[:110]


if __name__ == "__main__":
    print_lines(figures(), title="Faults in real days, and clean days")
