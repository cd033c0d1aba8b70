"""What Great Expectations would count row by row, asked of DuckDB: the expectations judge by the same metrics.

An expectation declares which metrics it needs and decides by them itself;
here is only where the metrics come from. One that is not in this list, or whose
column is not what it takes for granted, is left to Great Expectations' own
engine, and so are the errors that it raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.validation.duckdb_table import DuckDbTable, literal

ROWS = "table.row_count"
MISSING = "column_values.nonnull.unexpected_count"
# A comparison of a column with a number, as `row_condition` writes it for pandas.
COMPARED = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>|==)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for one expectation: metrics as SQL, and which rows are unexpected."""

    asked: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    unexpected: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An expectation's own result, and the positions of all rows that it did not expect.

    Where it is not about rows, `unexpected` counts what it did not expect and
    `examples` names some of it.
    """

    result: Mapping[str, Any]
    places: NDArray[np.int64]
    unexpected: int = 0
    examples: tuple[str, ...] = ()


def question(expectation: Any, table: DuckDbTable) -> Question | None:
    """Give what to ask for an expectation, or None where Great Expectations' own engine has to answer."""
    kind = expectation.expectation_type
    arguments = {name: getattr(expectation, name) for name in type(expectation).__fields__}
    if any(isinstance(arguments.get(name), dict) for name in expectation.configuration.kwargs):
        # An argument that is filled in at run time.
        return None
    if kind in ABOUT_TABLES:
        return ABOUT_TABLES[kind](arguments, table)
    column = arguments.get("column")
    if column not in table.kinds:
        return None
    if kind in AGGREGATES:
        return _aggregate(kind, column, table) if arguments.get("row_condition") is None else None
    if kind not in ABOUT_VALUES:
        return None
    unexpected = ABOUT_VALUES[kind](arguments, table)
    condition = _condition(arguments, table)
    if unexpected is None or condition is None:
        return None
    return _about_rows(type(expectation).map_metric, table.sql(column), unexpected, condition)


def answers(expectations: Sequence[Any], questions: Sequence[Question], table: DuckDbTable) -> list[Answer]:
    """Ask everything in one pass, then look only for the rows that some expectation did not expect."""
    found = iter(table.totals([sql for question in questions for sql in question.asked.values()]))
    settled = [dict(question.known) | {name: next(found) for name in question.asked} for question in questions]
    return [
        _answer(expectation, question, metrics, table)
        for expectation, question, metrics in zip(expectations, questions, settled, strict=True)
    ]


def _answer(expectation: Any, question: Question, metrics: dict[str, Any], table: DuckDbTable) -> Answer:
    if expectation.expectation_type == TYPE_LIST:
        seen = metrics["type"]
        fits = seen == "null" or seen in expectation.type_list
        return Answer(result={"success": fits, "result": {"observed_value": seen}}, places=NOWHERE)
    places, shown = NOWHERE, {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    if question.unexpected:
        if metrics[f"{question.metric}.unexpected_count"]:
            places = table.places(question.unexpected)
            metrics[f"{question.metric}.unexpected_count"] = len(places)
        few = table.values(question.value, question.unexpected, most=EXAMPLES) if len(places) else []
        metrics[f"{question.metric}.unexpected_values"] = few
        metrics[f"{question.metric}.unexpected_index_list"] = [int(place) for place in places[:EXAMPLES]]
    result = expectation._validate(metrics=metrics, runtime_configuration={"result_format": shown})
    return Answer(result=result, places=places)


def _about_rows(metric: str, value: str, unexpected: str, condition: str) -> Question:
    asked = {ROWS: f"count(*) FILTER (WHERE {condition})"} if condition else {ROWS: "count(*)"}
    inside = f" AND {condition}" if condition else ""
    asked |= {
        MISSING: f"count(*) FILTER (WHERE {value} IS NULL{inside})",
        f"{metric}.unexpected_count": f"count(*) FILTER (WHERE ({unexpected}){inside})",
    }
    return Question(asked=asked, metric=metric, unexpected=f"({unexpected}){inside}", value=value)


def _condition(arguments: Mapping[str, Any], table: DuckDbTable) -> str | None:
    """Give a row condition in SQL, "" for none, or None where it is more than a comparison with a number."""
    said = arguments.get("row_condition")
    if said is None:
        return ""
    compared = COMPARED.match(getattr(said, "pass_through_filter", ""))
    if compared is None or table.kinds.get(compared[1]) != "number":
        return None
    return f"{table.sql(compared[1])} {'=' if compared[2] == '==' else compared[2]} {float(compared[3])!r}::DOUBLE"


Arguments = Mapping[str, Any]


def _is_missing(arguments: Arguments, table: DuckDbTable) -> str:
    return f"{table.sql(arguments['column'])} IS NULL"


def _is_there(arguments: Arguments, table: DuckDbTable) -> str:
    return f"{table.sql(arguments['column'])} IS NOT NULL"


def _outside(arguments: Arguments, table: DuckDbTable) -> str | None:
    column = arguments["column"]
    low, high = arguments["min_value"], arguments["max_value"]
    ends = [end for end in (low, high) if end is not None]
    if table.kinds[column] != "number" or not ends or not all(map(_is_number, ends)) or ends != sorted(ends):
        return None
    # A decimal and a whole number are compared as doubles, whatever digits they have.
    value = f"CAST({table.sql(column)} AS DOUBLE)"
    parts = []
    if low is not None:
        parts.append(f"{value} {'<=' if arguments['strict_min'] else '<'} {float(low)!r}::DOUBLE")
    if high is not None:
        parts.append(f"{value} {'>=' if arguments['strict_max'] else '>'} {float(high)!r}::DOUBLE")
    return " OR ".join(parts)


def _not_among(arguments: Arguments, table: DuckDbTable) -> str | None:
    values, kind = arguments["value_set"], table.kinds[arguments["column"]]
    fits = {"text": _is_text, "number": _is_number, "flag": _is_flag}.get(kind)
    if not values or fits is None or not all(map(fits, values)):
        return None
    return f"{table.sql(arguments['column'])} NOT IN ({', '.join(map(literal, values))})"


def _among(arguments: Arguments, table: DuckDbTable) -> str | None:
    outside = _not_among(arguments, table)
    return None if outside is None else f"NOT ({outside})"


def _no_match(arguments: Arguments, table: DuckDbTable) -> str | None:
    regex = arguments["regex"]
    if table.kinds[arguments["column"]] != "text" or not isinstance(regex, str) or not table.can_match(regex):
        return None
    return f"NOT regexp_matches({table.sql(arguments['column'])}, {literal(regex)})"


def _match(arguments: Arguments, table: DuckDbTable) -> str | None:
    without = _no_match(arguments, table)
    return None if without is None else without.removeprefix("NOT ")


def _length_outside(arguments: Arguments, table: DuckDbTable) -> str | None:
    low, high = arguments["min_value"], arguments["max_value"]
    if table.kinds[arguments["column"]] != "text" or arguments["strict_min"] or arguments["strict_max"]:
        return None
    length = f"length({table.sql(arguments['column'])})"
    parts = [f"{length} < {int(low)}"] if low is not None else []
    parts += [f"{length} > {int(high)}"] if high is not None else []
    return " OR ".join(parts) or None


def _length_differs(arguments: Arguments, table: DuckDbTable) -> str | None:
    if table.kinds[arguments["column"]] != "text":
        return None
    return f"length({table.sql(arguments['column'])}) <> {int(arguments['value'])}"


def _aggregate(kind: str, column: str, table: DuckDbTable) -> Question | None:
    metric, form = AGGREGATES[kind]
    if table.kinds[column] != "number" and "DISTINCT" not in form:
        return None
    value = table.sql(column)
    if "finite" in form:
        # Great Expectations finds no such number among infinities, and DuckDB refuses to.
        endless = f"isinf(CAST({value} AS DOUBLE))"
        form = f"CASE WHEN NOT bool_or({endless}) THEN {form.removeprefix('finite ')} FILTER (WHERE NOT {endless}) END"
    return Question(asked={metric: form.format(value)})


def _column_set(_: Arguments, table: DuckDbTable) -> Question:
    return Question(known={"table.columns": table.columns})


def _row_count(_: Arguments, table: DuckDbTable) -> Question:
    return Question(known={ROWS: table.rows})


def _type(arguments: Arguments, table: DuckDbTable) -> Question | None:
    column = arguments["column"]
    return Question(known={"type": table.types[column]}) if column in table.types else None


def _compound(arguments: Arguments, table: DuckDbTable) -> Question | None:
    columns = arguments["column_list"]
    plain = arguments["ignore_row_if"] == "all_values_are_missing" and arguments["row_condition"] is None
    if not plain or any(column not in table.kinds for column in columns):
        return None
    return _repeated("compound_columns.unique", [table.sql(column) for column in columns], table)


def _unique(arguments: Arguments, table: DuckDbTable) -> Question | None:
    column = arguments["column"]
    if column not in table.kinds or arguments["row_condition"] is not None:
        return None
    return _repeated("column_values.unique", [table.sql(column)], table)


def _repeated(metric: str, values: Sequence[str], table: DuckDbTable) -> Question:
    present = " OR ".join(f"{value} IS NOT NULL" for value in values)
    row = f"({', '.join(values)})" if len(values) > 1 else values[0]
    twice = f"SELECT {row} FROM batch WHERE {present} GROUP BY {row} HAVING count(*) > 1"  # noqa: S608 - our own
    asked = {
        # Zero where nothing repeats; where something does, the rows are found and counted one by one.
        f"{metric}.unexpected_count": f"count(*) FILTER (WHERE {present}) "
        f"- count(DISTINCT {row}) FILTER (WHERE {present})",
        f"{metric}.filtered_row_count": f"count(*) FILTER (WHERE {present})",
        MISSING: f"count(*) FILTER (WHERE NOT ({present}))",
    }
    return Question(asked=asked, known={ROWS: table.rows}, metric=metric, unexpected=f"{row} IN ({twice})", value=row)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


EXAMPLES = 5
NOWHERE: NDArray[np.int64] = np.empty(0, dtype=np.int64)
TYPE_LIST = "expect_column_values_to_be_in_type_list"
ABOUT_TABLES: Mapping[str, Callable[[Arguments, DuckDbTable], Question | None]] = {
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_compound_columns_to_be_unique": _compound,
    "expect_column_values_to_be_unique": _unique,
    TYPE_LIST: _type,
}
ABOUT_VALUES: Mapping[str, Callable[[Arguments, DuckDbTable], str | None]] = {
    "expect_column_values_to_not_be_null": _is_missing,
    "expect_column_values_to_be_null": _is_there,
    "expect_column_values_to_be_between": _outside,
    "expect_column_values_to_be_in_set": _not_among,
    "expect_column_values_to_not_be_in_set": _among,
    "expect_column_values_to_match_regex": _no_match,
    "expect_column_values_to_not_match_regex": _match,
    "expect_column_value_lengths_to_be_between": _length_outside,
    "expect_column_value_lengths_to_equal": _length_differs,
}
AGGREGATES: Mapping[str, tuple[str, str]] = {
    "expect_column_mean_to_be_between": ("column.mean", "finite avg({})"),
    "expect_column_median_to_be_between": ("column.median", "median({})"),
    "expect_column_stdev_to_be_between": ("column.standard_deviation", "finite stddev_samp({})"),
    "expect_column_min_to_be_between": ("column.min", "min({})"),
    "expect_column_max_to_be_between": ("column.max", "max({})"),
    "expect_column_sum_to_be_between": ("column.sum", "finite sum({})"),
    "expect_column_unique_value_count_to_be_between": ("column.distinct_values.count", "count(DISTINCT {})"),
}
