"""What a column may show without drift, simulated."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baton.core.drift_report import ColumnDrift, DriftReport, Level, Sign
from baton.core.policy import DriftSpec
from baton.core.profile import ColumnProfile, Profile, population_stability, profile, profile_column, profile_from_json
from baton.core.variation import variation
from baton.monitoring.alarm import event
from baton.monitoring.drift import judge
from baton.monitoring.limits import Span, chance_of_growth, expected_shares, null_of

DAY0 = datetime(2024, 1, 1, tzinfo=timezone.utc)
POLICY = DriftSpec(minimum_rows=200)
DAYS, ROWS = 84, 400


def day_counts(rng: np.random.Generator, days: int, rows: int, *, shared: float, kept: float = 0.4) -> np.ndarray:
    """Give ten bins of days whose common location moves, as a bell curve's that shifts by `shared` deviations."""
    lean, luck, counts = np.linspace(-1.6, 1.6, 10), rng.normal(), []
    for _ in range(days):
        luck = kept * luck + np.sqrt(1 - kept**2) * rng.normal()
        shares = np.exp(shared * luck * lean)
        counts.append(rng.multinomial(rows, shares / shares.sum()))
    return np.array(counts, dtype=np.float64)


def simulated(seed: int, *, shared: float, window: int, rows: int) -> float:
    """Give the chance that a window without drift is said to have, from a reference of its own."""
    rng = np.random.default_rng(seed)
    counts = np.concatenate([day_counts(rng, DAYS + window, rows, shared=shared), np.zeros((DAYS + window, 1))], axis=1)
    past, now = counts[:DAYS], counts[DAYS:]
    varied = variation(past, np.arange(DAYS) % 7, missing=past[:, -1], outside=np.zeros(DAYS))
    shares = tuple(past.sum(axis=0) / past.sum())
    column = ColumnProfile(name="x", kind="number", shares=(*shares,), edges=tuple(range(9)), variation=varied)
    span = Span(rows=now.sum(axis=1), weekdays=(np.arange(window) + DAYS) % 7)
    psi = population_stability(expected_shares(column, span), now.sum(axis=0))
    return null_of(column, span, reference_rows=DAYS * rows).chance(psi)


@pytest.mark.parametrize("window", [1, 7, 28])
@pytest.mark.parametrize("shared", [0.0, 0.1, 0.3], ids=["rows alone", "days share some", "days share much"])
def test_f3_a_limit_is_passed_without_drift_as_often_as_it_says(window: int, shared: float) -> None:
    """F3: over 300 references and windows each, with a Monte Carlo error of 0.013 at 0.05 and 0.004 at 0.005."""
    chances = np.array([simulated(seed, shared=shared, window=window, rows=ROWS) for seed in range(300)])
    assert np.mean(chances < 0.05) <= 0.05 + 3 * 0.0126
    assert np.mean(chances < 0.005) <= 0.005 + 3 * 0.0041


def test_days_of_random_rows_are_the_wrong_null() -> None:
    # What a limit would say that took the rows of a day for independent ones.
    rng = np.random.default_rng(2)
    said = []
    for _ in range(100):
        past, now = (day_counts(rng, days, ROWS, shared=0.3).sum(axis=0) for days in (DAYS, 7))
        column = ColumnProfile(name="x", kind="number", shares=(*(past / past.sum()), 0.0), edges=tuple(range(9)))
        span = Span(rows=np.full(7, float(ROWS)), weekdays=np.arange(7))
        psi = population_stability(column.shares, np.append(now, 0.0))
        said.append(null_of(column, span, reference_rows=DAYS * ROWS).chance(psi) < 0.05)
    assert np.mean(said) > 0.5


def test_growth_of_a_rare_kind_is_said_as_often_as_it_happens() -> None:
    rng = np.random.default_rng(3)
    span = Span(rows=np.full(3, 300.0), weekdays=np.arange(3))
    chances = [
        chance_of_growth(
            float(rng.binomial(900, 0.01)),
            span,
            share=rng.binomial(20_000, 0.01) / 20_000,
            reference_rows=20_000,
            variance=0.0,
            variation=None,
        )
        for _ in range(2_000)
    ]
    assert 0.01 <= np.mean(np.array(chances) < 0.05) <= 0.05 + 3 * 0.005


@pytest.fixture(scope="module")
def served() -> SimpleNamespace:
    """Five features of 84 days with weekdays and days of their own, and windows like them."""

    def rows(days: range, *, seed: int, a_day: int = ROWS) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        day = np.repeat(np.array(days), a_day)
        luck = rng.normal(scale=0.05, size=(max(days) + 1, 3))
        return pd.DataFrame(
            {
                "day": day,
                "bell": rng.normal(size=len(day)) + luck[day, 0] + 0.3 * np.sin(day % 7),
                "skew": np.exp(rng.normal(size=len(day)) + luck[day, 1]),
                "gaps": np.where(rng.random(len(day)) < 0.2, np.nan, rng.normal(size=len(day))),
                "kind": rng.choice(["a", "b", "c", "d"], p=[0.4, 0.3, 0.2, 0.1], size=len(day)),
                "ticket": [f"{seed}-{row}" for row in range(len(day))],
            }
        )

    def answers(frame: pd.DataFrame) -> np.ndarray:
        return 1 / (1 + np.exp(-frame["bell"].clip(-9, 9).fillna(0.0).to_numpy()))

    def report(frame: pd.DataFrame, policy: DriftSpec = POLICY, end: int | None = None) -> DriftReport:
        last = int(frame["day"].max()) + 1 if end is None else end
        window = frame[[c for c in frame if c != "day"]].add_prefix("feature.").assign(score=answers(frame))
        window["moment"] = pd.to_datetime([DAY0 + timedelta(days=float(d), hours=1) for d in frame["day"]], utc=True)
        until = DAY0 + timedelta(days=last)
        start = until - timedelta(days=policy.window_days)
        return judge(window, frozen, policy, model="m", digest="d", start=start, end=until)

    def fault(change, *, days: int = 3, a_day: int = 1_000) -> list[DriftReport]:
        """Give the daily reports of a fault that follows four clean weeks, with one absurd value a day."""
        frame = rows(range(DAYS, DAYS + 28 + days), seed=5, a_day=a_day)
        since = frame["day"] - (DAYS + 28)
        changed = change(frame.copy(), since, np.random.default_rng(6))
        frame = frame.where(since < 0, changed)
        frame.loc[(since >= 0) & ~frame["day"].duplicated(), "bell"] = 1e9
        last = DAYS + 28 + days
        ends = range(last - days + 1, last + 1)
        return [report(frame[(frame["day"] < end) & (frame["day"] >= end - 28)], end=end) for end in ends]

    reference = rows(range(DAYS), seed=1)
    frozen = profile(
        reference.drop(columns="day"),
        answers(reference),
        text=["kind", "ticket"],
        days=np.datetime64(DAY0.date()) + reference["day"].to_numpy().astype("timedelta64[D]"),
    )
    return SimpleNamespace(rows=rows, report=report, fault=fault, frozen=frozen)


def column(report: DriftReport, name: str) -> ColumnDrift:
    return next(column for column in report.columns if column.name == name)


def shifted(frame: pd.DataFrame, since: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(bell=frame["bell"] + 0.5)


def gone(frame: pd.DataFrame, since: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(bell=frame["bell"].mask(rng.random(len(frame)) < 0.1))


def far(frame: pd.DataFrame, since: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(bell=frame["bell"].mask(rng.random(len(frame)) < 0.1, 12.0))


def new(frame: pd.DataFrame, since: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(kind=frame["kind"].mask(rng.random(len(frame)) < 0.1, "z"))


@pytest.mark.parametrize(
    ("change", "name"),
    [(shifted, "bell"), (gone, "bell"), (far, "bell"), (new, "kind")],
    ids=["half a deviation", "a tenth missing", "a tenth out of range", "a tenth of a new category"],
)
def test_f1_f6_a_fault_asks_for_a_retraining_within_three_days_beside_an_absurd_value(
    served: SimpleNamespace, change, name: str
) -> None:
    """F1, F6: with one value of 1e9 a day, and at a thousand rows."""
    reports = served.fault(change)
    asked = event(reports, POLICY)
    assert asked is not None
    assert name in asked.fired


def test_f4_a_creeping_shift_is_found_within_thirty_days(served: SimpleNamespace) -> None:
    """F4: 0.01 standard deviations a day."""
    reports = served.fault(lambda f, since, _: f.assign(bell=f["bell"] + 0.01 * (since + 1)), days=30, a_day=400)
    assert event(reports, POLICY) is not None
    assert not any(report.drifted for report in reports[:5])


def test_f5_very_many_rows_with_a_shift_of_no_account_are_silent(served: SimpleNamespace) -> None:
    """F5: 140,000 rows here; `make bench-drift` takes a million."""
    frame = served.rows(range(DAYS, DAYS + 7), seed=8, a_day=20_000)
    report = served.report(frame.assign(bell=frame["bell"] + 0.01, ticket="one"))
    assert not report.drifted
    assert column(report, "bell").psi < POLICY.effect


@pytest.mark.parametrize("rows", [0, 5])
def test_f2_hardly_any_rows_alarm_nobody(served: SimpleNamespace, rows: int) -> None:
    """F2: whatever these rows hold."""
    frame = served.rows(range(DAYS, DAYS + 1), seed=2).head(rows)
    assert served.report(frame.assign(bell=99.0), end=DAYS + 1).level is Level.INSUFFICIENT


def test_f2_a_feature_of_nothing_but_gaps_is_named_as_missing(served: SimpleNamespace) -> None:
    """F2: not a number in the whole window."""
    found = column(served.report(served.rows(range(DAYS, DAYS + 3), seed=2).assign(skew=np.nan)), "skew")
    assert (found.level, found.missing, found.ks) == (Level.ALARM, 1.0, None)
    assert found.sign in (Sign.MISSING, Sign.DISTRIBUTION)


def test_f6_ids_are_watched_and_never_alarm(served: SimpleNamespace) -> None:
    """F6: each row's own text is new in every row."""
    found = column(served.report(served.rows(range(DAYS, DAYS + 3), seed=2)), "ticket")
    assert (found.silent, found.level, found.new_values) == (True, Level.OK, 1.0)
    assert "33,600 different values name rows" in found.why


@pytest.mark.parametrize(
    ("values", "is_id"),
    [(np.arange(5_000.0), True), (np.arange(5_000.0) % 100, False), (np.arange(5_000.0) / 3, False)],
    ids=["running numbers", "whole numbers that come again", "measurements"],
)
def test_f6_whole_numbers_that_hardly_come_twice_are_ids(values: np.ndarray, is_id: bool) -> None:  # noqa: FBT001
    """F6: measurements differ in every row as well, and are none."""
    assert profile_column(pd.Series(values, name="x"), kind="number").id_like is is_id


def test_a_quiet_month_is_quiet(served: SimpleNamespace) -> None:
    frame = served.rows(range(DAYS, DAYS + 40), seed=12)
    reports = [
        served.report(frame[(frame["day"] < e) & (frame["day"] >= e - 28)], end=e) for e in range(DAYS + 28, DAYS + 40)
    ]
    assert not any(report.drifted for report in reports)


def test_only_the_newest_rows_count_where_a_window_closes_by_rows(served: SimpleNamespace) -> None:
    frame = served.rows(range(DAYS, DAYS + 28), seed=2)
    late = frame.assign(bell=frame["bell"] + (frame["day"] >= DAYS + 26) * 1.0)
    by_rows = served.report(late, DriftSpec(minimum_rows=200, window_rows=800, limits="textbook"))
    by_time = served.report(late, DriftSpec(minimum_rows=200, limits="textbook"))
    assert (by_rows.rows, by_time.rows) == (800, 28 * ROWS)
    assert column(by_rows, "bell").psi > 10 * column(by_time, "bell").psi


def test_a_reference_without_days_is_judged_by_the_projects_lines(served: SimpleNamespace) -> None:
    plain = profile(pd.DataFrame({"bell": np.arange(1_000.0) / 3}), np.zeros(1_000), text=[])
    assert plain.columns[0].variation is None
    window = pd.DataFrame({"feature.bell": np.arange(300.0), "score": 0.0, "moment": pd.to_datetime([DAY0] * 300)})
    report = judge(window, plain, POLICY, model="m", digest="d", start=DAY0, end=DAY0 + timedelta(days=1))
    assert column(report, "bell").limit == POLICY.alarm
    assert column(report, "bell").p_value is None


def test_a_profile_is_read_back_with_its_variation(served: SimpleNamespace) -> None:
    read: Profile = profile_from_json(served.frozen.to_json())
    assert read == served.frozen
    assert all(each.variation is not None and len(each.variation.weekdays) == 7 for each in read.columns)
