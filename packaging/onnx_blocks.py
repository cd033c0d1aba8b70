"""Columns on their way through the encoders of a graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A tensor of the graph with its kind and its number of columns."""

    tensor: str
    kind: str
    width: int
