"""Text as values, in SQL for DuckDB: what is no value of its column's kind is told, never made into a missing one.

Every source is read as text first, so a column has one meaning whatever wrote
it. Times end in UTC: one that names a zone is taken at its word, any other is
of the input's declared zone, where an hour that the clocks repeat counts as
the second of the two and one that they skip as an hour later.
"""

from __future__ import annotations

from baton.core.input_spec import InputSpec, Kind

TRUE = ("true", "t", "yes", "y", "1", "1.0", "on")
FALSE = ("false", "f", "no", "n", "0", "0.0", "off")
# A clock time followed by Z, an offset or a zone's name.
ZONED = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}(:?\d{2})?|UTC|GMT|[A-Z][A-Za-z_]+/[A-Za-z_/]+)$"
NO_SECONDS = r"^(.*[T ]\d{1,2}:\d{2})\s?(Z|[+-]\d{2}(:?\d{2})?)$"
SQL_TYPES: dict[Kind, str] = {"number": "DOUBLE", "truth": "DOUBLE", "text": "VARCHAR", "time": "TIMESTAMPTZ"}
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
KIND_WORDS: dict[Kind, str] = {"number": "number", "truth": "yes or no", "text": "text", "time": "time"}


def quoted(name: str) -> str:
    """Give an identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Give a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def given(column: str, taken: InputSpec) -> str:
    """Give the SQL of a column's text, NULL where a declared text stands for no value."""
    text = f"trim({quoted(taken.there(column))})"
    return f"CASE WHEN {text} IN ({', '.join(map(literal, ['', *taken.missing]))}) THEN NULL ELSE {text} END"


def value_of(column: str, taken: InputSpec, text: str) -> str:
    """Give the SQL of a column's value from the SQL of its text, NULL where it is no such value."""
    kind = taken.columns[column]
    if kind == "text":
        return text
    if kind == "truth":
        return f"CASE WHEN lower({text}) IN {TRUE} THEN 1.0 WHEN lower({text}) IN {FALSE} THEN 0.0 END::DOUBLE"
    if kind == "number":
        return f"TRY_CAST({_plain_number(taken, text)} AS DOUBLE)"
    return _time(taken, text, taken.formats.get(column))


def with_seconds(text: str) -> str:
    """Give the SQL of a time's text with the seconds that DuckDB wants wherever there is a zone."""
    return rf"regexp_replace({text}, {literal(NO_SECONDS)}, '\1:00\2')"


def problem_of(column: str, text: str, value: str, kind: Kind, *, zone: str | None) -> str:
    """Give the SQL that says what is wrong with a value, NULL where nothing is."""
    words = f"is no {KIND_WORDS[kind]}" + (" with a zone" if kind == "time" and zone is None else "")
    return (
        f"CASE WHEN {text} IS NOT NULL AND ({value} IS NULL)"
        f" THEN concat({literal(column)}, ' ', {literal(words)}, ': ', left({text}, 40)) END"
    )


def _plain_number(taken: InputSpec, text: str) -> str:
    if taken.path is None or taken.format != "csv":
        return text
    if taken.csv.thousands:
        text = f"replace({text}, {literal(taken.csv.thousands)}, '')"
    return text if taken.csv.decimal == "." else f"replace({text}, ',', '.')"


def _time(taken: InputSpec, text: str, form: str | None) -> str:
    if form in EPOCHS:
        # Also where a missing value has turned whole numbers into 1.7e9 or 1700000000.0.
        return f"make_timestamptz((TRY_CAST({text} AS DOUBLE) * {EPOCHS[form]})::BIGINT)"
    if form is not None and "%z" in form:
        return f"TRY_STRPTIME({text}, {literal(form)})"
    naive = f"TRY_CAST({text} AS TIMESTAMP)" if form is None else f"TRY_STRPTIME({text}, {literal(form)})"
    local = "NULL" if taken.timezone is None else f"timezone({literal(taken.timezone)}, {naive})"
    if form is not None:
        return f"({local})::TIMESTAMPTZ"
    zoned = f"TRY_CAST({with_seconds(text)} AS TIMESTAMPTZ)"
    return f"CASE WHEN regexp_matches({text}, {literal(ZONED)}) THEN {zoned} ELSE ({local})::TIMESTAMPTZ END"
