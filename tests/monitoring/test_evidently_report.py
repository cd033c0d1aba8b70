"""What Evidently draws is what was judged."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baton.core.drift_report import DriftReport
from baton.core.profile import Profile, profile
from baton.core.spec import DriftSpec
from baton.monitoring.drift import judge
from baton.monitoring.evidently_report import numbers, render
from baton.monitoring.prediction_window import features_of


@pytest.fixture
def drawn(world: SimpleNamespace, reference: Profile, training: pd.DataFrame, policy: DriftSpec, tmp_path: Path):
    def drawn(frame: pd.DataFrame, trained: pd.DataFrame | None = None) -> tuple[DriftReport, Path]:
        trained = training if trained is None else trained
        frozen = reference if trained is training else profile(trained, world.scores(trained), text=["carrier"])
        window = world.answered(frame)
        end = world.start + timedelta(days=28)
        report = judge(window, frozen, policy, model="m", digest=world.digest, start=world.start, end=end)
        current = features_of(window).assign(score=window["score"])
        path = render(
            trained.assign(score=world.scores(trained)), current, report, path=tmp_path / "drift" / "july.html"
        )
        return report, path

    return drawn


def same(report: DriftReport, path: Path) -> None:
    shown = numbers(path)
    judged = [report.score, *report.columns] if report.score else []
    assert set(shown) == {c.name for c in judged}
    for column in judged:
        expected = {"psi": column.psi} | ({} if column.ks is None else {"ks": column.ks})
        assert shown[column.name] == expected


def test_evidently_shows_our_numbers_to_the_last_bit(world: SimpleNamespace, drawn) -> None:
    report, path = drawn(world.features(3_000, seed=2, shift=0.7))
    same(report, path)
    html = path.read_text(encoding="utf-8")
    for column in (report.score, *report.columns):
        assert f"{column.name}: PSI {column.psi:.4f}" in html


def test_the_report_needs_no_network_and_leaves_no_half_file(world: SimpleNamespace, drawn) -> None:
    _, path = drawn(world.features(1_000, seed=2))
    html = path.read_text(encoding="utf-8")
    assert "<script src=" not in html
    assert "<link" not in html
    assert sorted(p.name for p in path.parent.iterdir()) == ["july.html", "july.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"delay": np.nan, "carrier": None},
        {"delay": 5.0, "carrier": "AA"},
        {"delay": np.inf},
        {"carrier": "new"},
    ],
    ids=["nothing there", "one value", "infinite", "a new text"],
)
def test_odd_columns_are_drawn(world: SimpleNamespace, drawn, change: dict[str, object]) -> None:
    frame = world.features(1_000, seed=2)
    same(*drawn(frame.assign(**change)))


def test_an_empty_window_is_drawn(world: SimpleNamespace, drawn) -> None:
    report, path = drawn(world.features(0, seed=2))
    same(report, path)
    rows = next(m for m in json.loads(path.with_suffix(".json").read_text())["metrics"] if "rows" in m["config"])
    assert rows["value"] == 0


def test_a_reference_with_an_empty_and_a_constant_column_is_drawn(
    world: SimpleNamespace, drawn, training: pd.DataFrame
) -> None:
    same(*drawn(world.features(1_000, seed=2), training.assign(gust=np.nan, weekday=1.0)))
