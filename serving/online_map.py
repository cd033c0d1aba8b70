"""Where Feast's online store keeps which value, and how its bytes are read.

The map is a small file that materialising leaves beside the store, so serving
needs neither Feast nor its registry. Keys and values are in Feast's documented
formats: entity keys of serialization version 3, values as protobuf `Value`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from baton.core.errors import IntegrityBroken

MAP_FILE = "online.json"
FORMAT = 1
# Protobuf tags of `Value`: the field's number and its wire type.
STRING, DOUBLE, FLOAT, NULL = b"\x12", b"\x29", b"\x35", b"\x98\x01"
# Feast's number of its type STRING.
STRING_TYPE = 2
# A varint has seven bits a byte.
VARINT_BITS, VARINT_MORE = 7, 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineValue:
    """One value of a view; `field` is its name in a Redis hash."""

    name: str
    kind: str
    field: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineView:
    """One view: values of an entity, missing once older than `ttl_seconds`, filled every `fresh_seconds` or sooner."""

    name: str
    entity: str
    ttl_seconds: float | None
    fresh_seconds: float | None = None
    values: tuple[OnlineValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineMap:
    """The views of one project and the store that holds them, a SQLite file or Redis."""

    project: str
    as_of: datetime
    sqlite: Path | None
    views: tuple[OnlineView, ...]

    @property
    def entities(self) -> tuple[str, ...]:
        """Every entity key that a request names, sorted."""
        return tuple(sorted({view.entity for view in self.views}))

    @property
    def names(self) -> frozenset[str]:
        """Every feature that is in the store."""
        return frozenset(value.name for view in self.views for value in view.values)

    @property
    def mark(self) -> str:
        """The Redis key that says that the store was filled, and not flushed since."""
        return mark_of(self.project)


def mark_of(project: str) -> str:
    """Name the Redis key that stands as long as a project's values do."""
    return f"baton:{project}:as_of"


def read_map(folder: Path) -> OnlineMap | None:
    """Read the map beside a feature store, or None where nothing was materialised.

    Raises:
        IntegrityBroken: The file is none.
    """
    path = folder / MAP_FILE
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        _check(fields)
        return OnlineMap(
            project=fields["project"],
            as_of=datetime.fromisoformat(fields["as_of"]),
            sqlite=folder / fields["sqlite"] if fields["sqlite"] else None,
            views=tuple(_view(each) for each in fields["views"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityBroken(
            what=f"{path} is refused", why=f"it is not readable ({error})", fix="materialize the features again"
        ) from error


def entity_key(name: str, value: str) -> bytes:
    """Give the key under which Feast keeps an entity of one text key."""
    named, valued = name.encode(), value.encode()
    head = struct.pack("<III", 1, STRING_TYPE, len(named))
    return head + named + struct.pack("<II", STRING_TYPE, len(valued)) + valued


def decoded(content: bytes, kind: str) -> float | str | None:
    """Read a protobuf `Value`; NaN and nothing are missing.

    Raises:
        ValueError: It holds another kind.
    """
    if not content or content.startswith(NULL):
        return None
    tag = content[:1]
    if kind == "text" and tag == STRING:
        size, start = _varint(content, 1)
        if start + size != len(content):
            raise ValueError("a text is cut off")
        return content[start:].decode()
    if kind == "number" and tag in {DOUBLE, FLOAT}:
        (number,) = struct.unpack("<d" if tag == DOUBLE else "<f", content[1:])
        return None if math.isnan(number) else float(number)
    raise ValueError(f"expected {kind}, found a value of another kind")


def seconds_of(content: bytes) -> float:
    """Read a protobuf `Timestamp`: seconds since 1970."""
    seconds, nanos, at = 0, 0, 0
    while at < len(content):
        number, start = content[at] >> 3, at + 1
        value, at = _varint(content, start)
        if number == 1:
            seconds = value
        else:
            nanos = value
    return seconds + nanos / 1e9


def _check(fields: Mapping[str, Any]) -> None:
    if fields["format"] != FORMAT:
        raise ValueError(f"its format is {fields['format']!r}, this reader knows {FORMAT}")
    if not fields["views"]:
        # A list that was emptied must not be taken for a model without features.
        raise ValueError("it names no view")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Read a protobuf number; gives it and where the next thing begins."""
    value = shift = 0
    while True:
        if at >= len(content):
            raise ValueError("a number is cut off")
        byte = content[at]
        value |= (byte & (VARINT_MORE - 1)) << shift
        at, shift = at + 1, shift + VARINT_BITS
        if not byte & VARINT_MORE:
            return value, at


def _view(fields: Mapping[str, Any]) -> OnlineView:
    return OnlineView(
        name=fields["name"],
        entity=fields["entity"],
        ttl_seconds=fields["ttl_seconds"],
        fresh_seconds=fields.get("fresh_seconds"),
        values=tuple(
            OnlineValue(name=each["name"], kind=each["kind"], field=bytes.fromhex(each["field"]))
            for each in fields["values"]
        ),
    )
