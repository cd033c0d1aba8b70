"""All model tests of one challenger: may it be judged here, does it behave, what does it cost.

    purity ─▶ invariance, direction, minimum ─▶ subgroup gaps ─▶ golden requests ─▶ budget

Each is a pure function of its own module; here they are only put in a row. The
gate has checks of its own, so that nothing declared is nothing owed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import IntegrityBroken
from baton.core.verdict import Check
from baton.validation.behaviour import Score, behaviour
from baton.validation.budgets import Loader, budgets
from baton.validation.declared import refuse_impossible
from baton.validation.golden import golden
from baton.validation.minimum import Measure
from baton.validation.purity import Seen, purity
from baton.validation.subgroup_gaps import subgroup_gaps

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The model files whose cost is compared, and how they are loaded."""

    challenger: Path
    champion: Path | None
    load: Loader


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAnswers:
    """What both models answer to the champion's golden requests."""

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    names: Sequence[str] = ()


def model_tests(
    spec: ModelSpec,
    holdout: pd.DataFrame,
    score: Score,
    *,
    scores: NDArray[np.float64],
    measure: Measure,
    seen: Mapping[str, Seen],
    files: Files | None = None,
    answers: GoldenAnswers | None = None,
) -> tuple[Check, ...]:
    """Make every test that can be made, and give their checks.

    A holdout that a model has learnt from ends the tests: what it scores there
    says nothing.

    Args:
        spec: The declared tests, features and task.
        holdout: Rows with `id`, `moment`, `block`, `label` and the features.
        score: Scores rows with the model that is judged.
        scores: Its scores of the holdout.
        measure: Gives a metric's value on labels and scores.
        seen: Which rows every model that is judged has learnt from, by name.
        files: What is measured for the budget; left out, no cost is told.
        answers: Answers to golden requests, if there are two models.

    Raises:
        SpecInvalid: A declared test cannot be made.
        IntegrityBroken: Scores and rows do not belong together.
    """
    refuse_impossible(spec.tests, spec.features.names, spec.features.text, task=spec.task)
    _check_length(holdout, scores)
    pure = purity(holdout, seen)
    if pure.observed:
        return (pure,)
    labels = holdout["label"].to_numpy(dtype=np.float64)
    text = tuple(spec.features.text)
    checks = [
        pure,
        *behaviour(spec.tests, score, holdout, labels, text=text, task=spec.task, measure=measure),
        *subgroup_gaps(
            spec.tests.fairness,
            scores,
            holdout,
            labels,
            task=spec.task,
            text=text,
            blocks=holdout["block"].factorize()[0].astype(np.int64),
        ),
    ]
    if answers is not None:
        checks.append(golden(answers.champion, answers.challenger, task=spec.task, names=answers.names))
    if files is not None:
        checks += budgets(spec.tests.budget, files.challenger, files.champion, holdout, load=files.load)
    return tuple(checks)


def _check_length(holdout: pd.DataFrame, scores: NDArray[np.float64]) -> None:
    if len(scores) != len(holdout):
        raise IntegrityBroken(
            what="scores and rows are not of the same holdout",
            why=f"there are {len(scores)} scores of {len(holdout)} rows",
            fix="score exactly the rows of the holdout",
        )
