"""Labels as they arrive."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import SourceMissing
from baton.monitoring.labels import attach, corrected


@pytest.fixture
def window() -> pd.DataFrame:
    return pd.DataFrame({"entity": ["a", "b", "c", "a"], "score": [0.1, 0.2, 0.3, 0.4]})


def landed(world: SimpleNamespace, *rows: tuple[str, float, int]) -> pd.DataFrame:
    known = [world.start + timedelta(hours=hours) for *_, hours in rows]
    return pd.DataFrame(
        {"flight": [key for key, *_ in rows], "late": [late for _, late, _ in rows], "known_time": known}
    ).astype({"known_time": "datetime64[ns, UTC]"})


def attached(world: SimpleNamespace, window: pd.DataFrame, labels: pd.DataFrame, *, hours: int) -> list[float]:
    as_of = world.start + timedelta(hours=hours)
    return attach(window, labels, key="flight", label="late", as_of=as_of)["label"].tolist()


def test_a_label_counts_from_the_moment_at_which_it_is_known(world: SimpleNamespace, window: pd.DataFrame) -> None:
    labels = landed(world, ("a", 1, 5), ("b", 0, 6))
    assert np.isnan(attached(world, window, labels, hours=4)).all()
    np.testing.assert_array_equal(attached(world, window, labels, hours=5), [1, np.nan, np.nan, 1])
    np.testing.assert_array_equal(attached(world, window, labels, hours=6), [1, 0, np.nan, 1])


def test_the_last_known_label_wins_wherever_it_stands(world: SimpleNamespace, window: pd.DataFrame) -> None:
    labels = landed(world, ("a", 0, 9), ("a", 1, 5), ("b", 1, 5), ("b", 0, 5))
    assert attached(world, window, labels, hours=8)[:2] == [1, 0]
    assert attached(world, window, labels, hours=9)[:2] == [0, 0]


def test_a_label_without_a_value_is_none(world: SimpleNamespace, window: pd.DataFrame) -> None:
    labels = landed(world, ("a", 1, 5), ("a", np.nan, 6))
    assert attached(world, window, labels, hours=8)[0] == 1


def test_no_labels_at_all_leave_the_window_whole(world: SimpleNamespace, window: pd.DataFrame) -> None:
    assert np.isnan(attached(world, window, landed(world), hours=8)).all()


def test_a_table_without_the_column_is_named(world: SimpleNamespace, window: pd.DataFrame) -> None:
    with pytest.raises(SourceMissing, match="late"):
        attached(world, window, landed(world).drop(columns="late"), hours=8)


@pytest.mark.parametrize(
    ("classes", "sent", "expected"),
    [
        ((), ("1", 1.0), 1.0),
        (("no", "yes"), ("yes", 1.0), 1.0),
        (("a", "b", "c"), ("c", None), 2.0),
        ((), ("7.5", 7.5), 7.5),
    ],
    ids=["two classes", "two named classes", "several classes", "a number"],
)
def test_a_label_sent_by_prediction_goes_before_one_that_joins_by_entity(
    world: SimpleNamespace,
    window: pd.DataFrame,
    classes: tuple[str, ...],
    sent: tuple[str, float | None],
    expected: float,
) -> None:
    labels = landed(world, ("a", 0, 5), ("b", 0, 5)).astype({"late": object})
    labels["late"] = classes[0] if classes else 0
    label, number = sent
    told = pd.DataFrame({"id": ["p3", "p9"], "label": [label] * 2, "number": pd.Series([number] * 2, dtype=float)})
    told = told.assign(given_at=world.start + timedelta(hours=30), revision=1)
    answered = window.assign(id=["p0", "p1", "p2", "p3"])

    found = attach(
        answered,
        labels,
        key="flight",
        label="late",
        as_of=world.start + timedelta(hours=9),
        classes=classes,
        told=told,
    )

    np.testing.assert_array_equal(found["label"], [0, 0, np.nan, expected])


def test_f8_the_last_label_wins_and_what_it_replaced_is_counted(world: SimpleNamespace, window: pd.DataFrame) -> None:
    """F8: twice the same is no correction."""
    facts = {"key": "flight", "label": "late", "as_of": world.start + timedelta(hours=9)}
    labels = landed(world, ("a", 1, 2), ("a", 1, 3), ("b", 0, 2), ("b", 1, 8), ("c", 0, 2), ("c", 1, 10))
    asked = window.assign(id=["p1", "p2", "p3", "p4"])
    joined = attach(asked, labels, **facts)
    assert joined["label"].tolist() == [1, 1, 0, 1]
    assert (joined["label_at"] - world.start).dt.total_seconds().div(3600).tolist() == [3, 8, 2, 3]
    assert corrected(asked, labels, **facts) == 1
    told = pd.DataFrame({"id": ["p1", "p4"], "revision": [2, 1]})
    assert corrected(asked, labels, **facts, told=told) == 2
