"""What a row may hold: its fields, each checked before the row meets those of others.

JSON values are taken as they are: a number for a number, text for text, null
for missing. Nothing is converted, because a model answers a wrong value as
calmly as a right one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from baton.core.bundle import Field
from baton.core.errors import Misuse
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of

SHOWN_PROBLEMS = 20
# A body of a few bytes for each mistake holds 100,000 of them, and finding all would keep every other caller waiting.
MOST_PROBLEMS = 1_000
_NUMBERS = frozenset({int, float, type(None)})
_TEXTS = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where: a JSON pointer into the body."""

    pointer: str
    detail: str


class RequestRefused(Misuse):
    """A request that breaks the model's schema, with the first problems and the number of the others."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:SHOWN_PROBLEMS])
        self.more = max(0, len(problems) - SHOWN_PROBLEMS)
        self.ended_early = len(problems) >= MOST_PROBLEMS
        first = self.problems[0]
        others = f" and {self.at_least}{len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(
            what="the request is refused",
            why=f"{first.pointer or 'the body'}: {first.detail}{others}",
            fix="GET the model to see its fields",
        )

    @property
    def at_least(self) -> str:
        """Words before the number of problems that are not shown, where nobody looked for all of them."""
        return "at least " if self.ended_early else ""


class Problems:
    """What is wrong with one request, as it is found; so much is looked for and no more."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, pointer: str, detail: str) -> None:
        """Remember a problem.

        Raises:
            RequestRefused: It is the last one that is looked for.
        """
        self._found.append(Problem(pointer=pointer, detail=detail))
        if len(self._found) >= MOST_PROBLEMS:
            self.refuse()

    def unknown(
        self, given: Iterable[str], known: Sequence[str], place: Callable[[str], str], *, what: str = "unknown key"
    ) -> None:
        """Remember each name that is not known, the first ones with the nearest one that is."""
        for name in given:
            if name not in known:
                # Finding the nearest takes longer than all else.
                near = nearest(name, known) if len(self._found) < SHOWN_PROBLEMS else ""
                self.add(place(name), what + near)

    def refuse(self) -> NoReturn:
        """Raise what was found.

        Raises:
            RequestRefused: Always.
        """
        raise RequestRefused(self._found)


def parse_rows(rows: Sequence[Any], fields: Sequence[Field]) -> Rows:
    """Check rows alone; see `parse_request`."""
    problems = Problems()
    table = take_rows(rows, fields, problems, by_column=False)
    if table is None:
        if not problems:
            problems.add("", "there are no rows")
        problems.refuse()
    return table


def take_rows(rows: Sequence[Any], fields: Sequence[Field], problems: Problems, *, by_column: bool) -> Rows | None:
    """Give the rows as arrays, or None after adding what is wrong with them.

    Good rows take the short way: two sets of value types for each. Only where
    that fails is each value looked at to say what is wrong.
    """
    numbers, texts = names_of(fields, NUMBER), names_of(fields, TEXT)
    expected = {field.name for field in fields}
    optional = {field.name for field in fields if not field.required}
    number_rows, text_rows, clean = [], [], True
    for at, row in enumerate(rows):
        if type(row) is dict and row.keys() == expected:
            values, words = [row[name] for name in numbers], [row[name] for name in texts]
            if set(map(type, values)) <= _NUMBERS and set(map(type, words)) <= _TEXTS:
                number_rows.append(values)
                text_rows.append([word or "" for word in words])
                continue
        before = len(problems)
        _check_row(row, at, fields, optional, problems, by_column=by_column)
        clean = clean and len(problems) == before
        if isinstance(row, dict) and len(problems) == before:
            number_rows.append([row.get(name) for name in numbers])
            text_rows.append([row.get(name) or "" for name in texts])
    if not clean or not rows:
        return None
    return _arrays(number_rows, text_rows, fields, problems, by_column=by_column)


def _arrays(
    number_rows: list[list[Any]],
    text_rows: list[list[str]],
    fields: Sequence[Field],
    problems: Problems,
    *,
    by_column: bool,
) -> Rows | None:
    before, names = len(problems), names_of(fields, NUMBER)
    try:
        doubles = np.array(number_rows, dtype=np.float64)
    except OverflowError:
        doubles = np.array([[_double(value) for value in values] for values in number_rows], dtype=np.float64)
    doubles = doubles.reshape(len(number_rows), len(names))
    with np.errstate(over="ignore"):
        singles = doubles.astype(np.float32)
    for row, column in np.argwhere(np.isinf(singles)):
        problems.add(_place(int(row), names[column], by_column=by_column), "too large for a 32-bit float")
    _check_texts(text_rows, names_of(fields, TEXT), problems, by_column=by_column)
    texts = np.array(text_rows, dtype=object).reshape(len(text_rows), len(fields) - len(names))
    return None if len(problems) > before else Rows(numbers=singles, texts=texts)


def _check_texts(text_rows: list[list[str]], names: Sequence[str], problems: Problems, *, by_column: bool) -> None:
    """Find text that cannot leave Python: lone surrogates, and NUL, which ends a text in the runtime."""
    try:
        joined = "".join(word for words in text_rows for word in words)
        joined.encode()
        if "\0" not in joined:
            return
    except UnicodeEncodeError:
        pass
    for at, words in enumerate(text_rows):
        for name, word in zip(names, words, strict=True):
            if "\0" in word or any("\ud800" <= letter <= "\udfff" for letter in word):
                problems.add(_place(at, name, by_column=by_column), "text holds NUL or half a character")


def _check_row(
    row: Any, at: int, fields: Sequence[Field], optional: set[str], problems: Problems, *, by_column: bool
) -> None:
    if not isinstance(row, dict):
        problems.add(pointer_to("rows", at), f"expected an object, found {kind_of(row)}")
        return
    names = [field.name for field in fields]
    # Columns are named once for all rows, and so is what is wrong with the names.
    named = not by_column or at == 0
    if named:
        problems.unknown(row, names, lambda name: _place(at, name, by_column=by_column), what="unknown field")
    for field in fields:
        place = _place(at, field.name, by_column=by_column)
        if field.name not in row:
            if named and field.name not in optional:
                problems.add(place, "field is missing")
        elif type(row[field.name]) not in (_NUMBERS if field.kind == NUMBER else _TEXTS):
            problems.add(place, f"expected {field.kind} or null, found {kind_of(row[field.name])}")


def _double(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ", did you mean 'x'?" for an unknown name, or nothing where no known one is near."""
    near = difflib.get_close_matches(name[:128], list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def kind_of(value: Any) -> str:
    """Name a JSON value's kind as a person would."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "an object"


def _place(at: int, name: str, *, by_column: bool) -> str:
    return pointer_to("columns", name, at) if by_column else pointer_to("rows", at, name)


def pointer_to(*parts: object) -> str:
    """Give a JSON pointer (RFC 6901); keys come from outside, so long ones are cut and half characters replaced."""
    names = [str(part)[:128].encode("utf-8", "replace").decode() for part in parts]
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
