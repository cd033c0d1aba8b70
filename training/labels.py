"""Labels that fit their task: 0 and 1, class indexes, or numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from baton.core.errors import TrainingFailed, listed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from baton.core.spec import ModelSpec


def labels_of(rows: pd.DataFrame, spec: ModelSpec) -> NDArray[np.float64]:
    """Give the labels of rows to train on.

    Raises:
        TrainingFailed: A label is none of the task's, a class has no row, or all labels are alike.
    """
    labels = rows["label"].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(labels)
    if bad.any():
        raise _refused(
            labels, why=f"{int(bad.sum())} are missing or infinite{_learns(spec)}", fix="check the label column"
        )
    if spec.task == "regression":
        _check_numbers(labels)
    else:
        _check_classes(labels, spec)
    return labels


def _check_numbers(labels: NDArray[np.float64]) -> None:
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - two numbers differ
        raise _refused(labels, why="a regression learns from numbers that differ", fix=_LONGER)


def _check_classes(labels: NDArray[np.float64], spec: ModelSpec) -> None:
    count = 2 if spec.task == "binary" else len(spec.label.classes)
    found = set(labels.tolist())
    strangers = sorted(found - set(range(count)))
    if strangers:
        raise _refused(
            labels, why=f"{listed(strangers)} is no class index, expected 0 to {count - 1}{_learns(spec)}", fix=_COLUMN
        )
    missing = [at for at in range(count) if at not in found]
    if missing and spec.task == "binary":
        raise _refused(labels, why=f"they are {listed(sorted(found)) or 'none'}{_learns(spec)}", fix=_LONGER)
    if missing:
        names = [f"{at} ({spec.label.classes[at]})" for at in missing]
        raise _refused(labels, why=f"no row is of class {listed(names)}", fix=_LONGER)


_COLUMN = "check the label column and label.classes"
_LONGER = "check the label column, or train on a longer window"


def _learns(spec: ModelSpec) -> str:
    match spec.task:
        case "binary":
            return ", and a binary model learns from rows of both 0 and 1"
        case "multiclass":
            return ", and a model of several classes learns from the index of each"
        case _:
            return ", and a regression learns from finite numbers"


def _refused(labels: NDArray[np.float64], *, why: str, fix: str) -> TrainingFailed:
    return TrainingFailed(what=f"the labels of {len(labels)} training rows are refused", why=why, fix=fix)
