"""Expectations as `model.yaml` declares them become Great Expectations' own, or it is said what is wrong with them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from baton.core.errors import SpecInvalid, listed
from baton.core.spec import Expectation

# Where an expectation remembers its place in model.yaml.
PLACE = "place"
# Whether the rows that it does not expect are set aside.
ASIDE = "aside"


def build_suite(name: str, table: str, expectations: Iterable[Expectation]) -> Any:
    """Build the suite of a table.

    Raises:
        SpecInvalid: An expectation is unknown, or is given arguments that it
            does not take; all are listed.
    """
    import great_expectations as gx

    problems: list[str] = []
    built = [_built(expectation, place, problems) for place, expectation in enumerate(expectations)]
    if problems:
        raise SpecInvalid(
            what=f"the expectations of table {table} cannot be checked",
            why=listed(problems),
            fix="see the gallery at greatexpectations.io/expectations",
        )
    return gx.ExpectationSuite(name=name, expectations=built)


def _built(expectation: Expectation, place: int, problems: list[str]) -> Any:
    """Build one expectation; what is wrong with it is added to the problems."""
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations import registry

    # Registers what Great Expectations does not have.
    importlib.import_module("baton.validation.great_expectations_days")
    try:
        kind = registry.get_expectation_impl(expectation.type)
    except ExpectationNotFoundError:
        known = registry.list_registered_expectation_implementations()
        problems.append(f"unknown expectation {expectation.type!r}{_near(expectation.type, known)}")
        return None
    try:
        return kind(**expectation.arguments, meta={PLACE: place, ASIDE: expectation.severity == "quarantine"})
    except (TypeError, ValueError) as error:
        # Pydantic's error is a ValueError that lists each argument.
        listing: list[dict[str, Any]] = getattr(error, "errors", list)()
        reasons = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in listing] or [str(error)]
        strangers = [name for name in expectation.arguments if name not in kind.__fields__]
        hints = [f"{name!r}{_near(name, kind.__fields__)}" for name in strangers]
        problems.append(f"{expectation.type} does not take these arguments ({', '.join(hints or reasons)})")
        return None


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
