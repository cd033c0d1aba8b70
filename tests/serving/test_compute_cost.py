"""What batches are expected to take follows what they took."""

import math

import pytest

from baton.serving.compute_cost import SLOWEST, ComputeCost, Expectation


class Warmed:
    """A predictor that was warmed."""

    warmed = tuple((rows, 5 + 0.1 * rows) for rows in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))


def test_a_line_is_found_through_the_batches():
    cost = Expectation().of(Warmed())
    for at in range(400):
        rows = (1, 20, 100, 300)[at % 4]
        cost.learn(rows, 5 + 0.1 * rows)

    assert cost.expect(200) == pytest.approx(25, rel=0.1)
    assert cost.expect_all(1_200, most=512) == pytest.approx(3 * 5 + 120, rel=0.1)
    assert cost.row_ms == pytest.approx(0.1, rel=0.1)


def test_nothing_is_expected_of_what_was_never_seen():
    assert math.isinf(ComputeCost().expect(1))


def test_work_that_waits_longer_than_expected_is_expected_to_from_then_on():
    expectation = Expectation()
    for _ in range(50):
        expectation.judge(100.0, 150.0)

    assert expectation.slowness == pytest.approx(1.5, rel=0.01)

    expectation.judge(100.0, 1e9)
    assert expectation.slowness <= SLOWEST
    for _ in range(50):
        expectation.judge(100.0, 20.0)
    assert expectation.slowness == 1.0


def test_short_waits_tell_nothing():
    expectation = Expectation()
    expectation.judge(1.0, 1_000.0)

    assert expectation.slowness == 1.0
