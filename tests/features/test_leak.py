"""The join audit counts what differs from the reference, and only that."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import DataRefused
from baton.features.leak import audit_join, leaks
from baton.features.snapshot import frame, freeze

THREE_WEEKS = pd.Timestamp("2013-01-22T05:00Z").to_pydatetime()


def test_only_columns_that_differ_are_counted():
    rows = pd.DataFrame({"id": ["a", "b", "c"], "x": [1.0, np.nan, 3.0], "y": ["u", "", "w"]})
    reference = pd.DataFrame({"x": [1.0, np.nan, 3.5], "y": ["u", None, "w"]}, index=["a", "b", "c"])
    assert leaks(rows, reference, names=("x", "y")) == {"x": 1}


def test_a_value_where_nothing_was_known_is_a_leak():
    rows = pd.DataFrame({"id": ["a"], "x": [1.0]})
    assert leaks(rows, pd.DataFrame({"x": [np.nan]}, index=["a"]), names=("x",)) == {"x": 1}


def test_a_row_that_was_not_there_is_a_leak():
    rows = pd.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]})
    assert leaks(rows, pd.DataFrame({"x": [1.0]}, index=["a"]), names=("x",)) == {"the row itself": 1}


def test_an_honest_table_passes_and_a_shifted_feature_does_not(flights, landed, tmp_path):
    landing, definitions, _ = landed
    honest = frame(freeze(flights, *landed, as_of=THREE_WEEKS, folder=tmp_path))
    tables = landing.read_all(as_of=THREE_WEEKS)
    assert audit_join(honest, flights, tables, definitions) == 200
    # The next row's value: what a join that looks one row ahead would give.
    wrong = honest.assign(tail_last_arr_delay=honest["tail_last_arr_delay"].shift(-1))
    with pytest.raises(DataRefused, match=r"tail_last_arr_delay in \d+ rows differ"):
        audit_join(wrong, flights, tables, definitions)
