"""Trainers by name. A trainer is a module with the two functions of `Trainer`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from baton.core.errors import SpecInvalid, listed
from baton.training import lightgbm_trainer, logistic_trainer

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec


class Trainer(Protocol):
    """Builds an unfitted scikit-learn pipeline, and says what a fitted one consists of."""

    def build(self, spec: ModelSpec, *, threads: int) -> Any:
        """Give a pipeline that takes the features as a data frame and has `predict_proba`."""

    def content(self, pipeline: Any) -> bytes:
        """Give everything that decides a fitted pipeline's scores, the same bytes for the same model."""


TRAINERS: Mapping[str, Trainer] = {"lightgbm": lightgbm_trainer, "logistic": logistic_trainer}


def trainer_named(name: str) -> Trainer:
    """Find a trainer.

    Raises:
        SpecInvalid: No trainer has that name; the nearest one is suggested.
    """
    if name not in TRAINERS:
        raise SpecInvalid(
            what=f"unknown trainer {name!r}",
            why=f"the trainers are {listed(sorted(TRAINERS))}",
            fix=f"set training.trainer to {nearest(name, TRAINERS)!r}",
        )
    return TRAINERS[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that looks most like `name`."""
    names = sorted(known)
    return (difflib.get_close_matches(name, names, n=1, cutoff=0.0) or names)[0]
