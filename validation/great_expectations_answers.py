"""The answers of a suite: by DuckDB where it can count, by Great Expectations' own engine where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.spec import Expectation
from baton.validation.duckdb_table import DuckDbTable
from baton.validation.great_expectations_builder import PLACE
from baton.validation.great_expectations_sql import EXAMPLES, Answer, answers, question
from baton.validation.suite import Finding

if TYPE_CHECKING:
    import pandas as pd

DETAIL = 300
COMPLETE = {"result_format": "COMPLETE", "include_unexpected_rows": False, "partial_unexpected_count": EXAMPLES}
# What a stored result needs not repeat: every row that was found, and its value.
LONG = ("unexpected_list", "unexpected_index_list", "unexpected_index_query")


def answer_all(
    expectations: Sequence[Any], rows: pd.DataFrame, own_engine: Callable[[Sequence[Any]], Sequence[Any]]
) -> tuple[list[Any], list[Answer]]:
    """Answer the expectations of one batch.

    Args:
        expectations: Great Expectations' own, each with its place.
        rows: The batch, its index from 0.
        own_engine: Validates some expectations in Great Expectations' engine.

    Returns:
        Great Expectations' results and our answers, both in the order of
        `expectations`.
    """
    table = DuckDbTable(rows)
    questions = [(each, found) for each in expectations if (found := question(each, table))]
    counted = answers([each for each, _ in questions], [found for _, found in questions], table)
    results = {_place(each): _result(each, found) for (each, _), found in zip(questions, counted, strict=True)}
    settled = {_place(each): found for (each, _), found in zip(questions, counted, strict=True)}
    rest = [each for each in expectations if _place(each) not in results]
    for result in own_engine(rest) if rest else ():
        # Great Expectations may answer in another order than it was asked.
        place = result.expectation_config.meta[PLACE]
        places = np.asarray(result.result.get("unexpected_index_list") or (), dtype=np.int64)
        for name in LONG:
            result.result.pop(name, None)
        results[place], settled[place] = result, Answer(result={"success": result.success}, places=places)
    order = [_place(each) for each in expectations]
    return [results[place] for place in order], [settled[place] for place in order]


def finding(expectation: Expectation, answer: Any, places: Any) -> Finding:
    """Say what one result means for the batch."""
    result, column = answer.result, expectation.arguments.get("column")
    raised = _raised(answer.exception_info)
    examples = tuple(str(value) for value in (result.get("partial_unexpected_list") or [])[:EXAMPLES])
    return Finding(
        expectation=expectation.type,
        column=column,
        # What could not be computed was not tested, and what was not tested does not pass.
        severity="stop" if raised else expectation.severity,
        met=bool(answer.success),
        unexpected=int(result.get("unexpected_count") or 0),
        places=() if answer.success else places,
        examples=examples,
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
