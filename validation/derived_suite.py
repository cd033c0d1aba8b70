"""The data tests that a table's own rows suggest: what held throughout the training window has to go on holding.

Every limit leaves room for what the window did not show: a range reaches
beyond each end by twice the distance of that end from the median, a share by
twice the largest that a day of the window had. Who knows better edits
`model.yaml`, where these expectations are written under their own names.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from baton.core.spec import Expectation, TableSpec
from baton.validation.days import COMPARED_DAYS, LEAST_DAYS
from baton.validation.duckdb_days import Stretch, compare_days

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# A number with no more values than this is a code, such as a weekday.
FEW_CODES = 10
# A text with more values than this is a name or an id, and new ones are no news.
MANY_VALUES = 200
# A value has to have been seen so often, on average, before an unseen one is worth a word.
SIGHTINGS = 20
# The share of rows that may hold a value never seen before, at least.
NEW_VALUES = 0.05
# A value beyond the 999th thousandth by ten times that one's distance from the median is a fault, not an end.
FAR = 10
REACH = 2
DIGITS = 3
LONGEST_SHAPE = 40
PUNCTUATION = 4
NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
SIDES = ("below", "above")
PLAIN = re.compile(r"^[A-Za-z_]\w*$")
# Spreadsheets run a text that begins so.
FORMULA = r"^[=+@\t\r]"
EDGES = r"^\s|\s$"

Severity = Literal["warn", "quarantine", "stop"]


def derive_expectations(
    rows: pd.DataFrame, table: TableSpec, *, timezone: str = "UTC", unlike: Severity = "warn"
) -> list[Expectation]:
    """Give the data tests of a table that its rows, all or a fair sample of them, suggest.

    Args:
        rows: The training window as the source gives it.
        table: The table's key and times; its own expectations are not looked at.
        timezone: Zone of the hours of the day, as `prediction.timezone` has it.
        unlike: What a day unlike those before it does; where a table is fed
            every day, it may stop the batch.
    """
    days = rows[table.known_time].dt.floor("D").to_numpy()
    always = {*table.key, table.event_time, table.known_time}
    found = [_expect("expect_table_columns_to_match_set", column_set=[str(c) for c in rows], exact_match=True)]
    for name in map(str, rows):
        column = rows[name]
        found += [_never_missing(name)] if name in always else _missing(name, column, days)
        if column.dtype.kind in "iuf":
            found += _about_a_number(name, column, is_key=name in table.key)
        elif column.dtype.kind in "OT" or str(column.dtype) in {"string", "category"}:
            found += _about_a_text(name, column, days, is_key=name in table.key)
    found += _decided(rows, [name for name in map(str, rows) if name not in table.key])
    identity = list(dict.fromkeys([*table.key, table.known_time]))
    # A row that is known anew at a later moment corrects the one before; at one moment there is one row.
    found.append(_expect("expect_compound_columns_to_be_unique", column_list=identity))
    return [*found, _days(rows, table, timezone, unlike)]


def _days(rows: pd.DataFrame, table: TableSpec, timezone: str, wanted: Severity) -> Expectation:
    """Compare days, by limits that move with them; only what the window itself would have passed stops a batch."""
    span = rows[table.known_time].max() - rows[table.known_time].min()
    odd = compare_days(
        rows,
        Stretch(),
        key=table.key,
        known_time=table.known_time,
        days=COMPARED_DAYS,
        width=1.0,
        ignore=(),
        timezone=timezone,
    )
    tried = span / np.timedelta64(1, "D") >= 2 * LEAST_DAYS
    severity: Severity = wanted if tried and not odd else "warn"
    return _expect("expect_table_days_to_resemble_those_before", severity, days=COMPARED_DAYS)


def _expect(kind: str, severity: Severity = "stop", **arguments: Any) -> Expectation:
    return Expectation(type=kind, severity=severity, arguments=arguments)


def _never_missing(name: str) -> Expectation:
    return _expect("expect_column_values_to_not_be_null", column=name)


def _missing(name: str, column: pd.Series, days: NDArray[Any]) -> list[Expectation]:
    share = _largest_of_a_day(column.isna(), days)
    if share == 0:
        return [_expect("expect_column_values_to_not_be_null", "quarantine", column=name)]
    least = math.floor((1 - REACH * share) * 100) / 100
    return [_expect("expect_column_values_to_not_be_null", column=name, mostly=least)] if least > 0 else []


def _largest_of_a_day(marks: pd.Series, days: NDArray[Any]) -> float:
    # A day of a handful of rows says nothing about shares, so all days count together too.
    by_day = marks.groupby(days).agg(["mean", "size"])
    full = by_day[by_day["size"] >= SIGHTINGS]["mean"]
    return float(max(full.max() if len(full) else 0.0, marks.mean() if len(marks) else 0.0))


def _about_a_number(name: str, column: pd.Series, *, is_key: bool) -> list[Expectation]:
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = numbers[np.isfinite(numbers)]
    found = [_expect("expect_column_values_to_be_in_type_list", column=name, type_list=NUMBERS)]
    if is_key or not len(numbers):
        return found
    values = np.unique(numbers)
    if len(values) <= FEW_CODES and len(numbers) >= SIGHTINGS * len(values) and (values == np.round(values)).all():
        codes = [int(value) for value in values]
        return [*found, _expect("expect_column_values_to_be_in_set", "quarantine", column=name, value_set=codes)]
    low, high = _range(numbers)
    between = _expect("expect_column_values_to_be_between", "quarantine", column=name, min_value=low, max_value=high)
    return [*found, between]


def _range(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Give how far values may reach; what has never been below zero stays there."""
    first, middle, last = np.quantile(numbers, [0.001, 0.5, 0.999])
    usual = numbers[(numbers >= first - FAR * (middle - first)) & (numbers <= last + FAR * (last - middle))]
    low, high = float(usual.min()), float(usual.max())
    # A column that never varied may vary by its own size.
    spare = abs(middle) if high == low else 0.0
    down, up = low - REACH * (middle - low) - spare, high + REACH * (high - middle) + spare
    down, up = (max(down, 0.0) if low >= 0 else down), (min(up, 0.0) if high <= 0 else up)
    return _rounded(down, math.floor), _rounded(up, math.ceil)


def _decided(rows: pd.DataFrame, names: Sequence[str]) -> list[Expectation]:
    """Say where one number decides a code of two values, as a delay decides whether a flight is late."""
    numbers = {name: rows[name] for name in names if rows[name].dtype.kind in "iuf" and PLAIN.match(name)}
    found = []
    for name, codes in numbers.items():
        values = sorted(codes.dropna().unique())
        if len(values) != len(SIDES) or codes.value_counts().min() < SIGHTINGS:
            continue
        for other, number in numbers.items():
            sides = [number[codes == value] for value in values]
            for low, high in (sides, sides[::-1]):
                if other != name and low.max() < high.min():
                    below, above = (int(value) for value in (values if low is sides[0] else values[::-1]))
                    conditions = {f"{other} <= {low.max():.12g}": below, f"{other} > {low.max():.12g}": above}
                    found += [_where(name, code, condition) for condition, code in conditions.items()]
    return found


def _where(name: str, code: int, condition: str) -> Expectation:
    return _expect(
        "expect_column_values_to_be_in_set",
        "quarantine",
        column=name,
        value_set=[code],
        row_condition=condition,
        condition_parser="pandas",
    )


def _rounded(value: float, outward: Any) -> float:
    """Round away from the values, to a few digits that a person can read."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    return float(f"{outward(value / step) * step:.12g}")


def _about_a_text(name: str, column: pd.Series, days: NDArray[Any], *, is_key: bool) -> list[Expectation]:
    present = column.dropna()
    values = present.unique()
    if not all(isinstance(value, str) for value in values):
        # Text among other things has no shape that could be told.
        return []
    found = [_expect("expect_column_values_to_be_in_type_list", column=name, type_list=["str"])]
    if shape := _shape(values):
        found.append(_expect("expect_column_values_to_match_regex", "quarantine", column=name, regex=shape))
    else:
        clean = [pattern for pattern in (FORMULA, EDGES) if not any(re.search(pattern, value) for value in values)]
        found += [_not_matching(name, pattern) for pattern in clean]
    if not is_key and 0 < len(values) <= MANY_VALUES and len(present) >= SIGHTINGS * len(values):
        most = max(NEW_VALUES, REACH * _new(column, days))
        known = sorted(values)
        if most < 1:
            least = round(1 - most, 2)
            found.append(_expect("expect_column_values_to_be_in_set", column=name, value_set=known, mostly=least))
    return found


def _not_matching(name: str, pattern: str) -> Expectation:
    return _expect("expect_column_values_to_not_match_regex", "quarantine", column=name, regex=pattern)


def _new(column: pd.Series, days: NDArray[Any]) -> float:
    """Measure the largest share of a day's rows, in the later half of the window, with values not seen before it."""
    import pandas as pd

    when = pd.Series(days, index=column.index)
    # A missing value has no group, and so no first day.
    new = (when.groupby(column).transform("min") == when) & (when > when.quantile(0.5))
    return _largest_of_a_day(new, days)


def _shape(values: NDArray[Any]) -> str:
    """Write the pattern of short codes: the kinds of letters that they use and how long they are; else nothing."""
    lengths = [len(value) for value in values]
    letters = set("".join(values))
    marks = sorted(letters - set(string.ascii_letters + string.digits))
    plain = len(marks) <= PUNCTUATION and all(mark in string.punctuation for mark in marks)
    if not letters or not plain or max(lengths) > LONGEST_SHAPE or min(lengths) == 0:
        return ""
    kinds = {"A-Z": string.ascii_uppercase, "a-z": string.ascii_lowercase, "0-9": string.digits}
    classes = "".join(kind for kind, members in kinds.items() if letters & set(members))
    spread = max(lengths) - min(lengths)
    shortest, longest = max(1, min(lengths) - spread), max(lengths) + spread
    often = f"{{{shortest}}}" if shortest == longest else f"{{{shortest},{longest}}}"
    return f"^[{classes}{''.join(re.escape(mark) for mark in marks)}]{often}$"
