"""A holdout that is drawn, where rows have no time, and one that ends with a history."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import EmptyWindow
from baton.training.generated import generated_rows, generated_spec
from baton.training.split import split

LATER = datetime(2040, 1, 1, tzinfo=timezone.utc)


def spec_with(tmp_path, **training):
    spec = generated_spec("binary", trainer="linear", folder=tmp_path)
    return spec.model_copy(update={"training": spec.training.model_copy(update={"minimum_rows": 10, **training})})


def test_a_row_and_its_equals_stay_on_one_side_for_ever(tmp_path):
    spec, rows = spec_with(tmp_path, split="random", holdout_share=0.25), generated_rows("binary")
    first = split(rows, spec, as_of=LATER)
    assert first.holdout_start is None
    share = len(first.holdout) / len(rows)
    # Four standard deviations of a share of a quarter.
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(rows))
    twice = pd.concat([rows, rows.assign(id="again " + rows["id"], label=1 - rows["label"])], ignore_index=True)
    second = split(twice, spec, as_of=LATER)
    ids = set(second.holdout["id"].str.removeprefix("again "))
    assert ids == set(first.holdout["id"])
    assert len(second.holdout) == 2 * len(first.holdout)


def test_another_seed_draws_other_rows_and_a_group_stays_together(tmp_path):
    spec, rows = spec_with(tmp_path, split="random"), generated_rows("binary")
    other = split(rows, spec.model_copy(update={"seed": 8}), as_of=LATER)
    assert set(other.holdout["id"]) != set(split(rows, spec, as_of=LATER).holdout["id"])
    grouped = split(rows, spec_with(tmp_path, split="random", group="depot", holdout_share=0.5), as_of=LATER)
    assert not set(grouped.holdout["depot"]) & set(grouped.train["depot"])


def test_too_few_rows_are_refused_in_numbers(tmp_path):
    spec = spec_with(tmp_path, split="random", minimum_rows=10_000)
    with pytest.raises(EmptyWindow, match=r"training\.minimum_rows is 10000"):
        split(generated_rows("binary"), spec, as_of=LATER)


def test_the_holdout_of_a_history_that_has_ended_ends_with_its_newest_row(tmp_path):
    rows = generated_rows("binary")
    with pytest.raises(EmptyWindow, match="no labelled rows to judge on"):
        split(rows, spec_with(tmp_path, holdout_days=7), as_of=LATER)
    parts = split(rows, spec_with(tmp_path, holdout_days=7, holdout_ends="newest"), as_of=LATER)
    newest = rows["moment"].max()
    assert parts.holdout["moment"].max() == newest
    assert parts.holdout["moment"].min() >= newest - timedelta(days=7)
    assert (parts.train["label_known"] < parts.holdout_start).all()
