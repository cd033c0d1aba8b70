"""The pictures of a run: how good it is, what the gate saw and where it is weak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baton.core.evaluation import Evaluation
from baton.core.policy import Task
from baton.core.verdict import Verdict
from baton.registry import class_figures, number_figures, verdict_figures
from baton.registry.figure_panels import Array, Scores, save


def draw_figures(
    folder: Path,
    *,
    labels: Array,
    challenger: Array,
    champion: Array | None,
    evaluation: Evaluation,
    verdict: Verdict,
    task: Task = "binary",
    classes: Sequence[str] = (),
) -> dict[str, Path]:
    """Draw the figures of a run as PNG files.

    Args:
        folder: Where the files go; it is made if need be.
        labels: 0 or 1, class indices, or numbers, shape `(rows,)`.
        challenger: Its scores, shape `(rows,)`; of three or more classes `(rows, classes)`.
        champion: The champion's scores of the same rows, or None.
        evaluation: Of the challenger, for the slices.
        verdict: For the intervals of its checks.
        task: What is predicted.
        classes: Name of each class of a multiclass label; their indices where left out.

    Returns:
        Each figure's title and file, ready for `Run.figures`; without slices there is no figure of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"challenger": challenger} | ({} if champion is None else {"champion": champion})
    figures = _of_task(task, labels, scores, classes)
    figures["gain"] = verdict_figures.gain(verdict)
    if evaluation.slices:
        figures["slices"] = verdict_figures.slices(evaluation, verdict.metric)
    return {title: save(figure, folder / f"{title}.png") for title, figure in figures.items()}


def _of_task(task: Task, labels: Array, scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    match task:
        case "binary":
            return {
                "ranking": class_figures.ranking(labels, scores),
                "calibration": class_figures.calibration(labels, scores),
            }
        case "multiclass":
            names = classes or [str(index) for index in range(np.shape(scores["challenger"])[1])]
            return {
                "ranking": class_figures.ranking_by_class(labels, scores, names),
                "calibration": class_figures.calibration_of_likeliest(labels, scores),
                "confusion": class_figures.confusion(labels, scores["challenger"], names),
            }
        case "regression":
            return {
                "predicted": number_figures.predicted(labels, scores),
                "residuals": number_figures.residuals(labels, scores),
            }
