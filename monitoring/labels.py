"""Labels as they arrive: what was true of an answer, as far as it was known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from baton.core.errors import SourceMissing, listed
from baton.core.label_codes import label_codes

if TYPE_CHECKING:
    import pandas as pd

KNOWN_TIME = "known_time"


def attach(
    window: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    key: str,
    label: str,
    as_of: datetime,
    classes: Sequence[str] = (),
    told: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give the window with a column `label`: the last label known at `as_of`, NaN where none had come.

    A label that became known later than `as_of` does not exist yet, however
    long it has been in the table, so a replay sees what was seen at the time.

    Args:
        window: Answered rows with `entity`.
        labels: Landed labels with columns `key`, `label` and `known_time`;
            corrections are further rows.
        key: Column of `labels` that holds the entity.
        label: Column of `labels` that holds 0 or 1, a class, or a number.
        as_of: Moment of knowledge (aware, UTC); a label of that very moment counts.
        classes: The declared classes; a label becomes its place among them,
            and one that is no class counts as not come.
        told: Labels that were sent to the service by prediction `id`, known at
            `as_of`; they go before those that join by entity.

    Returns:
        The window's rows in their order, however many labels one entity has.

    Raises:
        SourceMissing: A column is not there.
    """
    missing = [name for name in (key, label, KNOWN_TIME) if name not in labels]
    if missing:
        raise SourceMissing(
            what=f"labels without {listed(missing)}",
            why=f"the table holds {listed(labels.columns)}",
            fix="name the table's id and label columns in model.yaml",
        )
    known = labels[(labels[KNOWN_TIME] <= as_of) & labels[label].notna()]
    # Stable: of two labels of one moment the one that landed last wins.
    last = known.sort_values(KNOWN_TIME, kind="stable").drop_duplicates(key, keep="last").set_index(key)[label]
    joined = window.assign(label=window["entity"].map(label_codes(last, classes)))
    if told is None or told.empty:
        return joined
    by_id = told.set_index("id")
    # Of several classes a label is its name alone.
    codes = (
        by_id["number"].where(by_id["number"].notna(), label_codes(by_id["label"], classes))
        if classes
        else by_id["number"]
    )
    return joined.assign(label=joined["id"].map(codes).fillna(joined["label"]))
