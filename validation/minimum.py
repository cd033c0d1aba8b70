"""Minimum function tests: on rows that must never go wrong, a model is at least so good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import finite
from baton.core.policy import Metric
from baton.core.verdict import Check, Outcome

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.policy import Minimum

# The metric's value on labels and scores; the training stage has it.
Measure = Callable[[Metric, NDArray[np.float64], NDArray[np.float64]], float]
MOST_VALUES = 4


def minimum(
    tests: Sequence[Minimum],
    scores: NDArray[np.float64],
    rows: pd.DataFrame,
    labels: NDArray[np.float64],
    *,
    measure: Measure,
) -> tuple[Check, ...]:
    """Measure a model on each declared group of rows.

    A group without rows, or on which the metric says nothing (the AUC of one
    class), decides nothing and does not pass.
    """
    return tuple(_check(test, scores, rows, labels, measure) for test in tests)


def _check(
    test: Minimum, scores: NDArray[np.float64], rows: pd.DataFrame, labels: NDArray[np.float64], measure: Measure
) -> Check:
    group = written(test.where)
    mask, told = chosen(test.where, rows)
    required = test.at_least if test.at_least is not None else test.at_most
    metric = test.metric.replace("_", " ")
    count = int(mask.sum())
    value = finite(measure(test.metric, labels[mask], scores[mask])) if count else None
    if value is None:
        why = f"{metric} says nothing on its {count:,} rows" if count else "no row matches"
        detail = f"{why} where {group}{told}, so nothing is shown"
        outcome = Outcome.UNDECIDED
    else:
        passed = value >= test.at_least if test.at_least is not None else value <= (test.at_most or 0.0)
        outcome = Outcome.PASSED if passed else Outcome.FAILED
        limit = "at least" if test.at_least is not None else "at most"
        detail = f"{metric} is {value:.4g} on the {count:,} rows where {group}{told}, {limit} {required:g} is needed"
    name = f"minimum {test.metric} where {group}"
    return Check(name=name, outcome=outcome, observed=value, required=required, detail=detail)


def chosen(where: Mapping[str, Any], rows: pd.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """Choose the rows that meet every condition; the words tell the values that no row has."""
    mask = np.ones(len(rows), dtype=bool)
    unseen = []
    for feature, wanted in where.items():
        column = rows[feature]
        if isinstance(wanted, Mapping):
            low, high = wanted.get("from"), wanted.get("to")
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            # A missing number is in no range, even one that is open at both ends.
            mask &= ~np.isnan(numbers)
            mask &= (numbers >= (-np.inf if low is None else low)) & (numbers <= (np.inf if high is None else high))
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        hits = [_equal(column, value) for value in values]
        mask &= np.logical_or.reduce(hits)
        unseen += [f"{feature} {_value(value)}" for value, hit in zip(values, hits, strict=True) if not hit.any()]
    return mask, f" (no row has {', '.join(unseen)})" if unseen else ""


def written(where: Mapping[str, Any]) -> str:
    """Say which rows are meant, as a person would."""
    return " and ".join(f"{feature} is {_condition(wanted)}" for feature, wanted in where.items())


def _equal(column: pd.Series, value: Any) -> NDArray[np.bool_]:
    if value is None:
        return np.asarray(column.isna() | (column == ""), dtype=bool)
    return np.asarray((column == value).fillna(value=False), dtype=bool)


def _condition(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        return " ".join(f"{end} {wanted[end]:,.12g}" for end in ("from", "to") if wanted.get(end) is not None)
    if not isinstance(wanted, list):
        return _value(wanted)
    more = f" and {len(wanted) - MOST_VALUES} more" if len(wanted) > MOST_VALUES else ""
    return " or ".join(map(_value, wanted[:MOST_VALUES])) + more


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    text = f"{value:.12g}" if isinstance(value, int | float) else str(value)
    return text if text.isprintable() else ascii(text)
