"""An expectation of Great Expectations' kind: the days of a batch are like the days before them.

Great Expectations is imported here at once, since its classes register
themselves; whoever imports this module is about to build a suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from great_expectations.expectations.expectation import BatchExpectation

from baton.validation.days import COMPARED_DAYS, Outside

METRIC = "days.outside"
# A page shows so many of the statistics that are outside, the farthest first.
SHOWN = 20


class ExpectTableDaysToResembleThoseBefore(BatchExpectation):  # type: ignore[misc] # the vendor has no types
    """Expect every statistic of each day to stay near the range that it had on the days before.

    Args:
        days: How many days before it a day is compared with.
        width: How far beyond their range is still inside, in widths of it.
        ignore: Columns that are not looked at.
    """

    days: int = COMPARED_DAYS
    width: float = 1.0
    ignore: Sequence[str] = ()

    metric_dependencies: ClassVar[tuple[str, ...]] = (METRIC,)
    success_keys: ClassVar[tuple[str, ...]] = ("days", "width", "ignore")

    def _validate(self, metrics: dict[str, Any], **_: Any) -> dict[str, Any]:
        outside: Sequence[Outside] = metrics[METRIC]
        told = "; ".join(said(each) for each in outside[:SHOWN]) or "every statistic is inside"
        return {"success": not outside, "result": {"observed_value": told}}


def said(outside: Outside) -> str:
    """Say in a few words what is outside."""
    what = f"{outside.column}, {outside.statistic}" if outside.column else outside.statistic
    return f"{what}: {outside.observed:.4g}, not from {outside.low:.4g} to {outside.high:.4g}"
