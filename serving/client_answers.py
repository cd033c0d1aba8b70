"""What a service answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baton.core.policy import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answers to a request's rows, in order, and the version that gave them.

    A model of two classes gives `scores`, the chance of the second; one of
    several gives `labels`, the likeliest, and `class_scores`, the chance of
    each by its name; a regression gives `values`. The others are empty.

    `degraded` names what stood in for a model that failed. `warnings` has what
    is odd about each row, and `features` where each row's are from, if it named
    its entities alone: "online" or "fallback".
    """

    model: str
    version: str
    digest: str
    epoch: int
    ids: tuple[str, ...]
    scores: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    class_scores: tuple[Mapping[str, float], ...] = ()
    values: tuple[float, ...] = ()
    degraded: str = ""
    warnings: tuple[tuple[str, ...], ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The version that a service answers with, and what it predicts."""

    model: str
    version: str
    digest: str
    epoch: int
    task: Task = "binary"
    classes: tuple[str, ...] = ()


def answer_of(told: Mapping[str, Any]) -> Answer:
    """Read an answer by what is known of it; a later service may say more."""
    predictions = told["predictions"]
    return Answer(
        model=told["model"],
        version=told["version"],
        digest=told["digest"],
        epoch=told["epoch"],
        ids=tuple(each["id"] for each in predictions),
        scores=tuple(each["score"] for each in predictions if "score" in each),
        labels=tuple(each["label"] for each in predictions if "label" in each),
        class_scores=tuple(each["scores"] for each in predictions if "scores" in each),
        values=tuple(each["value"] for each in predictions if "value" in each),
        degraded=told.get("degraded", ""),
        warnings=tuple(tuple(each.get("warnings", ())) for each in predictions),
        features=tuple(each["features"] for each in predictions if "features" in each),
    )
