"""Check a chunk of a file's rows as a request's rows are checked, a column at a time.

Rows that are in order are turned into arrays by the column. Any other row is
handed to `parse_rows`, the check of every request, which says what is wrong with
it: what this way accepts, that one accepts with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Field
from baton.core.errors import SourceMissing, listed
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of
from baton.serving.request_schema import RequestRefused, nearest, parse_rows

# A JSON number: what a CSV file may hold where a number is expected.
JSON_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChunk:
    """The good rows of a chunk as the model takes them, their places in it, and why the others are none."""

    rows: Rows
    good: NDArray[np.int64]
    reasons: Mapping[int, str]


def check_columns(types: Mapping[str, Any], fields: Sequence[Field], *, where: str) -> None:
    """Refuse a file that lacks a field or holds one of another kind; columns that are no fields are let be.

    Args:
        types: The file's Arrow types by column; None where each value is text (CSV).
        fields: The model's fields.
        where: The file, for the message.

    Raises:
        SourceMissing: It cannot be scored; all problems are listed.
    """
    problems = []
    for field in fields:
        if field.name not in types:
            if field.required:
                problems.append(f"{field.name} is missing" + nearest(field.name, types))
        elif types[field.name] is not None and not _fits(types[field.name], field.kind):
            problems.append(f"{field.name} is {types[field.name]}, expected {field.kind}")
    if problems:
        raise SourceMissing(
            what=f"{where} cannot be scored", why=listed(problems), fix="give each field of the model a column"
        )


def check_chunk(table: Any, fields: Sequence[Field]) -> CheckedChunk:
    """Check the rows of an Arrow table whose columns were checked."""
    count = table.num_rows
    numbers = np.full((count, len(names_of(fields, NUMBER))), np.nan, dtype=np.float32)
    texts = np.full((count, len(names_of(fields, TEXT))), "", dtype=object)
    doubtful = np.zeros(count, dtype=bool)
    for at, name in enumerate(names_of(fields, NUMBER)):
        if name in table.column_names:
            values, doubts = _numbers(table.column(name))
            with np.errstate(over="ignore"):
                numbers[:, at] = values
            doubtful |= doubts | np.isinf(numbers[:, at])
    for at, name in enumerate(names_of(fields, TEXT)):
        if name in table.column_names:
            texts[:, at], doubts = _texts(table.column(name))
            doubtful |= doubts
    reasons = {}
    for place in np.flatnonzero(doubtful).tolist():
        try:
            parse_rows([{field.name: _value(table, field, place) for field in fields}], fields)
        except RequestRefused as refused:
            reasons[place] = _reason(refused)
        else:
            doubtful[place] = False
    good = np.flatnonzero(~doubtful)
    return CheckedChunk(rows=Rows(numbers=numbers[good], texts=texts[good]), good=good, reasons=reasons)


def _fits(kind: Any, expected: str) -> bool:
    import pyarrow.types as pt

    if pt.is_null(kind):
        return True
    if expected == NUMBER:
        return bool(pt.is_integer(kind) or pt.is_floating(kind))
    inner = kind.value_type if pt.is_dictionary(kind) else kind
    return bool(pt.is_string(inner) or pt.is_large_string(inner) or pt.is_string_view(inner))


def _numbers(column: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give a column's numbers, NaN for missing, and which of its values are none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    doubts = np.zeros(len(column), dtype=bool)
    if _is_text(column.type):
        fits = pc.fill_null(pc.match_substring_regex(column, JSON_NUMBER), True)
        doubts = ~fits.to_numpy()
        column = pc.if_else(fits, column, pa.scalar(None, column.type))
        try:
            column = pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            # One is too large for a double; Python calls it infinite, which is then refused.
            return np.array([np.nan if each is None else float(each) for each in column.to_pylist()]), doubts
    elif not pt.is_null(column.type):
        # As JSON's whole numbers are: rounded to the nearest double.
        column = pc.cast(column, pa.float64(), safe=False)
    else:
        return np.full(len(column), np.nan), doubts
    return np.asarray(column.to_numpy(), dtype=np.float64), doubts


def _texts(column: Any) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Give a column's texts, "" for missing, and which of its values cannot be used."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_null(column.type):
        return np.full(len(column), "", dtype=object), np.zeros(len(column), dtype=bool)
    column = pc.fill_null(pc.cast(column, pa.string()), "")
    doubts = pc.match_substring(column, "\0").to_numpy()
    try:
        return column.to_numpy(), doubts
    except UnicodeDecodeError:
        # Parquet does not check what it calls text.
        raw = pc.cast(column, pa.binary()).to_pylist()
        words = [each.decode("utf-8", "surrogateescape") for each in raw]
        broken = np.array([any("\ud800" <= letter <= "\udfff" for letter in word) for word in words])
        return np.array(words, dtype=object), doubts | broken


def _is_text(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _value(table: Any, field: Field, place: int) -> Any:
    """Give one value as a request's JSON would hold it."""
    if field.name not in table.column_names:
        return None
    column = table.column(field.name)
    if field.kind == TEXT:
        return _texts(column.slice(place, 1))[0][0] or None
    values, doubts = _numbers(column.slice(place, 1))
    if doubts[0]:
        return column[place].as_py()
    return None if np.isnan(values[0]) else float(values[0])


def _reason(refused: RequestRefused) -> str:
    """Say what is wrong with a row; each pointer begins with the row's place, which the file's row number tells."""
    parts = [f"{each.pointer.rpartition('/')[2]}: {each.detail}" for each in refused.problems[:SHOWN]]
    more = len(refused.problems) + refused.more - SHOWN
    return "; ".join(parts) + (f" and {more} more" if more > 0 else "")
