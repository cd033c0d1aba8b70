"""The story of a run, as a value."""

from __future__ import annotations

from dataclasses import replace

from baton.monitoring.story import Story, story_from_json, story_to_json


def test_a_story_reads_back_as_it_was_written(story: Story) -> None:
    assert story_from_json(story_to_json(story)) == story
    assert story_to_json(story_from_json(story_to_json(story))) == story_to_json(story)


def test_a_story_of_nothing_reads_back(story: Story) -> None:
    bare = replace(story, months=(), days=(), verdicts=(), events=(), service=None, links=(), timings=())
    assert story_from_json(story_to_json(bare)) == bare
