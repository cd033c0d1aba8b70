"""The arithmetic of a drawing."""

from __future__ import annotations

from datetime import date

import pytest

from baton.monitoring.svg_plot import apart, month_starts, runs, scale, ticks


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.71), (0.702, 0.778), (-0.009, 0.028), (0.5, 0.5), (0.0, 0.0), (0, 9_000)]
)
def test_ticks_reach_around_the_values_and_are_few(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8


@pytest.mark.parametrize(("first", "second"), [(10.0, 12.0), (12.0, 10.0), (10.0, 10.0), (10.0, 90.0)])
def test_labels_are_movedapart_and_keep_their_order(first: float, second: float) -> None:
    a, b = apart(first, second)
    assert abs(a - b) >= 16.0 - 1e-9
    assert (a <= b) is (first <= second)


def test_a_missing_value_breaks_the_line() -> None:
    assert runs([(0, 1.0), (1, None), (2, 3.0), (3, 4.0)]) == ("0.0,1.0", "2.0,3.0 3.0,4.0")
    assert runs([(0, None)]) == ()


def test_a_scale_may_run_downwards() -> None:
    place = scale(0.0, 2.0, 200.0, 100.0)
    assert (place(0.0), place(1.0), place(2.0)) == (200.0, 150.0, 100.0)


def test_months_begin_within_the_span() -> None:
    assert month_starts(date(2013, 11, 2), date(2014, 1, 1)) == [date(2013, 12, 1), date(2014, 1, 1)]
