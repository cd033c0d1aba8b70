"""A reference judges a window without the training data, and nothing hides from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.profile import population_stability, profile, profile_column, profile_from_json

RNG = np.random.default_rng(7)
NORMAL = pd.Series(RNG.normal(size=5_000), name="x")


def psi(reference: pd.Series, window: pd.Series, kind: str = "number") -> float:
    column = profile_column(reference, kind=kind)
    return population_stability(column.shares, column.count(window))


def test_a_window_like_the_reference_scores_zero() -> None:
    assert psi(NORMAL, NORMAL) == pytest.approx(0.0, abs=1e-12)


def test_a_shift_of_one_standard_deviation_scores_near_one() -> None:
    assert psi(NORMAL, NORMAL + 1.0) == pytest.approx(0.95, abs=0.05)


def test_one_huge_outlier_hides_nothing() -> None:
    shifted = pd.concat([NORMAL + 3.0, pd.Series([1e9])])
    assert psi(NORMAL, shifted) > 2.0


def test_rows_beyond_the_training_range_count() -> None:
    window = NORMAL.copy()
    window.iloc[:1_000] = NORMAL.max() + 10
    assert psi(NORMAL, window) > 0.15


@pytest.mark.parametrize("share", [0.1, 0.3], ids=["a tenth", "three tenths"])
def test_values_that_go_missing_count(share: float) -> None:
    window = NORMAL.copy()
    window.iloc[: int(share * len(window))] = np.nan
    assert psi(NORMAL, window) > 0.1


def test_a_new_category_counts() -> None:
    reference = pd.Series(["a", "b"] * 500, name="c")
    window = pd.Series(["a", "b"] * 450 + ["z"] * 100)
    assert psi(reference, window, "text") > 0.1


def test_a_window_without_rows_has_no_index() -> None:
    assert np.isnan(psi(NORMAL, NORMAL.iloc[:0]))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=60))
def test_the_index_is_never_negative_and_always_finite(window: list[float]) -> None:
    value = psi(NORMAL, pd.Series(window, dtype=float))
    assert np.isfinite(value)
    assert value >= -1e-12


def test_the_floor_is_what_no_drift_looks_like() -> None:
    days = np.repeat(np.arange(60), 50)
    seasonal = pd.Series(days / 10 + RNG.normal(size=len(days)), name="season")
    assert profile_column(seasonal, kind="number", parts=days // 20).floor > 0.5
    assert profile_column(NORMAL, kind="number", parts=np.arange(5_000) % 3).floor < 0.02


def test_json_gives_the_profile_back() -> None:
    frame = pd.DataFrame({"x": NORMAL, "c": np.where(NORMAL > 0, "a", "")})
    made = profile(frame, (NORMAL > 0).astype(float).tolist(), text=["c"])
    assert profile_from_json(made.to_json()) == made
    assert made.columns[1].missing == pytest.approx((NORMAL <= 0).mean())
