"""A sealed model: everything that serving needs, in one folder named by its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baton.core.policy import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column that the model takes: a number, or text from a list of known values."""

    name: str
    kind: str  # "number" or "text"
    required: bool = True
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A signed folder of model file, schema, reference profile, parity proof and golden requests, with every hash.

    `digest` is the SHA-256 of the manifest, which holds the SHA-256 of every
    other file. `classes` are in the order of the scores; a binary model may
    have none, and then predicts a 1. `epoch` is the ledger's when it was sealed.
    """

    path: Path
    digest: str
    model: str
    model_digest: str
    fields: tuple[Field, ...]
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    epoch: int = 0
