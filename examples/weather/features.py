"""What the model sees: one definition, used for training, for serving and in tests.

To compute a feature, add a column to what `request` gives and its name to features.request in model.yaml:

    rows["size"] = rows["width"] * rows["height"]

Only what is known at a row's own moment may be used: training refuses a feature that looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def request(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give one row per thing to predict, as it was first known: a later correction did not reach the prediction."""
    rows = tables["rows"].drop_duplicates("row_id", keep="first")
    # Nothing can be predicted of a row before it is there.
    return rows.assign(moment=rows[["time_hour", "known_time"]].max(axis=1))


def views(tables: Mapping[str, pd.DataFrame], *, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Give what is looked up by entity; nothing here."""
    return {}
