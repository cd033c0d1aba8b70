from datetime import timedelta

import pytest

from baton.core.errors import EmptyWindow
from baton.training.split import known, split


def test_no_training_label_was_known_after_the_holdout_began(frame, spec, as_of):
    parts = split(frame, spec, as_of=as_of)
    assert parts.holdout_start == as_of - timedelta(days=14)
    assert parts.train["label_known"].max() < parts.holdout_start
    assert parts.holdout["moment"].min() >= parts.holdout_start


def test_rows_whose_label_came_during_the_holdout_are_in_neither_part(frame, spec, as_of):
    parts = split(frame, spec, as_of=as_of)
    between = (frame["moment"] < parts.holdout_start) & (frame["label_known"] >= parts.holdout_start)
    assert between.sum() > 0
    assert len(parts.train) + len(parts.holdout) + between.sum() == len(frame)


def test_a_label_that_comes_after_as_of_is_not_judged_on(frame, spec, as_of):
    earlier = as_of - timedelta(days=5)
    holdout = split(frame, spec, as_of=earlier).holdout
    assert holdout["label_known"].max() <= earlier


def test_a_window_keeps_the_newest_days(frame, as_of, make_spec):
    parts = split(frame, make_spec(window_days=10), as_of=as_of)
    assert parts.train["moment"].min() >= parts.holdout_start - timedelta(days=10)


def test_the_order_of_the_snapshot_does_not_matter(frame, spec, as_of):
    shuffled = frame.sample(frac=1, random_state=3)
    assert split(shuffled, spec, as_of=as_of).train.equals(split(frame, spec, as_of=as_of).train)


def test_an_as_of_outside_the_data_says_what_the_data_spans(frame, spec, as_of):
    with pytest.raises(EmptyWindow, match=r"no labelled rows to judge on.*spans 2024-01-01"):
        split(frame, spec, as_of=as_of + timedelta(days=100))


def test_too_few_rows_to_train_on_are_counted(frame, as_of, make_spec):
    with pytest.raises(EmptyWindow, match=r"rows to train on: training.minimum_rows is 9000"):
        split(frame, make_spec(minimum_rows=9_000), as_of=as_of)


def test_an_empty_snapshot_is_an_empty_window(frame, spec, as_of):
    with pytest.raises(EmptyWindow, match="the snapshot is empty"):
        split(frame.head(0), spec, as_of=as_of)


def test_a_refit_takes_every_label_known_before_as_of(frame, spec, as_of, make_spec):
    earlier = as_of - timedelta(days=5)
    assert known(frame, spec, as_of=earlier)["label_known"].max() < earlier
    assert len(known(frame, spec, as_of=earlier)) == (frame["label_known"] < earlier).sum()
    assert known(frame, make_spec(window_days=10), as_of=earlier)["moment"].min() >= earlier - timedelta(days=10)
