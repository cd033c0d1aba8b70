"""A batch that is asked everything at once: DuckDB reads it where it lies and answers all counts in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PLACE = "place"
# More expressions than this in one query take longer to plan than to answer.
AT_ONCE = 400


class DuckDbTable:
    """The columns of a batch that have one type each, for questions in SQL.

    `kinds` names each with "number", "text", "time", "flag" or "nothing" (no
    value at all); a column of mixed types is not in it. `types` has the name
    that Great Expectations has for each type.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        import duckdb
        import pyarrow as pa

        self.rows = len(rows)
        self.columns = [str(name) for name in rows]
        self.kinds: dict[str, str] = {}
        self.types: dict[str, str] = {}
        arrays: dict[str, Any] = {PLACE: pa.array(np.arange(self.rows))}
        for at, name in enumerate(self.columns):
            array = _array(rows.iloc[:, at])
            kind, spelt = _kind(array)
            if kind and name not in self.kinds:
                self.kinds[name], self.types[name] = kind, spelt
                arrays[f"c{at}"] = array
        self._names = {name: f"c{at}" for at, name in reversed(list(enumerate(self.columns)))}
        # It reads this batch and nothing else, whatever an expression says.
        self._connection = duckdb.connect(config={"enable_external_access": "false"})
        self._connection.register("batch", pa.table(arrays))

    def sql(self, column: str) -> str:
        """Give the expression of a column's values; text is text however it is stored."""
        name = self._names[column]
        return f"CAST({name} AS VARCHAR)" if self.kinds[column] == "text" else name

    def totals(self, asked: Sequence[str]) -> list[Any]:
        """Answer aggregate expressions over all rows, in order."""
        found: list[Any] = []
        for start in range(0, len(asked), AT_ONCE):
            some = ", ".join(asked[start : start + AT_ONCE])
            row = self._connection.execute(f"SELECT {some} FROM batch").fetchone()  # noqa: S608 - our own expressions
            found += row or ()
        return found

    def places(self, condition: str) -> NDArray[np.int64]:
        """Give the positions of the rows for which a condition is true, in order."""
        query = f"SELECT {PLACE} FROM batch WHERE {condition} ORDER BY {PLACE}"  # noqa: S608 - our own
        found: NDArray[np.int64] = self._connection.execute(query).fetchnumpy()[PLACE]
        return found

    def values(self, expression: str, condition: str, *, most: int) -> list[Any]:
        """Give an expression's value in the first rows for which a condition is true."""
        query = f"SELECT {expression} FROM batch WHERE {condition} ORDER BY {PLACE} LIMIT {most}"  # noqa: S608 - our own
        return [row[0] for row in self._connection.execute(query).fetchall()]

    def by_group(self, group: str, groups: int, asked: Sequence[str]) -> list[NDArray[np.float64]]:
        """Answer aggregate expressions for the rows of each group, numbered from 0; NaN for a group without rows."""
        found = [np.full(groups, np.nan) for _ in asked]
        for start in range(0, len(asked), AT_ONCE):
            some = ", ".join(f"CAST({each} AS DOUBLE)" for each in asked[start : start + AT_ONCE])
            query = f"SELECT {group} AS g, {some} FROM batch WHERE g >= 0 AND g < {groups} GROUP BY g"  # noqa: S608 - our own
            for number, *values in self._connection.execute(query).fetchall():
                for at, value in enumerate(values, start):
                    found[at][int(number)] = np.nan if value is None else value
        return found

    def rows_of(self, query: str) -> list[tuple[Any, ...]]:
        """Answer a query of the table `batch`."""
        found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return found

    def can_match(self, regex: str) -> bool:
        """Whether DuckDB reads a regular expression; Python's has more than RE2."""
        import duckdb

        try:
            self._connection.execute("SELECT regexp_matches('', ?)", [regex]).fetchone()
        except duckdb.Error:
            return False
        return True


def literal(value: str | float) -> str:
    """Write a value in SQL."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{value!r}::DOUBLE" if isinstance(value, float) else repr(value)


def _array(column: pd.Series) -> pa.Array | None:
    """Read a column where all its values have one type; a NaN is a missing value."""
    import pyarrow as pa

    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError):
        return None


def _kind(array: pa.Array | None) -> tuple[str, str]:
    from pyarrow import types

    if array is None:
        return "", ""
    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    if types.is_integer(kind) or types.is_floating(kind):
        return "number", np.dtype(kind.to_pandas_dtype()).name
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text", "str"
    if types.is_timestamp(kind):
        return "time", f"datetime64[{kind.unit}{f', {kind.tz}' if kind.tz else ''}]"
    if types.is_boolean(kind):
        return "flag", "bool"
    return ("nothing", "null") if types.is_null(kind) else ("", "")
