"""Where things lie in the report's plots."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

from baton.core.drift_report import Level
from baton.monitoring.story import Judged, Story
from baton.monitoring.story_plots import days_plot, decisive, months_plot, verdicts_plot


def test_months_without_labels_are_left_out_and_the_honest_month_is_marked(story: Story) -> None:
    plot = months_plot(story)
    assert [tick.label for tick in plot.x_ticks] == ["Jul", "Nov"]
    assert [m.words for m in plot.marks if m.kind == "note"] == ["Nov: the stale champion is better"]


def test_a_higher_auc_lies_higher(story: Story) -> None:
    stale, fresh = (m.y for m in months_plot(story).marks if m.words.startswith("Jul"))
    assert fresh < stale


def test_a_missing_day_and_a_new_champion_break_the_line(story: Story) -> None:
    plot = days_plot(story)
    assert [len(run.split()) for run in plot.lines[0].runs] == [3, 16, 20]
    assert [m.words for m in plot.marks if m.kind == "version"] == ["2"]


def test_events_lie_in_lanes_below_the_axis(story: Story) -> None:
    plot = days_plot(story)
    marks = [m for m in plot.marks if m.kind in {"drifted", "promoted", "refused"}]
    assert len({m.y for m in marks}) == 3
    assert all(plot.bottom < m.y < plot.height for m in marks)


def test_an_interval_below_zero_lies_left_of_the_line_at_zero(story: Story) -> None:
    drawn = verdicts_plot(story)
    zero, margin = drawn.plot.limits
    good, refused = drawn.rows
    assert refused.mean < zero.at < good.mean
    assert refused.low < margin.at < good.low
    assert [row.decision for row in drawn.rows] == ["promoted", "refused"]


def test_a_verdict_without_interval_is_not_drawn(story: Story, world: SimpleNamespace) -> None:
    bare = replace(world.verdict(gain=0.0, low=0.0, high=0.0, passed=True), checks=())
    assert decisive(bare) is None
    assert verdicts_plot(replace(story, verdicts=(Judged(title="first", verdict=bare),))) is None


def test_nothing_to_draw_is_no_plot(story: Story) -> None:
    bare = replace(story, months=(), days=(), verdicts=())
    assert (months_plot(bare), days_plot(bare), verdicts_plot(bare)) == (None, None, None)


def test_one_month_is_a_table_and_no_line(story: Story) -> None:
    assert months_plot(replace(story, months=story.months[:1])) is None


def test_labels_of_small_steps_are_told_apart(story: Story) -> None:
    jul, _, nov = story.months
    near = replace(story, months=(jul, replace(nov, auc_retrained=0.762, auc_stale=0.756)))
    labels = [tick.label for tick in months_plot(near).y_ticks]
    assert len(set(labels)) == len(labels)


def test_a_day_with_too_few_rows_is_a_gap(story: Story) -> None:
    days = tuple(replace(day, level=Level.INSUFFICIENT, psi=9.0) if day.day.day == 9 else day for day in story.days)
    plot = days_plot(replace(story, days=days))
    assert len(plot.lines[0].runs) > len(days_plot(story).lines[0].runs)
    assert all(tick.at >= plot.top for tick in plot.y_ticks)
    assert "9" not in {tick.label for tick in plot.y_ticks}


def test_a_first_champion_has_no_gain_over_a_champion(story: Story) -> None:
    first, refused = story.verdicts
    alone = replace(first, verdict=replace(first.verdict, champion=None))
    assert [row.title for row in verdicts_plot(replace(story, verdicts=(alone, refused))).rows] == ["Version 3"]


def test_a_long_title_ends_before_its_bar(story: Story) -> None:
    long = replace(story.verdicts[0], title="version 4, drift: score PSI 0.59 over 0.25 for 13 days, 15 July")
    (row,) = verdicts_plot(replace(story, verdicts=(long,))).rows
    assert row.title == "version 4, drift: score PSI 0.59 over\N{HORIZONTAL ELLIPSIS}"


def test_names_of_versions_do_not_cover_each_other(story: Story) -> None:
    days = tuple(replace(day, version=str(index)) for index, day in enumerate(story.days))
    xs = [m.x for m in days_plot(replace(story, days=days)).marks if m.kind == "version"]
    assert len(xs) > 5
    assert all(after - before >= 26 for before, after in itertools.pairwise(xs))
