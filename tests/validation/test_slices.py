"""Which rows make which slices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import SourceMissing
from baton.core.policy import SliceSpec
from baton.core.profile import profile
from baton.validation.row_groups import crossed, grouped
from baton.validation.slices import slice_masks


def test_text_is_sliced_by_value_the_largest_first(rows):
    masks = slice_masks(SliceSpec(), rows, ["carrier"])
    assert set(masks) == {"carrier=AA", "carrier=DL", "carrier=UA", "carrier missing"}
    sizes = [int(mask.sum()) for mask in masks.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert (masks["carrier=UA"] == (rows["carrier"] == "UA")).all()
    assert (masks["carrier missing"] == (rows["carrier"] == "")).all()


def test_at_most_so_many_slices_are_made(rows):
    everything = slice_masks(SliceSpec(columns=["carrier", "rain"]), rows, ["carrier"])
    some = slice_masks(SliceSpec(columns=["carrier", "rain"], most=3), rows, ["carrier"])
    assert list(some) == list(everything)[:3]


def test_equal_slices_come_by_name():
    frame = pd.DataFrame({"c": ["b", "a", "c", "d"]})
    assert list(slice_masks(SliceSpec(most=3), frame, ["c"])) == ["c=a", "c=b", "c=c"]


def test_a_number_is_cut_into_quartiles_with_the_missing_apart(rows):
    masks = slice_masks(SliceSpec(columns=["rain"]), rows, [])
    assert len(masks) == 5
    assert (masks["rain missing"] == rows["rain"].isna()).all()
    assert (np.sum(list(masks.values()), axis=0) == 1).all()
    quarter = rows["rain"].notna().sum() / 4
    assert all(abs(mask.sum() - quarter) <= 2 for name, mask in masks.items() if name != "rain missing")


def test_quartiles_are_the_references_and_closed_above():
    distances = pd.DataFrame({"distance": np.linspace(0, 2_000, 2_001)})
    reference = profile(distances, np.zeros(len(distances)), text=[])
    window = pd.DataFrame({"distance": [500.0, 500.5, 1_000.0, 1_000.5, *range(10, 20)]})
    masks = slice_masks(SliceSpec(columns=["distance"]), window, [], reference=reference)
    assert window["distance"][masks["distance in 500..1,000"]].tolist() == [500.5, 1_000.0]
    assert window["distance"][masks["distance in 1,000..1,500"]].tolist() == [1_000.5]
    assert masks["distance up to 500"].sum() == 11


def test_a_number_of_few_values_is_sliced_by_value(rows):
    assert set(slice_masks(SliceSpec(columns=["seats"]), rows, [])) == {"seats=50", "seats=150", "seats=300"}


def test_edges_that_read_alike_get_more_digits():
    near = pd.Series(1e6 + np.arange(100) / 10, name="x")
    assert len(set(grouped(near, text=False).names)) == 4


def test_a_slice_of_every_row_is_none():
    frame = pd.DataFrame({"c": ["a"] * 5, "n": [np.nan] * 5})
    assert slice_masks(SliceSpec(columns=["c", "n"]), frame, ["c"]) == {}


def test_odd_values_are_written_as_literals():
    odd = pd.Series(["a\nb", "plain"], name="c")
    assert grouped(odd, text=True).names == ("c='a\\nb'", "c=plain")


def test_columns_cross(rows):
    both = crossed([grouped(rows[name], text=name == "carrier") for name in ("carrier", "seats")])
    assert "carrier=UA, seats=50" in both.names
    assert both.counts.sum() == len(rows)
    assert both.counts.min() > 0


def test_a_column_that_is_not_there_is_named(rows):
    with pytest.raises(SourceMissing, match="wings"):
        slice_masks(SliceSpec(columns=["wings"]), rows, [])
