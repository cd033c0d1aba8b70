"""The rows of one reading in a DuckDB on disk: made into values, compared with what has landed, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.input_spec import ROW_ID, InputSpec
from baton.core.spec import TableSpec
from baton.core.whole_file import replace_file
from baton.features.landing import Batch
from baton.features.typed_sql import SQL_TYPES, given, literal, problem_of, quoted, value_of

if TYPE_CHECKING:
    import pandas as pd

# Between the values of a row, and in place of one that is missing, where it is hashed.
BETWEEN, NOTHING = "chr(31)", "chr(30)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """New rows, ready to be given; `waited_for` are the numbers of the files with rows that are known later."""

    connection: Any
    table: str
    columns: tuple[str, ...]
    event: str
    known: str
    since: datetime | None
    as_of: datetime
    batch_rows: int
    rows: int
    waiting: int
    repeated: int
    waited_for: frozenset[int]

    def batches(self) -> Iterator[tuple[Batch, pd.DataFrame]]:
        """Give batches in order of known time, each with its bad rows apart."""
        since = self.since
        for until in [*self._cuts(), self.as_of]:
            columns = [*map(quoted, self.columns), f"_event AS {quoted(self.event)}", f"_known AS {quoted(self.known)}"]
            rows = self._between(since, until, columns, "_problem IS NULL")
            bad = self._between(since, until, [*columns, "_problem AS reason"], "_problem IS NOT NULL")
            yield Batch(table=self.table, since=since, until=until, rows=rows), bad
            since = until

    def write_hashes(self, batch: Batch, path: Path) -> None:
        """Write the hashes of a batch's rows, in order, to a Parquet file."""
        inside = _inside(batch.since, batch.until)
        rows = f"SELECT _key AS key, _row AS row, _place AS place FROM fresh WHERE {inside} ORDER BY _known, _place"

        def write(temporary: Path) -> None:
            self.connection.execute(f"COPY ({rows}) TO {literal(str(temporary))} (FORMAT parquet)")

        replace_file(path, write)

    def _cuts(self) -> list[datetime]:
        """Give the moments between batches: every so many rows, never within one moment."""
        numbered = "SELECT _known AS moment, row_number() OVER (ORDER BY _known) AS number FROM fresh"
        cuts = self.connection.execute(
            f"SELECT DISTINCT moment FROM ({numbered}) WHERE number % {self.batch_rows} = 1 AND number > 1 ORDER BY 1"
        ).fetchall()
        first = self.connection.execute("SELECT min(_known) FROM fresh").fetchone()[0]
        return [cut for (cut,) in cuts if cut > first]

    def _between(self, since: datetime | None, until: datetime, columns: Sequence[str], condition: str) -> pd.DataFrame:
        query = f"SELECT {', '.join(columns)} FROM fresh WHERE {_inside(since, until)} AND {condition}"
        frame: pd.DataFrame = self.connection.execute(f"{query} ORDER BY _known, _place").to_arrow_table().to_pandas()
        times = frame.select_dtypes("datetimetz").columns
        return frame.astype(dict.fromkeys(times, "datetime64[ns, UTC]"))


def typed_columns(table: TableSpec, taken: InputSpec) -> list[str]:
    """List the input's columns that are read for a table: its own, its times and what makes its `row_id`."""
    wanted = [*table.key, *(table.columns or taken.offered), *table.present]
    if table.times == "columns":
        wanted += [table.event_time, table.known_time]
    wanted += taken.row_id if ROW_ID in wanted else []
    return [column for column in taken.columns if column in wanted]


def staged_rows(
    connection: Any,
    name: str,
    table: TableSpec,
    taken: InputSpec,
    texts: Sequence[tuple[int, str]],
    *,
    known: Sequence[Path],
    state: bool,
    since: datetime | None,
    as_of: datetime,
    batch_rows: int,
) -> Staging:
    """Read files into DuckDB and find the rows that have not landed.

    Args:
        connection: A DuckDB of its own.
        name: The table's name.
        table: The table.
        taken: Its input.
        texts: Number and SQL of each file's rows as text.
        known: Files with the hashes of what has landed, oldest first.
        state: Whether the input holds rows as they are now: a row that differs from its key's newest is new, whatever
            was before. Else the input is a log, and a row that was ever there is not new.
        since: Up to where the table has landed.
        as_of: Up to where it shall land.
        batch_rows: About how many rows a batch has.
    """
    _stage(connection, table, taken, texts)
    chunks = _number(connection, f"SELECT count(*) // {batch_rows} + 1 FROM staged")
    # Rows that land here and now share no single moment, or they could not be cut into batches.
    now = f"{_moment(as_of)} - to_microseconds({chunks} - rowid // {batch_rows})"
    own = _own_columns(table, taken)
    connection.execute(_hashed(table, taken, own, now=now, since=since))
    connection.execute("DROP TABLE staged")
    # A reversal carries a new known time where there is one, so that only without one a row may come back.
    own_clock = table.times == "columns" and table.known_time in taken.columns
    _find_new(connection, known, state=state and not own_clock)
    repeated = _number(connection, "SELECT coalesce(sum(times - 1), 0) FROM new")
    waits = f"_known >= {_moment(as_of)}"
    waiting, files = connection.execute(f"SELECT count(*), list(DISTINCT _file) FROM fresh WHERE {waits}").fetchone()
    connection.execute(f"DELETE FROM fresh WHERE {waits}")
    return Staging(
        connection=connection,
        table=name,
        columns=tuple(own),
        event=table.event_time,
        known=table.known_time,
        since=since,
        as_of=as_of,
        batch_rows=batch_rows,
        rows=_number(connection, "SELECT count(*) FROM fresh"),
        waiting=waiting,
        repeated=repeated,
        waited_for=frozenset(files or ()),
    )


def _own_columns(table: TableSpec, taken: InputSpec) -> list[str]:
    """List what the table takes beside its two times."""
    wanted = [*table.key, *(table.columns or taken.offered)]
    return [name for name in taken.offered if name in wanted and name not in {table.event_time, table.known_time}]


def _stage(connection: Any, table: TableSpec, taken: InputSpec, texts: Sequence[tuple[int, str]]) -> None:
    """Make every file's text into values, each row with what is wrong with it."""
    columns = typed_columns(table, taken)
    types = [f"{quoted(name)} {SQL_TYPES[taken.columns[name]]}" for name in columns]
    connection.execute(f"CREATE TABLE staged ({', '.join(types)}, _problem VARCHAR, _content UBIGINT, _file INTEGER)")
    values = {name: value_of(name, taken, quoted(name)) for name in columns}
    problems = [
        problem_of(name, quoted(name), values[name], taken.columns[name], zone=taken.timezone)
        for name in columns
        if taken.columns[name] != "text"
    ]
    content = (
        _hash([quoted(name) for name in taken.row_id]) if taken.row_id and set(taken.row_id) <= set(columns) else "0"
    )
    problem = f"nullif(concat_ws('; ', {', '.join(['NULL', *problems])}), '')"
    for number, text in texts:
        texts_of = ", ".join(f"{given(name, taken)} AS {quoted(name)}" for name in columns)
        typed = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
        rows = f"SELECT {texts_of} FROM ({text})"
        connection.execute(f"INSERT INTO staged SELECT {typed}, {problem}, {content}, {number} FROM ({rows})")


def _hashed(table: TableSpec, taken: InputSpec, own: list[str], *, now: str, since: datetime | None) -> str:
    """Give the SQL that adds to the staged rows their id, their two times and their hashes."""
    number = "row_number() OVER (PARTITION BY _file, _content ORDER BY rowid)"
    names = f"printf('%016x', _content) || CASE WHEN {number} > 1 THEN '-' || {number} ELSE '' END"
    row_id = f", {names} AS {ROW_ID}" if ROW_ID in own else ""
    own_event, own_known = "NULL::TIMESTAMPTZ", "NULL::TIMESTAMPTZ"
    if table.times == "columns":
        own_event = quoted(table.event_time)
        later = f"{own_event} + to_microseconds({round(table.known_after_hours * 3_600_000_000)})"
        own_known = quoted(table.known_time) if table.known_time in taken.columns else later
    times = f"{own_event} AS _own_event, {own_known} AS _own_known, {now} AS _now"
    timed = f"SELECT *, rowid AS _place, {times}{row_id} FROM staged"
    late = "false" if since is None else f"_own_known < {_moment(since)}"
    values = ", ".join(quoted(name) for name in own)
    there = " AND ".join([f"{quoted(name)} IS NOT NULL" for name in table.present] or ["true"])
    absent = (
        f"CASE WHEN _own_event IS NULL THEN '{table.event_time} is missing' END" if table.times == "columns" else "NULL"
    )
    hashes = {
        "_key": _hash([quoted(name) for name in table.key]),
        "_row": _hash(
            [*map(quoted, own), "_own_event", *(["_own_known"] if table.known_time in taken.columns else [])]
        ),
    }
    return (
        f"CREATE TABLE hashed AS SELECT {values}, coalesce(_own_event, _now) AS _event,"
        f" CASE WHEN _own_known IS NULL OR {late} THEN _now ELSE _own_known END AS _known,"
        f" nullif(concat_ws('; ', _problem, {absent}), '') AS _problem,"
        f" {', '.join(f'{sql} AS {name}' for name, sql in hashes.items())}, _place, _file"
        f" FROM ({timed}) WHERE _problem IS NOT NULL OR ({there})"
    )


def _find_new(connection: Any, known: Sequence[Path], *, state: bool) -> None:
    """Keep of the rows those that have not landed, each once, as the table `fresh`."""
    connection.execute(
        "CREATE TABLE new AS SELECT _key, _row, min(_place) AS first, count(*) AS times FROM hashed GROUP BY _key, _row"
    )
    if known:
        files = ", ".join(literal(str(file)) for file in known)
        landed = f"read_parquet([{files}], filename = true, file_row_number = true)"
        # Names begin with a moment, so that their order is that of landing.
        newest = f"SELECT key, arg_max(row, (filename, file_row_number)) AS row FROM {landed} GROUP BY key"
        rows = newest if state else f"SELECT DISTINCT key, row FROM {landed}"
        connection.execute(
            f"DELETE FROM new USING ({rows}) AS landed WHERE new._key = landed.key AND new._row = landed.row"
        )
    connection.execute("CREATE TABLE fresh AS SELECT hashed.* FROM hashed JOIN new ON hashed._place = new.first")
    connection.execute("DROP TABLE hashed")


def _hash(columns: Sequence[str]) -> str:
    """Give the SQL of 64 bits of a row's MD5, which no release of DuckDB computes otherwise."""
    texts = ", ".join(f"coalesce({name}::VARCHAR, {NOTHING})" for name in columns)
    return f"md5_number_lower(concat_ws({BETWEEN}, {texts}))"


def _inside(since: datetime | None, until: datetime) -> str:
    begun = "true" if since is None else f"_known >= {_moment(since)}"
    return f"{begun} AND _known < {_moment(until)}"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ {literal(moment.isoformat(sep=' '))}"


def _number(connection: Any, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
