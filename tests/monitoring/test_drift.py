"""How far a window has moved."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from baton.core.digest import canonical_json
from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.core.profile import GRID, Profile, population_stability, profile, profile_column
from baton.core.spec import DriftSpec
from baton.monitoring.drift import judge, kolmogorov_smirnov
from baton.monitoring.window_counts import FineBins


@pytest.fixture
def judged(world: SimpleNamespace, reference: Profile, policy: DriftSpec):
    def judged(window: pd.DataFrame, profile: Profile = reference, policy: DriftSpec = policy) -> DriftReport:
        end = world.start + timedelta(days=28)
        return judge(window, profile, policy, model="m", digest=world.digest, start=world.start, end=end)

    return judged


def column(report: DriftReport, name: str) -> ColumnDrift:
    return next(c for c in report.columns if c.name == name)


def ks_of(frozen, values: np.ndarray) -> float:
    fine = FineBins(frozen)
    return kolmogorov_smirnov(fine, np.bincount(fine.codes(pd.Series(values)), minlength=fine.size))


def test_the_style_guide_example_holds() -> None:
    training = pd.Series(np.random.default_rng(seed=7).normal(size=5_000), name="x")
    frozen = profile_column(training, kind="number")
    assert population_stability(frozen.shares, frozen.count(training)) == pytest.approx(0.0, abs=1e-12)
    assert population_stability(frozen.shares, frozen.count(training + 1.0)) == pytest.approx(0.95, abs=0.03)


def test_rows_like_the_reference_are_quiet(world: SimpleNamespace, judged) -> None:
    report = judged(world.answered(world.features(5_000, seed=2)))
    assert report.level is Level.OK
    assert not report.drifted
    assert max(c.psi for c in report.columns) < 0.02


def test_a_shift_alarms_on_the_column_and_on_the_score(world: SimpleNamespace, judged) -> None:
    report = judged(world.answered(world.features(5_000, seed=2, shift=1.0)))
    assert column(report, "delay").level is Level.ALARM
    assert report.score.level is Level.ALARM
    assert column(report, "weekday").level is Level.OK
    assert report.drifted


@pytest.mark.parametrize(
    ("psi_of_limit", "level"),
    [(1.001, Level.OK), (1.0, Level.WARN), (0.999, Level.WARN)],
    ids=["just under the line", "on the line", "just over the line"],
)
def test_a_limit_is_reached_by_touching_it(
    world: SimpleNamespace, judged, reference: Profile, psi_of_limit: float, level: Level
) -> None:
    frame = world.features(5_000, seed=2, shift=0.4)
    delay = reference.columns[0]
    psi = population_stability(delay.shares, delay.count(frame["delay"]))
    policy = DriftSpec(limits="textbook", warn=psi * psi_of_limit, alarm=psi * 3, minimum_rows=1)
    assert column(judged(world.answered(frame), reference, policy), "delay").level is level


def test_a_column_of_the_seasons_is_watched_and_says_nothing(
    world: SimpleNamespace, judged, training: pd.DataFrame, policy: DriftSpec
) -> None:
    parts = np.repeat([0, 1, 2, 3], len(training) // 4)
    seasonal = training.assign(delay=training["delay"] + parts)
    frozen = profile(seasonal, world.scores(seasonal), text=["carrier"], parts=parts)
    report = judged(world.answered(world.features(5_000, seed=2, shift=6.0)), frozen)
    delay = column(report, "delay")
    assert delay.silent
    assert delay.psi > policy.alarm
    assert delay.level is Level.OK
    assert delay.why.startswith("silent")
    # The score of the same champion is what alarms, whatever its own floor.
    assert frozen.score.floor >= policy.warn
    assert report.score.level is Level.ALARM


def test_too_few_rows_say_so_and_nothing_else(world: SimpleNamespace, judged) -> None:
    report = judged(world.answered(world.features(499, seed=2, shift=3.0)))
    assert report.level is Level.INSUFFICIENT
    assert {c.level for c in report.columns} == {Level.INSUFFICIENT}
    assert "499 rows" in report.score.why


def test_an_empty_window_is_insufficient(world: SimpleNamespace, judged) -> None:
    report = judged(world.answered(world.features(0, seed=2)))
    assert report.rows == 0
    assert report.level is Level.INSUFFICIENT
    assert canonical_json(report)


def test_a_column_that_has_gone_missing_alarms(world: SimpleNamespace, judged) -> None:
    frame = world.features(2_000, seed=2).assign(delay=None, carrier=None)
    window = world.answered(world.features(2_000, seed=2))
    report = judged(window.assign(**{f"feature.{name}": frame[name] for name in frame}))
    for name in ("delay", "carrier"):
        assert column(report, name).missing == 1.0
        assert column(report, name).missing_reference == 0.0
        assert column(report, name).level is Level.ALARM
    assert column(report, "delay").ks is None
    assert canonical_json(report)


def test_a_feature_that_the_log_does_not_hold_counts_as_missing(world: SimpleNamespace, judged) -> None:
    report = judged(world.answered(world.features(2_000, seed=2)).drop(columns="feature.delay"))
    assert column(report, "delay").missing == 1.0


def test_new_categories_are_counted(world: SimpleNamespace, judged) -> None:
    frame = world.features(2_000, seed=2)
    frame.loc[: len(frame) // 4 - 1, "carrier"] = "ZZ"
    carrier = column(judged(world.answered(frame)), "carrier")
    assert carrier.new_values == 0.25
    assert carrier.level is Level.ALARM
    assert carrier.ks is None


@pytest.mark.parametrize("absurd", [1e9, -1e9, np.inf, -np.inf])
def test_one_absurd_value_hides_no_shift_and_makes_none(world: SimpleNamespace, judged, absurd: float) -> None:
    for shift, level in ((3.0, Level.ALARM), (0.0, Level.OK)):
        frame = world.features(2_000, seed=2, shift=shift)
        frame.loc[0, "delay"] = absurd
        delay = column(judged(world.answered(frame)), "delay")
        assert delay.level is level
        assert (delay.ks > 0.8) is (level is Level.ALARM)


def test_a_constant_reference_is_quiet_until_the_constant_changes() -> None:
    frozen = profile_column(pd.Series(np.full(1_000, 3.0), name="x"), kind="number")
    for value, ks in ((3.0, 0.0), (4.0, 1.0), (2.0, 1.0)):
        values = np.full(1_000, value)
        psi = population_stability(frozen.shares, frozen.count(pd.Series(values)))
        assert psi == 0.0 if value == 3.0 else psi > 5.0
        assert ks_of(frozen, values) == ks


@pytest.mark.parametrize("kind", ["normal", "few values", "mostly zero"])
def test_ks_agrees_with_scipy_to_one_step_of_the_quantiles(kind: str) -> None:
    rng = np.random.default_rng(3)
    draw = {
        "normal": lambda n, by: rng.normal(by, 1, n),
        "few values": lambda n, by: rng.binomial(6, 0.4 + by / 10, n).astype(float),
        "mostly zero": lambda n, by: np.where(rng.random(n) < 0.8, 0.0, rng.exponential(1 + by, n)),
    }[kind]
    reference = draw(20_000, 0.0)
    frozen = profile_column(pd.Series(reference, name="x"), kind="number")
    for by in (0.0, 0.3, 1.0):
        current = draw(3_000, by)
        expected = stats.ks_2samp(reference, current).statistic
        assert ks_of(frozen, current) == pytest.approx(expected, abs=1 / GRID + 1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0.1, 10.0))
def test_ks_knows_no_unit(values: list[float], unit: float) -> None:
    grid, numbers = np.linspace(-1e6, 1e6, GRID + 1), np.array(values)
    ks = ks_of(profile_column(pd.Series(grid, name="x"), kind="number"), numbers)
    assert 0.0 <= ks <= 1.0
    other = ks_of(profile_column(pd.Series(grid * unit, name="x"), kind="number"), numbers * unit)
    # A value on a quantile may fall to its other side by rounding, which moves one step or one row.
    assert other == pytest.approx(ks, abs=1 / GRID + 1 / len(values))


def test_a_month_is_judged_quickly(world: SimpleNamespace, judged) -> None:
    window = world.answered(world.features(25_000, seed=2))
    began = time.perf_counter()
    judged(window)
    # Thirty columns take 0.05 s on two cores; the bound leaves room for a busy machine.
    assert time.perf_counter() - began < 0.5
