"""What the service says of each row, by task.

binary      {"id", "score"}            the chance of class 1, 0-1
multiclass  {"id", "label", "scores"}  the likeliest class, and each class's chance
regression  {"id", "value"}            the number
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Bundle


def answers(bundle: Bundle, ids: Sequence[str], scores: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Give one answer for each row, in order.

    Args:
        bundle: The model that has scored the rows.
        ids: The rows' ids.
        scores: Shape `(rows,)`, of several classes `(rows, classes)`.
    """
    values = scores.tolist()
    match bundle.task:
        case "binary":
            return [{"id": each, "score": score} for each, score in zip(ids, values, strict=True)]
        case "multiclass":
            labels = likeliest(bundle, scores)
            return [
                {"id": each, "label": label, "scores": dict(zip(bundle.classes, chances, strict=True))}
                for each, label, chances in zip(ids, labels, values, strict=True)
            ]
        case "regression":
            return [{"id": each, "value": value} for each, value in zip(ids, values, strict=True)]


def likeliest(bundle: Bundle, scores: NDArray[np.float64]) -> list[str]:
    """Name the likeliest class of each row; of two that are equal the first."""
    return [bundle.classes[at] for at in np.argmax(scores, axis=1).tolist()]
