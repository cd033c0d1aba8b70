"""A request that names entities and leaves their features to the online store.

    {"entities": [{"origin": "EWR", "carrier": "UA"}], "rows": [{"distance": 200}]}

Each item of `entities` has every entity key. `rows`, where they are given, hold
the request's own features: those that are not in the store. Where they are left
out, a feature with the name of an entity key is that key, and others count as
missing, which the answer says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from baton.core.bundle import Field
from baton.packaging.rows import TEXT
from baton.serving.online_map import OnlineMap
from baton.serving.request_body import check_count, moments_of
from baton.serving.request_schema import Problems, kind_of, pointer_to, take_rows

# In JSON a quote inside of a text is escaped, so this is found as a key alone.
KEYED = re.compile(rb'"entities"\s*:\s*\[\s*\{')
KEYS = ("entities", "rows", "moments")
MOST_KEY = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRequest:
    """Checked entities, each with its own features as far as it carries them; `moments` are of each row or none."""

    entities: tuple[Mapping[str, str], ...]
    own: tuple[Mapping[str, Any], ...]
    left_out: tuple[str, ...]
    moments: tuple[datetime, ...]


def parse_entities(body: Any, fields: Sequence[Field], found: OnlineMap, *, most_rows: int) -> EntityRequest:
    """Check a body that names entities.

    Raises:
        RequestRefused: Anything is missing, unknown or of another kind.
        TooManyRows: There are more entities than `most_rows`.
    """
    problems = Problems()
    if not isinstance(body, dict):
        problems.add("", f"expected an object, found {kind_of(body)}")
        problems.refuse()
    problems.unknown(body, KEYS, pointer_to)
    entities = body.get("entities")
    if not isinstance(entities, list) or not entities:
        problems.add("/entities", f"expected a list of at least one object, found {kind_of(entities)}")
        problems.refuse()
    check_count(len(entities), most_rows)
    for at, each in enumerate(entities):
        _check_keys(each, at, found.entities, problems)
    own = [field for field in fields if field.name not in found.names]
    rows = body.get("rows")
    left_out: tuple[str, ...] = ()
    if rows is None:
        given = [field.name for field in own if field.kind == TEXT and field.name in found.entities]
        left_out = tuple(field.name for field in own if field.name not in given)
        rows = [{name: each.get(name) for name in given} for each in entities if isinstance(each, dict)]
    elif not isinstance(rows, list) or len(rows) != len(entities):
        problems.add("/rows", f"expected a list of {len(entities)} objects, one for each of entities")
    else:
        take_rows(rows, own, problems, by_column=False)
    moments = moments_of(body, len(entities), problems)
    if problems:
        problems.refuse()
    return EntityRequest(entities=tuple(entities), own=tuple(rows), left_out=left_out, moments=moments)


def _check_keys(entity: Any, at: int, names: Sequence[str], problems: Problems) -> None:
    if not isinstance(entity, dict):
        problems.add(pointer_to("entities", at), f"expected an object, found {kind_of(entity)}")
        return
    problems.unknown(entity, names, lambda name: pointer_to("entities", at, name))
    for name in names:
        value = entity.get(name)
        if name not in entity:
            problems.add(pointer_to("entities", at, name), "entity key is missing")
        elif not isinstance(value, str):
            # The number 7 and the text "7" are two entities; neither is taken for the other.
            problems.add(pointer_to("entities", at, name), f"expected text, found {kind_of(value)}")
        elif not value or len(value) > MOST_KEY or not value.isprintable():
            problems.add(pointer_to("entities", at, name), f"expected printable text of 1 to {MOST_KEY} characters")
