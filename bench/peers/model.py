"""The bench's bundle, for the peers: its fields, its ONNX graph, and the arrays that the graph takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from baton.packaging.manifest import MODEL
from baton.packaging.reader import open_contents
from baton.packaging.rows import NUMBER, TEXT, Rows, names_of
from baton.packaging.scorer import Scorer

_contents = open_contents(Path(os.environ["BENCH_BUNDLE"]))
_numbers = names_of(_contents.bundle.fields, NUMBER)
_texts = names_of(_contents.bundle.fields, TEXT)
_scorer = Scorer(_contents.files[MODEL])

# What people write for a service of theirs: a pydantic model of a row, with no field too many.
Row: type[BaseModel] = create_model(
    "Row",
    __config__=ConfigDict(extra="forbid", strict=True),
    **dict.fromkeys(_numbers, (float | None, ...)),  # type: ignore[call-overload] # names that mypy cannot know
    **dict.fromkeys(_texts, (str | None, ...)),
)


def score(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Score rows that were checked."""
    numbers = np.array([[row[name] for name in _numbers] for row in rows], dtype=np.float32)
    texts = np.array([[row[name] or "" for name in _texts] for row in rows], dtype=object)
    return [float(score) for score in _scorer.score(Rows(numbers=numbers, texts=texts))]
