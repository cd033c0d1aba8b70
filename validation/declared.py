"""What no model test can mean: all of it is said at once, before anything is scored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from baton.core.errors import SpecInvalid, listed
from baton.core.policy import METRICS, Direction, FairnessSpec, Invariance, Minimum, Task, TestSpec

# The ends of a range in `where`.
RANGE = ("from", "to")


def refuse_impossible(tests: TestSpec, names: Iterable[str], text: Iterable[str], *, task: Task) -> None:
    """Check that the declared tests can be made.

    Args:
        tests: As declared.
        names: Every feature.
        text: Those that are text; all others are numbers.
        task: What is predicted.

    Raises:
        SpecInvalid: A test names a value that its feature cannot have, raises
            a text, or asks for a metric or rate that the task does not have.
    """
    kinds = dict.fromkeys(names, "number") | dict.fromkeys(text, "text")
    problems = [
        *(problem for test in tests.invariance for problem in _invariance(test, kinds)),
        *(problem for test in tests.direction for problem in _direction(test, kinds)),
        *(problem for test in tests.minimum for problem in _minimum(test, kinds, task)),
        *(problem for test in tests.fairness for problem in _fairness(test, kinds, task)),
    ]
    if problems:
        raise SpecInvalid(what="tests cannot be made", why=listed(problems), fix="see docs/explanation/model-tests.md")


def _invariance(test: Invariance, kinds: Mapping[str, str]) -> list[str]:
    place = f"tests.invariance {test.feature}"
    return _unknown(place, [test.feature], kinds) or _values(place, test.values, kinds[test.feature])


def _direction(test: Direction, kinds: Mapping[str, str]) -> list[str]:
    place = f"tests.direction {test.feature}"
    problems = _unknown(place, [test.feature], kinds)
    if not problems and kinds[test.feature] == "text":
        problems.append(f"{place}: the feature is text, and only a number can be raised")
    if test.add == 0 or not math.isfinite(test.add):
        problems.append(f"{place}: adding {test.add:g} tests nothing")
    return problems


def _minimum(test: Minimum, kinds: Mapping[str, str], task: Task) -> list[str]:
    place = "tests.minimum"
    problems = _unknown(place, test.where, kinds)
    for feature, wanted in test.where.items():
        if feature not in kinds:
            continue
        if isinstance(wanted, Mapping):
            problems += _range(f"{place} {feature}", wanted, kinds[feature])
        else:
            values = wanted if isinstance(wanted, list) else [wanted]
            problems += _values(f"{place} {feature}", values, kinds[feature])
    if test.metric not in METRICS[task]:
        problems.append(f"{place}: {test.metric!r} is none of {task}: {listed(METRICS[task])}")
    return problems


def _fairness(test: FairnessSpec, kinds: Mapping[str, str], task: Task) -> list[str]:
    problems = _unknown("tests.fairness", test.columns, kinds)
    if task != "binary" and test.measure != "error":
        problems.append(f"tests.fairness: {test.measure!r} needs two classes, of {task} compare 'error'")
    return problems


def _unknown(place: str, features: Iterable[str], kinds: Mapping[str, str]) -> list[str]:
    strangers = [feature for feature in features if feature not in kinds]
    return [f"{place} names no feature: {listed(strangers)}"] if strangers else []


def _range(place: str, wanted: Mapping[str, Any], kind: str) -> list[str]:
    if kind == "text":
        return [f"{place}: the feature is text, and only numbers have a range"]
    if not wanted or not set(wanted) <= set(RANGE):
        return [f"{place}: a range is `from`, `to` or both, not {listed(wanted) or 'empty'}"]
    low, high = wanted.get("from"), wanted.get("to")
    problems = _values(place, [end for end in (low, high) if end is not None], "number")
    if not problems and low is not None and high is not None and low > high:
        problems.append(f"{place}: the range from {low:g} to {high:g} is empty")
    return problems


def _values(place: str, values: Iterable[Any], kind: str) -> list[str]:
    fits = _is_text if kind == "text" else _is_number
    wrong = [value for value in values if value is not None and not fits(value)]
    # YAML reads NO as false and 09 as text; who wrote it meant something else.
    hint = "put it in quotes" if kind == "text" else "write a number"
    return [f"{place}: {value!r} is no {kind}, {hint}" for value in wrong]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
