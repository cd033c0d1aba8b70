"""How the days of a reference differ."""

from __future__ import annotations

import numpy as np
import pytest

from baton.core.variation import Variation, variation

SHARES = np.full(10, 0.1)


def days(rng: np.random.Generator, *, count: int = 60, rows: int = 1_000, shared: float = 0.0, kept: float = 0.0):
    """Give counts by day of ten equal bins whose logits move together, by a random direction that lasts."""
    luck, counts = rng.normal(size=10), []
    for _ in range(count):
        luck = kept * luck + np.sqrt(1 - kept**2) * rng.normal(size=10)
        shares = np.exp(shared * luck)
        counts.append(rng.multinomial(rows, shares / shares.sum()))
    return np.array(counts, dtype=np.float64)


def found(counts: np.ndarray) -> Variation:
    weekdays = np.arange(len(counts)) % 7
    return variation(counts, weekdays, missing=counts[:, -1], outside=np.zeros(len(counts)))


def test_days_that_share_nothing_have_hardly_a_spread() -> None:
    spreads = [found(days(np.random.default_rng(seed))).spread for seed in range(30)]
    # Rows alone spread by 9 / 1,000 a day.
    assert np.mean(spreads) < 0.003


@pytest.mark.parametrize("shared", [0.1, 0.3])
def test_the_spread_is_what_days_share(shared: float) -> None:
    spreads = [found(days(np.random.default_rng(seed), shared=shared)).spread for seed in range(30)]
    # Ten logits that move by s move each share by s of itself, and what they have in common moves none.
    assert np.mean(spreads) == pytest.approx(0.9 * shared**2, rel=0.3)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_what_lasts_is_seen_to_last(kept: float) -> None:
    kepts = [found(days(np.random.default_rng(seed), shared=0.3, kept=kept)).persistence for seed in range(30)]
    assert np.mean(kepts) == pytest.approx(kept, abs=0.12)


def test_what_lasts_adds_up_and_leaves_fewer_independent_days() -> None:
    lasting = Variation(days=60, persistence=0.5)
    assert lasting.inflation(1) == 1.0
    # 1 + 2 (6/7 r + 5/7 r^2 + ...), by hand for three days.
    assert lasting.inflation(3) == pytest.approx(1 + 2 * (2 / 3 * 0.5 + 1 / 3 * 0.25))
    assert lasting.freedom() == pytest.approx(59 * 0.75 / 1.25)


def test_weekdays_of_their_own_are_no_spread() -> None:
    rng = np.random.default_rng(1)
    weekly = [np.exp(0.5 * np.sin(2 * np.pi * (np.arange(10) + day) / 7)) for day in range(7)]
    counts = np.array(
        [rng.multinomial(1_000, weekly[day % 7] / weekly[day % 7].sum()) for day in range(84)], dtype=float
    )
    varied = found(counts)
    assert varied.weekday_days == (12,) * 7
    assert varied.weekdays[3] == pytest.approx(weekly[3] / weekly[3].sum(), abs=0.02)
    assert varied.spread < 0.01
    assert found(counts[:20]).spread > 0.1


def test_one_day_tells_of_no_variation() -> None:
    assert found(days(np.random.default_rng(1), count=1)) == Variation(days=1)
