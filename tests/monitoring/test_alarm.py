"""When an alarm becomes an event."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace

import pytest

from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.core.policy import DriftSpec
from baton.monitoring.alarm import event, persists

DAY = date(2013, 7, 20)
IN_A_ROW = DriftSpec(retrain_on="score", persistence_days=3, persistence_of=3)
TWO_OF_THREE = DriftSpec(retrain_on="score", persistence_days=2, persistence_of=3)


@pytest.fixture
def daily(world: SimpleNamespace):
    def daily(*values: float | None, digest: str = world.digest) -> list[DriftReport]:
        return [
            world.report(DAY + timedelta(days=i), psi=0.0 if psi is None else psi, digest=digest)
            if psi is not None
            else world.report(DAY + timedelta(days=i), psi=0.9, level=Level.INSUFFICIENT, digest=digest)
            for i, psi in enumerate(values)
        ]

    return daily


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.3, 0.3, 0.3), True),
        ((0.3, 0.3), False),
        ((0.3, 0.3, 0.3, 0.2), False),
        ((0.3, 0.2, 0.3, 0.3), False),
        ((0.1, 0.3, 0.3, 0.3), True),
        ((0.3, None, 0.3, 0.3), False),
        ((), False),
    ],
    ids=["three in a row", "two", "over again", "broken", "the last three", "a day with few rows", "no report"],
)
def test_an_alarm_persists_when_the_last_three_days_alarmed(daily, values: tuple[float, ...], expected: bool) -> None:  # noqa: FBT001
    assert persists(daily(*values), IN_A_ROW) is expected
    assert (event(daily(*values), IN_A_ROW) is not None) is expected


def test_a_missing_day_breaks_the_run(daily) -> None:
    first, _, *rest = daily(0.3, 0.3, 0.3, 0.3)
    assert not persists([first, *rest], IN_A_ROW)
    assert persists(rest, IN_A_ROW.model_copy(update={"persistence_days": 2, "persistence_of": 2}))


def test_a_new_champion_begins_a_new_run(daily, world: SimpleNamespace) -> None:
    reports = daily(0.3, 0.3, 0.3)
    assert not persists([*reports[:2], replace(reports[2], digest="b" * 64)], IN_A_ROW)


def test_the_same_alarm_has_one_key_however_often_and_late_it_is_looked_at(daily) -> None:
    reports = daily(0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
    keys = {event(reports[:upto], IN_A_ROW).key for upto in (4, 5, 6)}
    assert len(keys) == 1
    assert event(list(reversed(reports)), IN_A_ROW).key in keys
    assert event([*reports, reports[-1]], IN_A_ROW).days == 5


def test_another_alarm_and_another_champion_have_other_keys(daily) -> None:
    july = event(daily(0.3, 0.3, 0.3), IN_A_ROW)
    later = event(daily(0.3, 0.3, 0.3, 0.0, 0.3, 0.3, 0.3), IN_A_ROW)
    other = event(daily(0.3, 0.3, 0.3, digest="b" * 64), IN_A_ROW)
    assert len({july.key, later.key, other.key}) == 3
    assert later.since == DAY + timedelta(days=4)


def test_features_alone_start_nothing_and_explain_an_event(daily) -> None:
    loud = ColumnDrift(
        name="gust",
        psi=0.9,
        ks=0.4,
        missing=0.0,
        missing_reference=0.0,
        new_values=0.0,
        limit=0.25,
        why="",
        silent=False,
        level=Level.ALARM,
    )
    columns = (replace(loud, name="visib", psi=0.3), loud, replace(loud, name="temp", level=Level.OK, silent=True))
    quiet = [replace(report, columns=columns) for report in daily(0.0, 0.0, 0.0)]
    assert all(report.drifted for report in quiet)
    assert not persists(quiet, IN_A_ROW)
    told = event([replace(report, columns=columns) for report in daily(0.3, 0.3, 0.31)], IN_A_ROW)
    assert told.fired == ("score", "gust", "visib")
    assert told.psi == 0.31


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.3, 0.0, 0.3), True), ((0.3, 0.0, 0.0, 0.3), False), ((0.3, 0.3, 0.0), False), ((0.3, None, 0.3), True)],
    ids=["one day between", "two days between", "the newest day is quiet", "a day with few rows between"],
)
def test_two_of_three_days_are_enough_where_the_project_says_so(
    daily,
    values: tuple[float, ...],
    expected: bool,  # noqa: FBT001 - a parameter of the table above
) -> None:
    assert persists(daily(*values), TWO_OF_THREE) is expected


def test_a_quiet_day_within_a_lasting_alarm_changes_no_key(daily) -> None:
    reports = daily(0.3, 0.3, 0.0, 0.3, 0.3)
    keys = {event(reports[:upto], TWO_OF_THREE).key for upto in (2, 4, 5)}
    assert len(keys) == 1
    assert event(reports, TWO_OF_THREE).days == 5


def test_any_columns_alarm_asks_where_the_project_says_so(daily) -> None:
    moved = replace(daily(0.3)[0].score, name="gust", why="12.0% missing over the last day, 1.0% in the reference")
    reports = [replace(report, columns=(moved,)) for report in daily(0.0, 0.0, 0.0)]
    assert event(reports, IN_A_ROW) is None
    told = event(reports, IN_A_ROW.model_copy(update={"retrain_on": "any"}))
    assert told.fired == ("gust",)
    assert told.reason == "gust PSI 0.30 over 0.25 for 3 days"
    short = [replace(report, columns=(replace(moved, psi=0.1),)) for report in reports]
    assert event(short, DriftSpec()).reason == f"gust: {moved.why} for 3 days"
