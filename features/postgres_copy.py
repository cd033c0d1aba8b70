"""PostgreSQL as an input: a table copied out as CSV, all of it as of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.errors import DependencyDown, SourceMissing

if TYPE_CHECKING:
    import psycopg

TEN_SECONDS = 10


def columns_of(database: str, table: str) -> dict[str, str]:
    """Give the columns of a table or view with their types, in its order.

    Raises:
        DependencyDown: The server does not answer.
        SourceMissing: There is no such table, or it may not be read.
    """
    from psycopg import sql

    with _connected(database, table) as connection:
        cursor = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(_name(table)))
        types = connection.adapters.types
        found = {column.name: types.get(column.type_code) for column in cursor.description or ()}
        return {name: kind.name if kind else "unknown" for name, kind in found.items()}


def copy_out(database: str, table: str, columns: list[str], path: Path) -> None:
    """Write a table's columns to a CSV file: times in UTC, no value as nothing between two commas.

    Raises:
        DependencyDown: The server does not answer.
        SourceMissing: There is no such table or column, or it may not be read.
    """
    from psycopg import sql

    wanted = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER true)").format(wanted, _name(table))
    with _connected(database, table) as connection, path.open("wb") as file:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET DateStyle = 'ISO'")
        with connection.cursor().copy(statement) as copied:
            for part in copied:
                file.write(part)


def _name(table: str) -> Any:
    from psycopg import sql

    return sql.Identifier(*table.split(".", maxsplit=1))


@contextmanager
def _connected(database: str, table: str) -> Iterator[psycopg.Connection[Any]]:
    import psycopg

    try:
        with psycopg.connect(database, connect_timeout=TEN_SECONDS) as connection:
            connection.read_only = True
            yield connection
    except psycopg.ProgrammingError as error:
        raise SourceMissing(
            what=f"{table} cannot be read", why=_words(error), fix="correct the input in model.yaml"
        ) from error
    except psycopg.Error as error:
        raise DependencyDown(
            what="PostgreSQL does not answer", why=_words(error), fix="start it, or correct the address"
        ) from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
