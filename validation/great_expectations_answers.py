"""The answers of a suite: by DuckDB where it can count, by Great Expectations' own engine where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baton.core.spec import Expectation
from baton.validation.days import Outside
from baton.validation.duckdb_table import DuckDbTable
from baton.validation.great_expectations_builder import ASIDE, PLACE
from baton.validation.great_expectations_sql import EXAMPLES, NOWHERE, Answer, answers, question
from baton.validation.suite import Finding

if TYPE_CHECKING:
    import pandas as pd

DETAIL = 300
# The expectation of `great_expectations_days.py`, which no engine of Great Expectations knows.
DAYS = "expect_table_days_to_resemble_those_before"
COMPLETE = {"result_format": "COMPLETE", "include_unexpected_rows": False, "partial_unexpected_count": EXAMPLES}
# What a stored result needs not repeat: every row that was found, and its value.
LONG = ("unexpected_list", "unexpected_index_list", "unexpected_index_query")


def answer_all(
    expectations: Sequence[Any],
    rows: pd.DataFrame,
    *,
    compare: Callable[[NDArray[np.bool_], Any], Sequence[Outside]],
    own_engine: Callable[[Sequence[Any]], Sequence[Any]],
) -> tuple[list[Any], list[Answer]]:
    """Answer the expectations of one batch.

    Args:
        expectations: Great Expectations' own, each with its place.
        rows: The batch, its index from 0.
        compare: Compares the days of those rows that go on with the days before, as an expectation asks for it.
        own_engine: Validates some expectations in Great Expectations' engine.

    Returns:
        Great Expectations' results and our answers, both in the order of
        `expectations`.
    """
    table = DuckDbTable(rows)
    questions = [(each, found) for each in expectations if (found := question(each, table))]
    counted = answers([each for each, _ in questions], [found for _, found in questions], table)
    settled = {_place(each): found for (each, _), found in zip(questions, counted, strict=True)}
    results = {place: _result(each, settled[place]) for each, _ in questions for place in [_place(each)]}
    rest = [each for each in expectations if _place(each) not in settled and each.expectation_type != DAYS]
    for result in own_engine(rest) if rest else ():
        # Great Expectations may answer in another order than it was asked.
        place = result.expectation_config.meta[PLACE]
        places = np.asarray(result.result.get("unexpected_index_list") or (), dtype=np.int64)
        for name in LONG:
            result.result.pop(name, None)
        results[place], settled[place] = result, Answer(result={"success": result.success}, places=places)
    for each in expectations:
        if each.expectation_type == DAYS:
            settled[_place(each)] = _compared(each, compare(_going_on(expectations, settled, len(rows)), each))
            results[_place(each)] = _result(each, settled[_place(each)])
    order = [_place(each) for each in expectations]
    return [results[place] for place in order], [settled[place] for place in order]


def _going_on(expectations: Sequence[Any], settled: Mapping[int, Answer], rows: int) -> NDArray[np.bool_]:
    """Mark the rows that will not be set aside: one that will shall not make its whole day look odd."""
    marked = np.ones(rows, dtype=np.bool_)
    for each in expectations:
        found = settled.get(_place(each))
        if each.meta.get(ASIDE) and found is not None and not found.result["success"]:
            marked[found.places] = False
    return marked


def _compared(expectation: Any, outside: Sequence[Outside]) -> Answer:
    result = expectation._validate(metrics={"days.outside": outside})
    told = tuple(f"{each.column or 'table'} {each.statistic}" for each in outside[:EXAMPLES])
    return Answer(result=result, places=NOWHERE, unexpected=len(outside), examples=told)


def finding(expectation: Expectation, verdict: Any, answer: Answer) -> Finding:
    """Say what one result means for the batch."""
    result, column = verdict.result, expectation.arguments.get("column")
    raised = _raised(verdict.exception_info)
    examples = tuple(str(value) for value in (result.get("partial_unexpected_list") or [])[:EXAMPLES])
    return Finding(
        expectation=expectation.type,
        column=column,
        # What could not be computed was not tested, and what was not tested does not pass.
        severity="stop" if raised else expectation.severity,
        met=bool(verdict.success),
        unexpected=int(result.get("unexpected_count") or answer.unexpected),
        places=() if verdict.success else answer.places,
        examples=examples or answer.examples,
        detail=raised or _detail(expectation, result),
    )


def _place(expectation: Any) -> int:
    place: int = expectation.meta[PLACE]
    return place


def _result(expectation: Any, answer: Answer) -> Any:
    from great_expectations.core import ExpectationValidationResult

    return ExpectationValidationResult(
        success=answer.result["success"],
        expectation_config=expectation.configuration,
        result=answer.result.get("result"),
    )


def _detail(expectation: Expectation, result: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"{k} {v}" for k, v in expectation.arguments.items() if k != "column")
    found = f", found {result['observed_value']}" if "observed_value" in result else ""
    return f"{expectation.arguments.get('column', 'table')} fails {expectation.type} ({wanted}){found}"[:DETAIL]


def _raised(info: Mapping[str, Any] | None) -> str:
    """Give what was raised while an expectation was computed; it comes flat, or under the name of each metric."""
    entries = [info or {}, *(entry for entry in (info or {}).values() if isinstance(entry, Mapping))]
    messages = [str(e.get("exception_message")) for e in entries if e.get("raised_exception")]
    return " ".join(messages[0].split())[:DETAIL] if messages else ""
