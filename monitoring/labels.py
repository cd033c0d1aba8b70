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

    `label_at` is when that label became known.

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
        told: Labels that were sent to the service by prediction `id`, at
            `given_at` and known at `as_of`; they go before those that join by entity.

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
    import pandas as pd

    known = labels[(labels[KNOWN_TIME] <= as_of) & labels[label].notna()]
    # Stable: of two labels of one moment the one that landed last wins.
    ordered = known.sort_values(KNOWN_TIME, kind="stable")
    last = ordered.drop_duplicates(key, keep="last").set_index(key)
    landed_at = pd.to_datetime(window["entity"].map(last[KNOWN_TIME]), utc=True)
    joined = window.assign(label=window["entity"].map(label_codes(last[label], classes)), label_at=landed_at)
    if told is None or told.empty:
        return joined
    by_id = told.set_index("id")
    # Of several classes a label is its name alone.
    codes = (
        by_id["number"].where(by_id["number"].notna(), label_codes(by_id["label"], classes))
        if classes
        else by_id["number"]
    )
    answers = joined["id"].map(codes)
    sent_at = pd.to_datetime(joined["id"].map(by_id["given_at"]), utc=True)
    return joined.assign(label=answers.fillna(joined["label"]), label_at=sent_at.where(answers.notna(), landed_at))


def corrected(
    window: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    key: str,
    label: str,
    as_of: datetime,
    told: pd.DataFrame | None = None,
) -> int:
    """Count the window's rows whose label has been replaced by another one that came later: the last one counts.

    Args:
        window: Answered rows with `entity` and `id`.
        labels: See `attach`.
        key: See `attach`.
        label: See `attach`.
        as_of: See `attach`.
        told: See `attach`; its `revision` counts the values that were sent.
    """
    mine = labels[(labels[KNOWN_TIME] <= as_of) & labels[label].notna() & labels[key].isin(window["entity"])]
    values = mine.groupby(key)[label].nunique()
    landed = int(window["entity"].isin(values[values > 1].index).sum())
    if told is None or told.empty:
        return landed
    return landed + int(window["id"].isin(told.loc[told["revision"] > 1, "id"]).sum())
