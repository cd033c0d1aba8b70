"""Daily reports on file: what is kept, in which order, and what a broken line costs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.monitoring.drift_history import DriftHistory

OTHER = "b" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "monitoring" / "drift.jsonl"


def moved(name: str) -> ColumnDrift:
    return ColumnDrift(
        name=name,
        psi=0.4,
        ks=None,
        missing=0.1,
        missing_reference=0.0,
        new_values=0.2,
        limit=0.25,
        why="the project's limit",
        silent=False,
        level=Level.ALARM,
    )


def test_no_file_is_no_report(path: Path) -> None:
    assert DriftHistory(path).all() == ()
    assert DriftHistory(path).of("a" * 64) == ()


def test_what_was_added_is_read_back_by_another_process(path: Path, world: SimpleNamespace) -> None:
    report = world.report(date(2013, 7, 1), psi=0.3)
    full = DriftReport(
        **{name: getattr(report, name) for name in DriftReport.__slots__ if name != "columns"},
        columns=(moved("carrier"), moved("delay")),
    )
    DriftHistory(path).add(full)
    assert DriftHistory(path).all() == (full,)


def test_a_report_without_score_is_kept(path: Path, world: SimpleNamespace) -> None:
    report = world.report(date(2013, 7, 1))
    bare = DriftReport(**{name: getattr(report, name) for name in DriftReport.__slots__ if name != "score"}, score=None)
    DriftHistory(path).add(bare)
    assert DriftHistory(path).all() == (bare,)


def test_reports_come_oldest_first_whatever_the_order_of_looking(path: Path, world: SimpleNamespace) -> None:
    history = DriftHistory(path)
    for day in (3, 1, 2):
        history.add(world.report(date(2013, 7, day)))
    assert [report.end.day for report in history.all()] == [1, 2, 3]
    assert [report.end.day for report in DriftHistory(path).all()] == [1, 2, 3]


def test_each_champion_has_its_own_reports(path: Path, world: SimpleNamespace) -> None:
    history = DriftHistory(path)
    history.add(world.report(date(2013, 7, 1)))
    history.add(world.report(date(2013, 7, 1), digest=OTHER))
    assert [report.digest for report in history.of(OTHER)] == [OTHER]
    assert len(history.all()) == 2


def test_looking_twice_writes_once(path: Path, world: SimpleNamespace) -> None:
    history = DriftHistory(path)
    history.add(world.report(date(2013, 7, 1), psi=0.2))
    history.add(world.report(date(2013, 7, 1), psi=0.2))
    assert len(path.read_text().splitlines()) == 1


def test_of_two_looks_at_one_moment_the_later_counts(path: Path, world: SimpleNamespace) -> None:
    history = DriftHistory(path)
    history.add(world.report(date(2013, 7, 1), psi=0.2))
    history.add(world.report(date(2013, 7, 1), psi=0.3))
    for known in (history, DriftHistory(path)):
        assert [report.score.psi for report in known.all()] == [0.3]


def test_a_line_cut_short_by_a_kill_costs_only_itself(path: Path, world: SimpleNamespace) -> None:
    history = DriftHistory(path)
    history.add(world.report(date(2013, 7, 1)))
    history.add(world.report(date(2013, 7, 2)))
    path.write_bytes(path.read_bytes()[:-40])
    assert [report.end.day for report in DriftHistory(path).all()] == [1]


def test_what_follows_a_line_cut_short_is_not_lost(path: Path, world: SimpleNamespace) -> None:
    DriftHistory(path).add(world.report(date(2013, 7, 1)))
    path.write_bytes(path.read_bytes()[:-40])
    DriftHistory(path).add(world.report(date(2013, 7, 2)))
    assert [report.end.day for report in DriftHistory(path).all()] == [2]
