"""What a prediction request may say: rows or columns, and beside them entities and moments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NoReturn

from baton.core.bundle import Field
from baton.core.errors import Misuse
from baton.packaging.rows import Rows
from baton.serving.request_schema import Problem, Problems, RequestRefused, kind_of, pointer_to, take_rows

BODY_KEYS = ("rows", "columns", "entities", "moments")


class BodyUnreadable(Misuse):
    """A body that is not JSON."""


class TooManyRows(Misuse):
    """More rows than one request may carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRequest:
    """Checked rows; `entities` and `moments` have one item for each row, or none where the caller gave none."""

    rows: Rows
    entities: tuple[str, ...] = ()
    moments: tuple[datetime, ...] = ()
    # What each answer says of where its features come from, where that was the online store; see `online_features`.
    flags: tuple[Mapping[str, Any], ...] = ()


def read_body(content: bytes) -> Any:
    """Read JSON strictly: UTF-8, no NaN or Infinity, no key twice.

    Raises:
        BodyUnreadable: It is none.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BodyUnreadable(what="the body is not JSON", why=str(error), fix="send one JSON object") from error


def parse_request(body: Any, fields: Sequence[Field], *, most_rows: int) -> PredictionRequest:
    """Check a body against the model's fields and give its rows as the model takes them.

    Raises:
        RequestRefused: Anything is missing, unknown or of another kind; all
            problems are counted and the first ones listed.
        TooManyRows: There are more rows than `most_rows`.
    """
    if not isinstance(body, dict):
        raise RequestRefused([Problem(pointer="", detail=f"expected an object, found {kind_of(body)}")])
    problems = Problems()
    problems.unknown(body, BODY_KEYS, pointer_to)
    rows = _rows_of(body, problems, most_rows)
    table = take_rows(rows, fields, problems, by_column="columns" in body)
    entities = _labels(body, "entities", len(rows), problems)
    moments = moments_of(body, len(rows), problems)
    if problems or table is None:
        problems.refuse()
    return PredictionRequest(rows=table, entities=entities, moments=moments)


def _rows_of(body: Mapping[str, Any], problems: Problems, most_rows: int) -> Sequence[Any]:
    if ("rows" in body) == ("columns" in body):
        problems.add("", "expected either rows or columns")
        return ()
    if "columns" in body:
        return _from_columns(body["columns"], problems, most_rows)
    rows = body["rows"]
    if not isinstance(rows, list) or not rows:
        problems.add("/rows", f"expected a list of at least one row, found {kind_of(rows)}")
        return ()
    check_count(len(rows), most_rows)
    return list(rows)


def _from_columns(columns: Any, problems: Problems, most_rows: int) -> Sequence[Any]:
    if not isinstance(columns, dict) or not columns:
        problems.add("/columns", f"expected an object of lists, found {kind_of(columns)}")
        return ()
    before = len(problems)
    lengths = {name: len(values) for name, values in columns.items() if isinstance(values, list)}
    for name in columns:
        if name not in lengths:
            problems.add(pointer_to("columns", name), "expected a list")
    expected = next(iter(lengths.values()), 0)
    check_count(max(lengths.values(), default=0), most_rows)
    for name, length in lengths.items():
        if length != expected:
            problems.add(pointer_to("columns", name), f"has {length} values, the first column {expected}")
    if not expected and len(problems) == before:
        problems.add("/columns", "expected at least one row")
    if len(problems) > before:
        return ()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_count(count: int, most_rows: int) -> None:
    """Refuse more rows than one request may have.

    Raises:
        TooManyRows: They are.
    """
    if count > most_rows:
        raise TooManyRows(
            what=f"{count} rows are too many for one request", why=f"the limit is {most_rows}", fix="send several"
        )


def _labels(body: Mapping[str, Any], key: str, rows: int, problems: Problems) -> tuple[str, ...]:
    values = body.get(key)
    if values is None:
        return ()
    if not isinstance(values, list) or (rows and len(values) != rows):
        problems.add(pointer_to(key), f"expected a list of {rows} texts, one for each row")
        return ()
    for at, value in enumerate(values):
        if not isinstance(value, str) or not value.isprintable():
            problems.add(pointer_to(key, at), f"expected printable text, found {kind_of(value)}")
    return tuple(values)


def moments_of(body: Mapping[str, Any], rows: int, problems: Problems) -> tuple[datetime, ...]:
    """Read each row's moment, or none where the caller gave none."""
    before = len(problems)
    moments = []
    for at, label in enumerate(_labels(body, "moments", rows, problems)):
        moment = moment_of(label)
        if moment is None:
            detail = "expected an ISO 8601 time with an offset, such as 2013-04-01T12:00:00Z"
            problems.add(pointer_to("moments", at), detail)
        else:
            moments.append(moment)
    return () if len(problems) > before else tuple(moments)


def moment_of(label: Any) -> datetime | None:
    """Read an ISO 8601 time with an offset, in UTC; None where it is none."""
    try:
        moment = datetime.fromisoformat(label)
        return moment.astimezone(timezone.utc) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found
