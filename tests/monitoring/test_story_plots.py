"""Where things lie in the report's plots."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

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
    assert [row.decision for row in drawn.rows] == ["PROMOTE", "HOLD"]


def test_a_verdict_without_interval_is_not_drawn(story: Story, world: SimpleNamespace) -> None:
    bare = replace(world.verdict(gain=0.0, low=0.0, high=0.0, passed=True), checks=())
    assert decisive(bare) is None
    assert verdicts_plot(replace(story, verdicts=(Judged(title="first", verdict=bare),))) is None


def test_nothing_to_draw_is_no_plot(story: Story) -> None:
    bare = replace(story, months=(), days=(), verdicts=())
    assert (months_plot(bare), days_plot(bare), verdicts_plot(bare)) == (None, None, None)
