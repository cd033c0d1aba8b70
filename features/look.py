"""What a table holds, column by column: the facts from which a project is begun."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.core.errors import EmptyWindow, Misuse, SourceMissing
from baton.core.input_spec import MISSING, InputSpec
from baton.features.csv_form import csv_form
from baton.features.input_files import SUFFIXES, find_files
from baton.features.input_rows import POSTGRES, damaged, names_there, opened, pieces, text_of
from baton.features.plain_names import plain_names
from baton.features.typed_sql import FALSE, TRUE, ZONED, literal, quoted, with_seconds

# Rows that are looked at closely; counts that need all rows are made of all.
CLOSELY = 200_000
FEW_VALUES = 40
FORMS = (
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S"),
    *("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%y", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S"),
    *("%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y%m%d", "%Y%m%dT%H%M%S"),
)
ISO = r"^\d{4}-\d{1,2}-\d{1,2}([T ]|$)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One column as it is written: counts over the rows that were looked at closely.

    `name` is a plain one, `there` the source's own. `numbers`, `whole`,
    `truths` and `times` count the values that are such; `times` are those of
    `form` (None for ISO 8601), `zoned` those of them that name a zone. `digits`
    is the length of the longest whole number, `steps` says that whole numbers
    rise by one from row to row. `values` are the distinct ones where they are
    few, most frequent first.
    """

    name: str
    there: str
    rows: int
    present: int
    distinct: int
    numbers: int = 0
    whole: int = 0
    zeros_first: int = 0
    truths: int = 0
    times: int = 0
    zoned: int = 0
    form: str | None = None
    other_forms: tuple[str, ...] = ()
    longest: int = 0
    digits: int = 0
    steps: bool = False
    values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A source that was looked at: how to read it, how many rows it has, and its columns."""

    source: InputSpec
    rows: int
    columns: tuple[Look, ...]
    connection: Any

    def count(self, query: str) -> int:
        """Give the number that a query of the table `looked` gives, whose columns are text under plain names."""
        return int(self.connection.execute(query).fetchone()[0] or 0)

    def all_differ(self, name: str) -> bool:
        """Whether no two rows of all have the same value in a column, and none has none."""
        return self.count(f"SELECT count(DISTINCT {quoted(name)}) FROM looked") == self.rows


@contextmanager
def looked_at(source: str, folder: Path) -> Iterator[Looked]:
    """Look at a source; its rows are there as text for as long as the block lasts.

    Args:
        source: File, folder, glob or `s3://` address of CSV or Parquet files, `postgresql://...?table=NAME`, or
            `FILE.duckdb?table=NAME`.
        folder: What a relative path starts from.

    Raises:
        Misuse: It names no table of a database.
        SourceMissing: It is not there.
        DataRefused: It is damaged.
        EmptyWindow: It has no rows.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="baton-look-") as scratch:
        connection = opened(Path(scratch))
        try:
            yield _looked(connection, _place(source), folder, Path(scratch))
        except duckdb.Error as error:
            raise damaged(source.rpartition("@")[2], error) from error
        finally:
            connection.close()


def _place(source: str) -> dict[str, Any]:
    """Tell files and databases apart, as the keys of an input."""
    database, _, table = source.partition("?table=")
    if source.startswith(POSTGRES) or database.endswith((".duckdb", ".ddb")):
        if not table:
            raise Misuse(
                what=f"no table is named in {source.rpartition('@')[2]}",
                why="a database has many",
                fix="add ?table=NAME to the address, or ?table=SCHEMA.NAME",
            )
        return {"database": database, "table": table}
    return {"path": source}


def _looked(connection: Any, place: dict[str, Any], folder: Path, scratch: Path) -> Looked:
    any_column = {"columns": {"any": "text"}}
    if "path" in place:
        place = {**place, "format": _format(place, folder, scratch)}
    asked = InputSpec.model_validate({**place, **any_column})
    files = pieces(asked, folder, copies=scratch, wanted=None)
    if "path" in place and place["format"] == "csv":
        place["csv"] = csv_form(files[0].path).model_dump()
        asked = InputSpec.model_validate({**place, **any_column})
    there = names_there(connection, asked, files[0], copies=scratch)
    names = plain_names(there)
    changed = {name: own for name, own in zip(names, there, strict=True) if name != own}
    taken = InputSpec.model_validate({**place, "columns": dict.fromkeys(names, "text"), "names": changed})
    missing = ", ".join(map(literal, MISSING))
    kept = ", ".join(
        f"CASE WHEN trim({quoted(own)}) IN ({missing}) THEN NULL ELSE trim({quoted(own)}) END AS {quoted(name)}"
        for name, own in zip(names, there, strict=True)
    )
    connection.execute(f"CREATE TABLE looked ({', '.join(f'{quoted(name)} VARCHAR' for name in names)})")
    for file in files:
        text = text_of(connection, taken, file, copies=scratch)
        connection.execute(f"INSERT INTO looked SELECT {kept} FROM ({text})")
    rows = connection.execute("SELECT count(*) FROM looked").fetchone()[0]
    if not rows:
        raise EmptyWindow(what=f"{files[0].name} has no rows", why="it holds column names alone", fix="give it rows")
    connection.execute(f"CREATE VIEW close_by AS SELECT * FROM looked LIMIT {CLOSELY}")
    columns = tuple(_look(connection, name, own, taken) for name, own in zip(names, there, strict=True))
    return Looked(source=taken, rows=rows, columns=columns, connection=connection)


def _format(place: dict[str, Any], folder: Path, scratch: Path) -> str:
    if place["path"].lower().endswith(SUFFIXES["parquet"]):
        return "parquet"
    try:
        find_files(InputSpec.model_validate({**place, "columns": {"any": "text"}}), folder, copies=scratch)
    except SourceMissing:
        found = InputSpec.model_validate({**place, "format": "parquet", "columns": {"any": "text"}})
        if Path(place["path"]).suffix:
            raise
        find_files(found, folder, copies=scratch)
        return "parquet"
    return "csv"


def _look(connection: Any, name: str, there: str, taken: InputSpec) -> Look:
    """Count what a column holds, in one pass, and another over its few values or its times."""
    column, form = quoted(name), taken.csv
    number = f"replace({column}, {literal(form.thousands)}, '')" if form.thousands else column
    number = number if form.decimal == "." else f"replace({number}, ',', '.')"
    iso = f"regexp_matches({column}, {literal(ISO)})"
    counts = {
        "rows": "count(*)",
        "present": f"count({column})",
        "distinct": f"count(DISTINCT {column})",
        "numbers": f"count(TRY_CAST({number} AS DOUBLE))",
        "whole": f"count(*) FILTER (regexp_full_match({column}, '[+-]?[0-9]+(\\.0)?'))",
        "zeros_first": f"count(*) FILTER (regexp_full_match({column}, '0[0-9]+'))",
        "truths": f"count(*) FILTER (lower({column}) IN {(*TRUE, *FALSE)})",
        "iso": f"count(TRY_CAST({with_seconds(column)} AS TIMESTAMPTZ)) FILTER ({iso})",
        "zoned": f"count(*) FILTER (regexp_matches({column}, {literal(ZONED)}))",
        "longest": f"coalesce(max(length({column})), 0)",
        "digits": f"coalesce(max(length({column})) FILTER (regexp_full_match({column}, '[+-]?[0-9]+')), 0)",
    }
    row = connection.execute(f"SELECT {', '.join(counts.values())} FROM close_by").fetchone()
    said = dict(zip(counts, row, strict=True))
    times = said.pop("iso")
    forms: list[str] = []
    if not times and said["present"] and said["truths"] != said["present"]:
        times, forms = _forms(connection, column, said["present"], numbers=said["numbers"])
    return Look(
        name=name,
        there=there,
        **said,
        times=times,
        form=forms[0] if forms else None,
        other_forms=tuple(forms[1:]),
        steps=said["whole"] == said["rows"] and _steps(connection, column),
        values=_values(connection, column) if said["distinct"] <= FEW_VALUES else (),
    )


def _forms(connection: Any, column: str, present: int, *, numbers: int) -> tuple[int, list[str]]:
    """Find the forms in which every value is a time; a plain number is one only where it is eight digits of a date."""
    forms = [form for form in FORMS if numbers < present or form == "%Y%m%d"]
    parsed = ", ".join(f"count(TRY_STRPTIME({column}, {literal(form)}))" for form in forms)
    eight = f"count(*) FILTER (regexp_full_match({column}, '(19|20)[0-9]{{6}}'))"
    *counts, dates = connection.execute(f"SELECT {parsed}, {eight} FROM close_by").fetchone()
    found = [form for form, count in zip(forms, counts, strict=True) if count == present]
    if numbers == present and dates < present:
        return 0, []
    return (present, found) if found else (0, [])


def _steps(connection: Any, column: str) -> bool:
    differences = f"SELECT {column}::HUGEINT - lag({column}::HUGEINT) OVER () AS step FROM close_by"
    return bool(connection.execute(f"SELECT coalesce(bool_and(step = 1), false) FROM ({differences})").fetchone()[0])


def _values(connection: Any, column: str) -> tuple[tuple[str, int], ...]:
    query = f"SELECT {column}, count(*) FROM close_by WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    return tuple((str(value), int(count)) for value, count in connection.execute(query).fetchall())
