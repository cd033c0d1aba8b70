"""Read the bodies of one model the short way: decoded and checked at once, by code made for its fields.

A body that is in order takes this way. Any other, and any that is merely
unusual (an optional field left out, a key before a space and a colon), is read
again by `request_body`, which knows what is wrong with it: whatever this way
accepts, that one accepts with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from baton.core.bundle import Field
from baton.packaging.rows import NUMBER, Rows
from baton.serving.request_body import PredictionRequest, moment_of, parse_request, read_body

# The largest double that is rounded to a 32-bit float and not to infinity.
LARGEST = 3.4028235677973362e38
# Columns of fewer rows are quicker turned into rows than each into an array.
FEW = 16
_Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | None
_Text = str | None


class BodyReader:
    """Reads what callers send to one model."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        # Numbers first, so that each kind is one slice of a row.
        ordered = sorted(range(len(fields)), key=lambda at: fields[at].kind != NUMBER)
        self._numbers = sum(field.kind == NUMBER for field in fields)
        self._width = len(fields)
        # That follow a row's keys, or are in them.
        self._colons = sum(1 + field.name.count(":") for field in fields)
        self._decoder = _decoder(tuple(fields[at] for at in ordered))

    def read(self, content: bytes, *, most_rows: int) -> PredictionRequest:
        """Give the checked rows of a body; see `parse_request` for what is refused, and how.

        Raises:
            BodyUnreadable: It is no strict JSON.
            RequestRefused: It breaks the model's schema.
            TooManyRows: It has more rows than `most_rows`.
        """
        request = self._quickly(content, most_rows)
        return request or parse_request(read_body(content), self._fields, most_rows=most_rows)

    def _quickly(self, content: bytes, most_rows: int) -> PredictionRequest | None:
        """Read a body that is in order, or give None."""
        try:
            body = self._decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        by_row = body.columns is UNSET
        if (body.rows is UNSET) is by_row:
            return None
        rows = self._by_row(body.rows, most_rows) if by_row else self._by_column(body.columns, most_rows)
        if rows is None:
            return None
        words: list[str] = rows.texts.ravel().tolist()
        if not _each_key_once(content, 1 + self._colons * (len(rows) if by_row else 1), body, words):
            return None
        beside = _beside(body, len(rows))
        return beside and PredictionRequest(rows=rows, entities=beside[0], moments=beside[1])

    def _by_row(self, given: Sequence[Any], most_rows: int) -> Rows | None:
        if not 0 < len(given) <= most_rows:
            return None
        return self._laid_out(list(map(astuple, given)))

    def _laid_out(self, rows: Sequence[tuple[Any, ...]]) -> Rows:
        first, count = self._numbers, len(rows)
        words = [word or "" for row in rows for word in row[first:]] if first < self._width else []
        # Twice as quick as numpy's own way from tuples, which has to find out what and how many they are.
        values = np.fromiter(chain.from_iterable(rows), dtype=object, count=count * self._width)
        return Rows(
            # What is None becomes NaN.
            numbers=values.reshape(count, self._width)[:, :first].astype(np.float32),
            texts=np.array(words, dtype=object).reshape(count, self._width - first),
        )

    def _by_column(self, columns: Any, most_rows: int) -> Rows | None:
        lists = astuple(columns)
        first, count = self._numbers, len(lists[0])
        if not 0 < count <= most_rows or any(len(column) != count for column in lists):
            return None
        if count < FEW:
            return self._laid_out(list(zip(*lists, strict=True)))
        numbers = np.empty((count, first), dtype=np.float32)
        texts = np.empty((count, self._width - first), dtype=object)
        for at, column in enumerate(lists[:first]):
            # As above.
            numbers[:, at] = np.array(column, dtype=np.float32)
        for at, column in enumerate(lists[first:]):
            texts[:, at] = [word or "" for word in column]
        return Rows(numbers=numbers, texts=texts)


@lru_cache(maxsize=8)
def _decoder(fields: tuple[Field, ...]) -> msgspec.json.Decoder[Any]:
    """Make the decoder of bodies from the model's fields; the next champion's are nearly always the same ones."""
    kinds = [_Number if field.kind == NUMBER else _Text for field in fields]
    named = [(f"f{at}", msgspec.field(name=field.name)) for at, field in enumerate(fields)]
    strict: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
    row = msgspec.defstruct(
        "Row", [(name, kind, made) for (name, made), kind in zip(named, kinds, strict=True)], **strict
    )
    columns = msgspec.defstruct(
        "Columns",
        [(name, list[kind], made) for (name, made), kind in zip(named, kinds, strict=True)],  # type: ignore[valid-type] # made from the fields
        **strict,
    )
    labels = list[str] | UnsetType
    body = msgspec.defstruct(
        "Body",
        [
            ("rows", list[row] | UnsetType, UNSET),  # type: ignore[valid-type] # as above
            ("columns", columns | UnsetType, UNSET),
            ("entities", labels, UNSET),
            ("moments", labels, UNSET),
        ],
        **strict,
    )
    return msgspec.json.Decoder(body)


def _each_key_once(content: bytes, keys: int, body: Any, words: list[str]) -> bool:
    """Whether no object names a key twice, which the decoder does not see.

    Every key is followed by a colon, so as many colons as the decoded keys
    leave none for a second one. Colons inside of texts are counted off where
    nothing is escaped, since then each of them is written as itself.
    """
    keys += (body.entities is not UNSET) + (body.moments is not UNSET)
    colons = content.count(b":")
    if "\0" in "".join(words):
        return False
    if colons == keys:
        return True
    if b"\\" in content:
        return False
    return colons == keys + _colons(words) + _colons(body.entities or ()) + _colons(body.moments or ())


def _colons(words: Iterable[str]) -> int:
    return sum(word.count(":") for word in words)


def _beside(body: Any, count: int) -> tuple[tuple[str, ...], tuple[Any, ...]] | None:
    """Give entities and moments, or None where one is not in order."""
    entities = () if body.entities is UNSET else tuple(body.entities)
    labels = () if body.moments is UNSET else body.moments
    for given, values in ((body.entities, entities), (body.moments, labels)):
        if given is not UNSET and (len(values) != count or not all(map(str.isprintable, values))):
            return None
    moments = tuple(map(moment_of, labels))
    return None if None in moments else (entities, moments)
