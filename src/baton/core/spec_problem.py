"""A problem of the project file in words."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel


def explain(problem: Any, file: type[BaseModel]) -> str:
    """Say in a few words what pydantic found wrong, an unknown key with the nearest known one.

    Args:
        problem: One of a validation error's own errors.
        file: What the file was checked against.
    """
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), _siblings(file, problem["loc"]), n=1, cutoff=0.5)
        return f"unknown key {place!r}" + (f", did you mean {near[0]!r}?" if near else "")
    if problem["type"] == "missing":
        return f"{place!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place!r}: {message}" if place else message


def _siblings(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """List the keys that are known where an unknown one was found."""
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            # A list or a mapping: its last argument is what it holds.
            kind = getattr(kind, "__args__", (kind,))[-1]
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
