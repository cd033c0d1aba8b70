"""The statistics of each day of a table, counted by DuckDB over days and columns at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.validation.days import LEAST_DAYS, Outside, Scale, Statistic, outside
from baton.validation.duckdb_table import DuckDbTable, literal

if TYPE_CHECKING:
    import pandas as pd

DAY = 86_400_000_000  # microseconds
HOUR = 3_600_000_000.0
# The first and the last are the ends of a distribution, which tell how wide it is.
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
# The shares of so many of the most frequent values are watched one by one.
FREQUENT = 10
# A text of more values than this is no code, and has no frequent values.
MANY_VALUES = 2_000
# The values of a day with fewer rows say too little.
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A statistic and the aggregate that gives it; `ends` are two that give the ends of a number's distribution."""

    column: str | None
    name: str
    scale: Scale
    sql: str
    ends: tuple[str, str] = ("NULL", "NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Where a batch lies in time: the rows `before` it, when it begins (None for a first one) and when it ends."""

    before: pd.DataFrame | None = None
    since: datetime | None = None
    until: datetime | None = None


def compare_days(
    rows: pd.DataFrame,
    stretch: Stretch,
    *,
    key: Sequence[str],
    known_time: str,
    days: int,
    width: float,
    ignore: Sequence[str],
    timezone: str,
) -> list[Outside]:
    """Find the statistics of a batch's days that are beyond their limits, the farthest first.

    A day that lies in the batch for a part is judged whole, with the rows
    before it. In a first batch the later days are compared with the earlier.
    See `days.outside` for `days` and `width`.
    """
    import pandas as pd

    known = [part for part in (stretch.before, rows) if part is not None and len(part) and known_time in part]
    if not known or not all(isinstance(part[known_time].dtype, pd.DatetimeTZDtype) for part in known):
        return []
    until = stretch.until or known[-1][known_time].max() + pd.Timedelta(1, unit="us")
    first = min(part[known_time].min() for part in known)
    begin = first if stretch.since is None else pd.Timestamp(stretch.since)
    newest = math.ceil((until - begin) / pd.Timedelta(days=1))
    # Only whole days: the first one may have begun before the first row.
    whole = min(math.floor((until - first) / pd.Timedelta(days=1)), days + newest)
    if whole <= LEAST_DAYS:
        return []
    cut = until - pd.Timedelta(days=whole)
    recent = pd.concat([part[part[known_time] >= cut].drop(columns=list(ignore), errors="ignore") for part in known])
    statistics = statistics_of_days(recent, key=key, known_time=known_time, until=until, days=whole, timezone=timezone)
    return outside(statistics, newest=min(newest, whole), days=days, width=width)


def statistics_of_days(
    rows: pd.DataFrame, *, key: Sequence[str], known_time: str, until: datetime, days: int, timezone: str
) -> list[Statistic]:
    """Give every statistic of each of the `days` whole days before `until`, the newest last.

    Args:
        rows: The rows of all these days, and perhaps more.
        key: Columns that identify a row.
        known_time: When a row became known, which says its day.
        until: The end of the newest day, exclusive.
        days: How many days.
        timezone: Zone of the hours of the day.
    """
    table = DuckDbTable(rows)
    if table.kinds.get(known_time) != "time":
        return []
    # Days are counted back from the end, so the newest is 0.
    day = f"(({_microseconds(until)} - 1 - epoch_us({table.sql(known_time)})) // {DAY})"
    asked = [_silence(table, known_time, until), *_hours(table, known_time, timezone), *_repeats(table, key)]
    for column, kind in table.kinds.items():
        asked += _about(table, column, kind, known_time)
    counted, *found = table.by_group(
        day, days, ["count(*)", *(sql for each in asked for sql in (each.sql, *each.ends))]
    )
    counts = np.nan_to_num(counted)[::-1]
    enough = counts >= LEAST_ROWS
    made = [Statistic(column=None, name="rows", scale=Scale.COUNT, values=counts, rows=counts)]
    for at, each in enumerate(asked):
        values, low, high = (np.where(enough, part[::-1], np.nan) for part in found[3 * at : 3 * at + 3])
        made.append(
            Statistic(
                column=each.column, name=each.name, scale=each.scale, values=values, rows=counts, unit=_span(low, high)
            )
        )
    return made + _new(table, key, day, days, counts)


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _span(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Give the distance from the lowest low end of a day to the highest high one."""
    low, high = low[np.isfinite(low)], high[np.isfinite(high)]
    return float(high.max() - low.min()) if len(low) and len(high) else 0.0


def _silence(table: DuckDbTable, known_time: str, until: datetime) -> Asked:
    """Ask how long before the end of a day its newest row came: how fresh the table is."""
    ago = f"({_microseconds(until)} - 1 - max(epoch_us({table.sql(known_time)}))) % {DAY} / {HOUR}"
    # Feeds pause for hours, whatever the table.
    return Asked(column=known_time, name="hours without rows at the end", scale=Scale.NUMBER, sql=ago, ends=("0", "3"))


def _hours(table: DuckDbTable, known_time: str, timezone: str) -> Iterator[Asked]:
    hour = f"hour(timezone({literal(timezone)}, {table.sql(known_time)}))"
    for number in range(24):
        yield Asked(
            column=known_time,
            name=f"share in hour {number}",
            scale=Scale.SHARE,
            sql=f"avg(CASE WHEN {hour} = {number} THEN 1.0 ELSE 0.0 END)",
        )


def _about(table: DuckDbTable, column: str, kind: str, known_time: str) -> list[Asked]:
    match kind:
        case "number":
            return _of_number(table, column)
        case "text":
            return _of_text(table, column)
        case "flag":
            return [_missing(table, column), _share(column, "share true", table.sql(column))]
        case "time" if column != known_time:
            return _of_time(table, column, known_time)
    return []


def _share(column: str, name: str, condition: str) -> Asked:
    # A share of the rows that have a value, so that missing ones count once.
    return Asked(column=column, name=name, scale=Scale.SHARE, sql=f"avg(CASE WHEN {condition} THEN 1.0 ELSE 0.0 END)")


def _missing(table: DuckDbTable, column: str) -> Asked:
    return _share(column, "share missing", f"{table.sql(column)} IS NULL")


def _of_number(table: DuckDbTable, column: str) -> list[Asked]:
    value = f"CAST({table.sql(column)} AS DOUBLE)"
    there = f"FILTER (WHERE isfinite({value}))"
    found = [
        _missing(table, column),
        _share(column, "share zero", f"{value} = 0"),
        _share(column, "share negative", f"{value} < 0"),
        Asked(column=column, name="distinct values", scale=Scale.COUNT, sql=f"count(DISTINCT {value})"),
    ]
    return [*found, *_levels(column, "", value, there)]


def _levels(column: str, of: str, value: str, there: str = "") -> list[Asked]:
    """Ask for the mean and the quantiles of a number; DuckDB orders the values once for all of them."""
    levels = [f"(quantile_cont({value}, {list(QUANTILES)}) {there})[{at + 1}]" for at in range(len(QUANTILES))]
    low, tenth, middle, ninetieth, high = levels
    forms = {"mean": f"avg({value}) {there}"} | {
        f"quantile {share}": sql for share, sql in zip(QUANTILES[1:-1], (tenth, middle, ninetieth), strict=True)
    }
    # Kelly's measure of skewness, from -1 to 1: the sign of a column shows in it, whatever its level.
    skew = f"({ninetieth} + {tenth} - 2 * {middle}) / nullif({ninetieth} - {tenth}, 0)"
    leaning = Asked(column=column, name=f"{of}skewness", scale=Scale.NUMBER, sql=skew, ends=("-0.25", "0.25"))
    return [
        Asked(column=column, name=f"{of}{name}", scale=Scale.NUMBER, sql=sql, ends=(low, high))
        for name, sql in forms.items()
    ] + [leaning]


def _of_text(table: DuckDbTable, column: str) -> list[Asked]:
    value = table.sql(column)
    found = [
        _missing(table, column),
        Asked(column=column, name="distinct values", scale=Scale.COUNT, sql=f"count(DISTINCT {value})"),
    ]
    query = (
        f"SELECT {value} v, count(*) n, count(*) OVER () FROM batch "  # noqa: S608 - our own
        f"WHERE v IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {FREQUENT}"
    )
    frequent = table.rows_of(query)
    if frequent and frequent[0][2] <= MANY_VALUES:
        found += [_share(column, f"share of {text!r}", f"{value} = {literal(text)}") for text, *_ in frequent]
    return found


def _of_time(table: DuckDbTable, column: str, known_time: str) -> list[Asked]:
    lag = f"((epoch_us({table.sql(column)}) - epoch_us({table.sql(known_time)})) / {HOUR})"
    return [_missing(table, column), *_levels(column, f"hours after {known_time}, ", lag)]


def _repeats(table: DuckDbTable, key: Sequence[str]) -> list[Asked]:
    if any(column not in table.kinds for column in key):
        return []
    row = ", ".join(table.sql(column) for column in key)
    return [
        Asked(
            column=" and ".join(key),
            name="share of keys that repeat within the day",
            scale=Scale.SHARE,
            sql=f"1 - count(DISTINCT ({row})) / count(*)",
        )
    ]


def _new(table: DuckDbTable, key: Sequence[str], day: str, days: int, counts: NDArray[np.float64]) -> list[Statistic]:
    """Count, by day, the rows with a value that no earlier day had: of each text, and of the key."""
    texts = [column for column, kind in table.kinds.items() if kind == "text"]
    watched = [(column, table.sql(column)) for column in texts]
    if all(column in table.kinds for column in key) and list(key) not in [[column] for column in texts]:
        watched.append((" and ".join(key), f"({', '.join(table.sql(column) for column in key)})"))
    found = []
    for column, value in watched:
        # A value's first day has the highest number.
        first = f"max({day}) OVER (PARTITION BY {value})"
        there = f"{day} >= 0 AND {day} < {days} AND {value} IS NOT NULL"
        rows = f"SELECT {day} AS day, {first} AS first FROM batch WHERE {there}"  # noqa: S608 - our own
        query = f"SELECT day, count(*) FROM ({rows}) WHERE day = first GROUP BY day"  # noqa: S608 - our own
        new = np.zeros(days)
        for number, count in table.rows_of(query):
            new[days - 1 - int(number)] = count
        values = np.where(counts >= LEAST_ROWS, new / np.maximum(counts, 1.0), np.nan)
        found.append(
            Statistic(column=column, name="share never seen before", scale=Scale.SHARE, values=values, rows=counts)
        )
    return found
