"""A drift report in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import pytest

from baton.core.drift_report import ColumnDrift, DriftReport, Level
from baton.monitoring.drift_text import SHOWN, drift_line, drift_markdown


@pytest.fixture
def report(world: SimpleNamespace) -> DriftReport:
    return world.report(date(2013, 7, 29), psi=0.3)


def column(report: DriftReport, name: str, *, psi: float, level: Level = Level.OK, silent: bool = False) -> ColumnDrift:
    return replace(report.score, name=name, psi=psi, level=level, silent=silent)


def test_a_line_gives_the_score_its_level_and_the_rows(report: DriftReport) -> None:
    assert drift_line(report) == "score PSI 0.30 (alarm) over 25,000 rows"


@pytest.mark.parametrize(("count", "words"), [(1, "; 1 feature moved"), (2, "; 2 features moved")], ids=["one", "two"])
def test_features_that_moved_are_counted(report: DriftReport, count: int, words: str) -> None:
    loud = [column(report, f"f{i}", psi=0.3, level=level) for i, level in enumerate([Level.WARN, Level.ALARM][:count])]
    quiet = column(report, "quiet", psi=0.01)
    assert drift_line(replace(report, columns=(*loud, quiet))).endswith(f" rows{words}")


def test_too_few_rows_are_said_to_be_too_few(report: DriftReport) -> None:
    assert drift_line(replace(report, score=None, rows=1_200)) == "1,200 rows served: not enough to compare"


def test_the_furthest_features_come_first_below_the_score(report: DriftReport) -> None:
    columns = tuple(column(report, f"f{i:02}", psi=i / 100) for i in range(SHOWN + 5))
    rows = [line.split(" | ")[0] for line in drift_markdown(replace(report, columns=columns)).splitlines()[4:]]
    assert rows[:3] == ["| score", "| f16", "| f15"]
    assert len(rows) == 1 + SHOWN


def test_every_row_is_as_wide_as_the_header(report: DriftReport) -> None:
    odd = replace(report, columns=(replace(report.score, name="a|b", ks=None),))
    table = [line for line in drift_markdown(odd).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {9}


def test_a_column_that_cannot_alarm_is_said_to_be_watched_only(report: DriftReport) -> None:
    quiet = replace(report, columns=(column(report, "season", psi=3.0, silent=True),))
    assert drift_markdown(quiet).splitlines()[-1].endswith("| watched only |")


def test_a_report_without_score_is_a_table_of_features(report: DriftReport) -> None:
    bare = replace(report, score=None, columns=(column(report, "delay", psi=0.1),))
    assert "| score |" not in drift_markdown(bare)
    assert "2013-07-01 to 2013-07-29" in drift_markdown(bare)
