"""An input's rows as text, from files and databases, in a DuckDB that spills to disk."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baton.core.digest import digest_of_file
from baton.core.errors import DataRefused, SourceMissing, listed
from baton.core.input_spec import InputSpec
from baton.features.input_files import InputFile, find_files, in_utf8
from baton.features.postgres_copy import columns_of, copy_out
from baton.features.typed_sql import literal, quoted

POSTGRES = ("postgresql://", "postgres://")
HEADER_CHARACTERS = 1 << 20
# What a query may hold in memory; more goes to disk.
MEMORY = "1GB"
THREADS = 2


def opened(folder: Path) -> Any:
    """Open a DuckDB in a folder for one reading: bounded in memory, in UTC, on its own."""
    import duckdb

    connection = duckdb.connect(str(folder / "rows.duckdb"))
    settings = {"memory_limit": MEMORY, "temp_directory": str(folder), "TimeZone": "UTC", "threads": THREADS}
    for name, value in settings.items():
        connection.execute(f"SET {name} = {literal(value) if isinstance(value, str) else value}")
    connection.execute("SET autoinstall_known_extensions = false")
    return connection


def pieces(taken: InputSpec, folder: Path, *, copies: Path, wanted: Sequence[str] | None) -> list[InputFile]:
    """Give an input's content as files on this machine; a table of PostgreSQL becomes a CSV file.

    Args:
        taken: The input.
        folder: The project's, from which paths start.
        copies: Folder for what has to be copied.
        wanted: Names of the columns over there that are read of a table; all, none of them refused, where None.
    """
    if taken.path is not None:
        return find_files(taken, folder, copies=copies)
    assert taken.database is not None
    assert taken.table is not None
    if taken.database.startswith(POSTGRES):
        there = list(columns_of(taken.database, taken.table))
        if wanted is not None:
            refuse_strangers(taken.table, there, taken)
        copy = copies / "table.csv"
        copy_out(taken.database, taken.table, list(wanted or there), copy)
        return [InputFile(name=taken.table, digest=digest_of_file(copy), path=copy)]
    file = folder / taken.database
    if not file.is_file():
        raise SourceMissing(what=f"no database at {file}", why="the file is not there", fix="correct the input")
    return [InputFile(name=str(file), digest=digest_of_file(file), path=file)]


def text_of(connection: Any, taken: InputSpec, file: InputFile, *, copies: Path) -> str:
    """Give the SQL that reads a file's columns as text under their names over there.

    Raises:
        DataRefused: The file is damaged, or its columns are not those declared; each is named.
    """
    source = _relation(connection, taken, file)
    if source is None:
        return _csv(taken, file, copies=copies)
    there = columns_there(connection, source, file)
    refuse_strangers(file.name, list(there), taken)
    columns = ", ".join(f"{quoted(name)}::VARCHAR AS {quoted(name)}" for name in there)
    return f"SELECT {columns} FROM {source}"


def names_there(connection: Any, taken: InputSpec, file: InputFile, *, copies: Path) -> list[str]:
    """List the names of a file's columns, whatever was declared.

    Raises:
        DataRefused: The file is damaged.
    """
    source = _relation(connection, taken, file)
    if source is not None:
        return list(columns_there(connection, source, file))
    separator = taken.csv.separator if taken.path is not None else ","
    return header(in_utf8(file, taken.csv.encoding, copies=copies), separator, name=file.name)


def _relation(connection: Any, taken: InputSpec, file: InputFile) -> str | None:
    """Give the SQL of a relation with types; None for CSV."""
    if taken.path is None and not (taken.database or "").startswith(POSTGRES):
        connection.execute(f"ATTACH IF NOT EXISTS {literal(str(file.path))} AS there (READ_ONLY)")
        return f"there.{'.'.join(quoted(part) for part in str(taken.table).split('.'))}"
    if taken.path is not None and taken.format == "parquet":
        return f"read_parquet({literal(str(file.path))})"
    return None


def columns_there(connection: Any, source: str, file: InputFile) -> dict[str, str]:
    """Give the columns of a relation with their types.

    Raises:
        DataRefused: It cannot be read.
    """
    import duckdb

    try:
        return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    except duckdb.Error as error:
        raise damaged(file.name, error) from error


def header(path: Path, separator: str, *, name: str) -> list[str]:
    """Give a CSV file's column names, the second of two alike as `name.2`.

    Raises:
        DataRefused: The file is empty or is not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            first = next(csv.reader(text, delimiter=separator), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataRefused(
            what=f"{name} cannot be read", why=str(error), fix="correct csv.encoding, or write the file again"
        ) from error
    if not any(first):
        raise DataRefused(what=f"{name} is empty", why="it has no header line", fix="write it again with its columns")
    return distinct([column.strip() or f"column {place}" for place, column in enumerate(first, start=1)])


def distinct(names: Sequence[str]) -> list[str]:
    """Number names that repeat: the second `a` is `a.2`."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    counted: dict[str, int] = {}
    found = []
    for name in names:
        counted[name] = counted.get(name, 0) + 1
        found.append(name if counted[name] == 1 else f"{name}.{counted[name]}")
    return found


def read_csv(path: Path, columns: Sequence[str], separator: str) -> str:
    """Give the SQL that reads a UTF-8 CSV file whose columns are known, all as text."""
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    return (
        f"read_csv({literal(str(path))}, auto_detect=false, header=true, delim={literal(separator)},"
        f" quote='\"', escape='\"', columns={{{types}}})"
    )


def refuse_strangers(name: str, there: Sequence[str], taken: InputSpec) -> None:
    """Refuse a source that lacks a declared column or has one that nobody declared; their order does not count.

    Raises:
        DataRefused: Names each.
    """
    declared = [taken.there(column) for column in taken.columns]
    missing = [column for column in declared if column not in there]
    extra = [column for column in there if column not in {*declared, *taken.ignored}]
    problems = [f"no column {column!r}" for column in missing] + [f"unknown column {column!r}" for column in extra]
    if problems:
        raise DataRefused(
            what=f"the columns of {name} are not those of model.yaml",
            why=listed(problems),
            fix="mend the source, or declare the column in its input, under columns or ignored",
        )


def damaged(name: str, error: Exception) -> DataRefused:
    """Say in one line that a file cannot be read."""
    text = str(error).split("Possible")[0].split("  file =")[0]
    return DataRefused(
        what=f"{name} cannot be read",
        why=re.sub(r"\s+", " ", text)[:300],
        fix="write it again, whole, or take it away; nothing of it has landed",
    )


def _csv(taken: InputSpec, file: InputFile, *, copies: Path) -> str:
    path = in_utf8(file, taken.csv.encoding, copies=copies)
    separator = taken.csv.separator if taken.path is not None else ","
    names = header(path, separator, name=file.name)
    if taken.path is not None:
        refuse_strangers(file.name, names, taken)
    return f"SELECT * FROM {read_csv(path, names, separator)}"
