"""The trainer's own parameters, as the project file states them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from baton.core.errors import SpecInvalid, listed

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec


def checked_parameters(spec: ModelSpec, *, known: Iterable[str], owned: Mapping[str, Any]) -> dict[str, Any]:
    """Give the declared parameters together with those that Baton sets itself.

    Args:
        spec: Declares `training.parameters`.
        known: Every parameter that the model takes.
        owned: What Baton sets so that a fit can be repeated; not for the project to change.

    Raises:
        SpecInvalid: A declared parameter is unknown or is Baton's; all are
            listed, unknown ones with the nearest known one.
    """
    free = sorted(set(known) - set(owned))
    problems = [_explain(name, free, owned) for name in spec.training.parameters if name not in free]
    if problems:
        raise SpecInvalid(
            what=f"training.parameters of {spec.training.trainer} are refused",
            why=listed(problems),
            fix=f"use {listed(free)}",
        )
    return {**spec.training.parameters, **owned}


def _explain(name: str, free: list[str], owned: Mapping[str, Any]) -> str:
    if name in owned:
        return f"{name!r} is set by Baton, so that a fit can be repeated"
    near = difflib.get_close_matches(name, free, n=1)
    return f"unknown {name!r}" + (f", did you mean {near[0]!r}?" if near else "")
