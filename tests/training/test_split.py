from datetime import timedelta

import pytest

from baton.core.errors import EmptyWindow
from baton.training.split import known, newest, split


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


def visits(frame, size):
    """Give rows of parcels that come back: each depot's rows are those of `size` customers."""
    return frame.assign(depot=[f"c{(i * 7) % size}" for i in range(len(frame))])


def test_rows_of_a_group_in_the_holdout_are_not_trained_on_and_are_counted(frame, as_of, make_spec):
    rows = visits(frame, 4_000)
    free = split(rows, make_spec(), as_of=as_of)
    parts = split(rows, make_spec(group="depot"), as_of=as_of)
    assert not set(parts.train["depot"]) & set(parts.holdout["depot"])
    assert len(parts.train) + parts.group_rows == len(free.train)
    assert parts.groups == len(set(free.train["depot"]) & set(free.holdout["depot"])) > 0
    assert parts.holdout.equals(free.holdout)
    assert (free.groups, free.group_rows) == (0, 0)


def test_a_row_without_a_group_is_alone(frame, as_of, make_spec):
    rows = visits(frame, 4_000)
    rows.loc[::3, "depot"] = ""
    parts = split(rows, make_spec(group="depot"), as_of=as_of)
    assert (parts.train["depot"] == "").sum() > 1_000


def test_groups_that_leave_nothing_to_train_on_are_counted(frame, as_of, make_spec):
    with pytest.raises(EmptyWindow, match=r"0 rows to train on.*\d{4} rows are of a depot that the holdout judges"):
        split(visits(frame, 5), make_spec(group="depot"), as_of=as_of)


def test_the_newest_rows_are_whole_days_and_at_least_the_share(frame):
    parts = newest(frame, share=0.15, group=None, purpose="calibration")
    assert not set(parts.older["block"]) & set(parts.newest["block"])
    assert parts.older["block"].max() < parts.newest["block"].min()
    assert len(parts.older) + len(parts.newest) == len(frame)
    assert 0.15 <= len(parts.newest) / len(frame) < 0.15 + 2 / 60


def test_the_newest_rows_keep_their_groups_to_themselves(frame):
    rows = visits(frame, 4_000)
    parts = newest(rows, share=0.2, group="depot", purpose="calibration")
    assert not set(parts.older["depot"]) & set(parts.newest["depot"])


@pytest.mark.parametrize(
    ("rows", "share", "group"),
    [(0, 0.2, None), (50, 0.2, None), (6_000, 1.0, None), (6_000, 0.2, "depot")],
    ids=["no rows", "one day", "all of them", "groups in every day"],
)
def test_rows_that_cannot_be_divided_are_an_empty_window(frame, rows, share, group):
    with pytest.raises(EmptyWindow, match="no training row is left beside the calibration"):
        newest(visits(frame, 5).head(rows), share=share, group=group, purpose="calibration")
