"""The proof that an exported model answers as the trained one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Field
from baton.core.errors import EmptyWindow, ParityFailed, TrainingFailed, listed
from baton.core.policy import Task
from baton.packaging.agreement import HALF, decisions, gaps
from baton.packaging.edge_rows import edge_rows
from baton.packaging.parity_cause import FLIPS, NEIGHBOURS, Cause, cause_of, shown
from baton.packaging.rows import NUMBER, Rows, names_of, rows_from_frame
from baton.packaging.scorer import Scorer
from baton.training.predict import predictions

if TYPE_CHECKING:
    import pandas as pd

    from baton.training.calibration import Calibration

# Float32 sums of some hundred leaves differ from double sums by about 1e-7.
TOLERANCE = 1e-5
SINGLES = 64
# As many rows as a request may carry.
BATCH = 1_024
# A flip lies within the tolerance of the cut; more of them than this would be seen in what is decided.
MOST_FLIPS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two implementations of one model are apart on the same rows.

    `difference` is the largest gap of an answer (see `agreement.gaps`: chances
    absolute, numbers relative), `batch_difference` that of a row alone, or in a
    batch of 1,024, against the same row among all. `flips` counts the rows
    called another class, of two at a chance of a half, once the trained
    chance is a float32 as a served one is; at the base rate likewise for two
    classes. `refused_rows` are edge rows that the trained
    model does not answer.
    """

    task: Task
    rows: int
    edge_rows: int
    refused_rows: int
    difference: float
    batch_difference: float
    flips: int
    flips_at_base_rate: int | None
    base_rate: float | None
    tolerance: float

    @property
    def proven(self) -> bool:
        """Whether every row agrees within the tolerance and few flip; no rows prove nothing."""
        agree = max(self.difference, self.batch_difference) <= self.tolerance
        return self.rows > 0 and agree and self.flips <= max(1.0, MOST_FLIPS * (self.rows + self.edge_rows))


def prove(
    onnx: bytes,
    pipeline: Any,
    frame: pd.DataFrame,
    *,
    fields: Sequence[Field],
    task: Task = "binary",
    calibration: Calibration | None = None,
    cuts: Mapping[str, Sequence[float]] | None = None,
) -> Parity:
    """Compare both models on every row of a holdout and on the edge rows made from it.

    Args:
        onnx: The exported model.
        pipeline: The fitted pipeline.
        frame: Holdout rows; columns that are no field are left out.
        fields: The features in the order of the export.
        task: What the model predicts.
        calibration: What is done to the pipeline's chances.
        cuts: Values of a number column at which the model decides; the rows
            that lie there are compared too.

    Raises:
        EmptyWindow: The holdout has no rows.
        ParityFailed: A row differs by more than `TOLERANCE`, or depends on its
            batch; names the worst row, its values and the cause.
    """
    import pandas as pd

    if frame.empty:
        raise EmptyWindow(what="parity cannot be proven", why="the holdout has no rows", fix="pass a holdout")
    holdout = frame[[field.name for field in fields]]
    made = edge_rows(holdout, fields=fields, cuts=cuts)
    edges, answers = _answered(pipeline, made, task=task, calibration=calibration)
    together = pd.concat([holdout, edges], ignore_index=True)
    expected = trained_scores(pipeline, holdout, task=task, calibration=calibration)
    expected = expected if answers is None else np.concatenate([expected, answers])
    scorer, rows = Scorer(onnx), rows_from_frame(together, fields)
    scores = scorer.score(rows)
    apart = gaps(scores, expected, task=task)
    alone = _in_other_batches(scorer, rows, scores, task=task)
    base_rate = float(expected[: len(holdout)].mean()) if task == "binary" else None
    parity = Parity(
        task=task,
        rows=len(holdout),
        edge_rows=len(edges),
        refused_rows=len(made) - len(edges),
        difference=float(apart.max()),
        batch_difference=float(alone.max()),
        flips=_flips(scores, expected, task=task, cut=HALF),
        flips_at_base_rate=None if base_rate is None else _flips(scores, expected, task=task, cut=base_rate),
        base_rate=base_rate,
        tolerance=TOLERANCE,
    )
    if not parity.proven:
        worst = int(np.argmax(np.fmax(apart, alone)))
        usual = holdout[apart[: len(holdout)] <= TOLERANCE]

        def agree(row: pd.DataFrame) -> bool:
            answer = trained_scores(pipeline, row, task=task, calibration=calibration)
            return bool(gaps(scorer.score(rows_from_frame(row, fields)), answer, task=task)[0] <= TOLERANCE)

        cause = FLIPS if max(apart[worst], alone[worst]) <= TOLERANCE else NEIGHBOURS
        if apart[worst] > TOLERANCE:
            cause = cause_of(together.iloc[[worst]], usual, numbers=names_of(fields, NUMBER), agree=agree)
        raise _unproven(parity, together, scores, expected, worst=worst, cause=cause)
    return parity


def trained_scores(
    pipeline: Any, frame: pd.DataFrame, *, task: Task, calibration: Calibration | None
) -> NDArray[np.float64]:
    """Give the trained model's answers, of the shape that the sealed one gives."""
    scores = predictions(pipeline, frame, task=task, features=tuple(frame.columns))
    return scores if calibration is None else calibration.apply(scores)


def _answered(
    pipeline: Any, rows: pd.DataFrame, *, task: Task, calibration: Calibration | None
) -> tuple[pd.DataFrame, NDArray[np.float64] | None]:
    """Give the rows that the trained model answers at all, with its answers.

    Some estimators refuse a missing value, or one that their own float32
    cannot hold, and far out some answer what is no number; on such rows there
    is nothing to compare with.
    """
    import pandas as pd

    kept: list[pd.DataFrame] = []
    answers: list[NDArray[np.float64]] = []
    pending = [rows]
    while pending:
        part = pending.pop()
        try:
            answers.append(trained_scores(pipeline, part, task=task, calibration=calibration))
        except (ValueError, TrainingFailed):
            middle = len(part) // 2
            pending += [part.iloc[middle:], part.iloc[:middle]] if middle else []
        else:
            kept.append(part)
    return (pd.concat(kept), np.concatenate(answers)) if kept else (rows.iloc[:0], None)


def _in_other_batches(scorer: Scorer, rows: Rows, scores: NDArray[np.float64], *, task: Task) -> NDArray[np.float64]:
    """Measure how much rows change in a batch of 1,024, and evenly picked ones alone."""
    found = np.zeros(len(rows))
    singles = np.unique(np.linspace(0, len(rows) - 1, SINGLES).astype(int))
    many = np.arange(BATCH) % len(rows)
    for picked in (many, *singles[:, None]):
        part = Rows(numbers=rows.numbers[picked], texts=rows.texts[picked])
        found[picked] = np.fmax(found[picked], gaps(scorer.score(part), scores[picked], task=task))
    return found


def _flips(scores: NDArray[np.float64], expected: NDArray[np.float64], *, task: Task, cut: float) -> int:
    if task == "regression":
        return 0
    served = [each.astype(np.float32).astype(np.float64) for each in (scores, expected)]
    ours, theirs = (decisions(each, task=task, cut=float(np.float32(cut))) for each in served)
    return int(np.count_nonzero(ours != theirs))


def _unproven(
    parity: Parity,
    rows: pd.DataFrame,
    scores: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    worst: int,
    cause: Cause,
) -> ParityFailed:
    values = listed(f"{name}={shown(value)}" for name, value in rows.iloc[worst].items())
    return ParityFailed(
        what=f"the exported model differs by {max(parity.difference, parity.batch_difference):.3g}",
        why=f"row {worst} gives {_written(scores[worst])}, expected {_written(expected[worst])} +- "
        f"{parity.tolerance:g}, since {cause.why}; at {values}",
        fix=cause.fix,
    )


def _written(answer: Any) -> str:
    return " ".join(f"{each:.6f}" for each in np.atleast_1d(answer))
