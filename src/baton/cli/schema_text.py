"""The reference of model.yaml, from the declarations that check it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from baton.core.spec import ModelSpec

HEAD = """# model.yaml

One file declares a project. Unknown keys are refused, with the nearest known one named. This page is written by
`make schema` from the declarations in `baton.core.spec`; editors read [the JSON Schema](model.schema.json).
"""


def reference() -> str:
    """Render every key with its type, default and meaning, section by section."""
    sections = [HEAD]
    waiting: list[tuple[str, type[BaseModel]]] = [("", ModelSpec)]
    while waiting:
        place, model = waiting.pop(0)
        sections.append(_section(place, model))
        waiting += [(f"{place}{name}.", inner) for name, inner in _inner(model)]
    return "\n".join(sections)


def _section(place: str, model: type[BaseModel]) -> str:
    title = f"## `{place.rstrip('.')}`" if place else "## Top level"
    rows = [_row(name, field) for name, field in model.model_fields.items()]
    return "\n".join(
        [title, "", _first_line(model), "", "| key | default | meaning |", "| --- | --- | --- |", *rows, ""]
    )


def _row(name: str, field: Any) -> str:
    if field.is_required():
        default = "required"
    elif isinstance(field.default, BaseModel) or field.default is PydanticUndefined:
        default = ""
    else:
        default = f"`{field.default}`"
    return f"| `{name}` | {default} | {field.description or ''} |"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _inner(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    found = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        many = getattr(kind, "__args__", None)
        inner = many[-1] if many else kind
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found.append((f"{name}.NAME" if many and len(many) > 1 else f"{name}[]" if many else name, inner))
    return found
