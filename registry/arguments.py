"""Everything that a verdict rests on, as one value with a digest: rows, scores, policy and facts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baton.core.digest import canonical_json, plain
from baton.core.errors import EmptyWindow, NotPromotable
from baton.core.policy import GateSpec, SliceSpec, Task
from baton.core.verdict import Check

Column = NDArray[Any]
# What stands in facts, not in rows: one small JSON beside the table.
IN_ROWS = ("labels", "blocks", "challenger_scores", "champion_scores", "slices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What `decide` takes; equal arguments have equal digests and give equal verdicts.

    Attributes:
        gate: The policy of the comparison.
        slicing: The policy of the slices.
        task: What is predicted.
        model: Name of the model.
        labels: 0 and 1, class indices, or numbers, shape `(rows,)`.
        blocks: Name of each row's block, shape `(rows,)`; rows of one block share luck.
        challenger: The challenger's model digest.
        challenger_scores: Shape `(rows,)`, or `(rows, classes)` of three or more.
        champion: The champion's model digest, None for the first champion.
        champion_scores: Likewise of the champion, or None.
        baselines: Scores of what a model must beat: `constant`, as one number
            (one a class), and others such as `rule` or `linear`, as one a row.
        slices: For each slice which rows are in it, shape `(rows,)`.
        tests: Checks that were made elsewhere.
        epoch: The ledger's head at the time of judging, 0 for the first champion.
        holdout: Digest of the rows.
        scored_on: Digest of the rows that each of `challenger`, `champion` and
            the baselines was scored on, where it is known; it must be `holdout`.
        holdout_start: First moment of the rows; None where they were drawn, since rows have no time.
        challenger_trained_until: When its newest training label became known.
        champion_trained_until: The same of the champion.
        shared_rows: How many rows of the holdout `challenger` and `champion` have trained on.
        now: The time of judging.
    """

    gate: GateSpec
    slicing: SliceSpec = field(default_factory=SliceSpec)
    task: Task = "binary"
    model: str
    labels: ArrayLike
    blocks: ArrayLike
    challenger: str
    challenger_scores: ArrayLike
    champion: str | None = None
    champion_scores: ArrayLike | None = None
    baselines: Mapping[str, ArrayLike]
    slices: Mapping[str, ArrayLike] = field(default_factory=dict)
    tests: tuple[Check, ...] = ()
    epoch: int
    holdout: str
    scored_on: Mapping[str, str] = field(default_factory=dict)
    holdout_start: datetime | None
    challenger_trained_until: datetime
    champion_trained_until: datetime | None = None
    shared_rows: Mapping[str, int]
    now: datetime

    @property
    def digest(self) -> str:
        """The SHA-256 of facts and rows, whatever file they are kept in."""
        return digest_of_parts(facts_of(self), columns_of(self))


def facts_of(arguments: Arguments) -> dict[str, Any]:
    """Give everything but the rows as what JSON knows.

    Raises:
        NotPromotable: A number is NaN or infinite.
    """
    names = [name for name in Arguments.__dataclass_fields__ if name not in IN_ROWS]
    facts = {name: getattr(arguments, name) for name in names}
    facts |= {name: facts[name].model_dump(mode="json") for name in ("gate", "slicing")}
    facts["baselines"] = {name: _constant(name, value, arguments.task) for name, value in arguments.baselines.items()}
    for check in arguments.tests:
        _check_numbers(check)
    return {name: plain(value) for name, value in facts.items()}


def columns_of(arguments: Arguments) -> dict[str, Column]:
    """Give the rows as named columns of one length.

    Raises:
        EmptyWindow: There are no rows.
        NotPromotable: Labels, scores, blocks or slices are not of the same rows.
    """
    labels = np.asarray(arguments.labels, dtype=np.float64)
    if labels.ndim != 1 or len(labels) == 0:
        raise EmptyWindow(
            what="no rows to judge on",
            why=f"the labels have shape {labels.shape}",
            fix="choose another as_of or a longer training.holdout_days",
        )
    columns: dict[str, Column] = {"label": labels}
    _add(columns, "block", names_of(arguments.blocks), "blocks")
    _add_scores(columns, "challenger", arguments.challenger_scores)
    if arguments.champion_scores is not None:
        _add_scores(columns, "champion", arguments.champion_scores)
    for name, value in sorted(arguments.baselines.items()):
        if not is_constant(value, arguments.task):
            _add_scores(columns, f"baseline {name}", value)
    for name, rows in sorted(arguments.slices.items()):
        _add(columns, f"slice {name}", np.asarray(rows, dtype=np.bool_), f"slice {name}")
    return columns


def names_of(blocks: ArrayLike) -> Column:
    """Give the blocks' names as text, whatever they were: days, groups, numbers."""
    return np.asarray(blocks).astype(np.str_).astype(object)


def is_constant(value: ArrayLike, task: Task) -> bool:
    """Whether a baseline answers every row alike, with one number or one for each class."""
    return np.ndim(value) == (1 if task == "multiclass" else 0)


def digest_of_parts(facts: Mapping[str, Any], columns: Mapping[str, Column]) -> str:
    """Give the SHA-256 of facts and of each column's name and values."""
    digest = hashlib.sha256(canonical_json(facts))
    for name, values in sorted(columns.items()):
        digest.update(canonical_json([name, str(values.dtype), len(values)]))
        if values.dtype != object:
            digest.update(np.ascontiguousarray(values).data)
            continue
        # Lengths keep apart what joining would run together.
        digest.update(np.array([len(each) for each in values], dtype=np.int64).data)
        digest.update("".join(values).encode())
    return digest.hexdigest()


def _add(columns: dict[str, Column], name: str, values: Column, who: str) -> None:
    labels = columns["label"]
    if values.shape != labels.shape:
        raise NotPromotable(
            what=f"{who} and labels are not of the same rows",
            why=f"their shapes are {values.shape} and {labels.shape}",
            fix="score exactly the rows of the holdout",
        )
    columns[name] = values


def _add_scores(columns: dict[str, Column], who: str, scores: ArrayLike) -> None:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim <= 1:
        _add(columns, who, values, f"{who} scores")
        return
    for place in range(values.shape[1]):
        _add(columns, f"{who} {place}", values[:, place], f"{who} scores")


def _constant(name: str, value: ArrayLike, task: Task) -> Any:
    if not is_constant(value, task):
        return None
    numbers = np.asarray(value, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise NotPromotable(
            what=f"baseline {name} is no number",
            why=f"it is {numbers.tolist()}",
            fix="measure the base rate on the training rows again",
        )
    return numbers.tolist()


def _check_numbers(check: Check) -> None:
    for place in ("observed", "required", "low", "high"):
        number = getattr(check, place)
        if number is not None and not math.isfinite(number):
            raise NotPromotable(
                what=f"the test {check.name} has no number",
                why=f"{place} is {number}",
                fix="say None where there is no number, or run the test again",
            )
