"""One fit on a sample of a project's rows before it has landed any, to choose between trainers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.label_codes import label_codes
from baton.core.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.25


def trial(
    spec: ModelSpec, tables: Mapping[str, pd.DataFrame], *, trainer: str, parameters: Mapping[str, Any], rows: int
) -> float:
    """Fit on three quarters of a sample's rows and give the gate's metric on the rest; smaller is better.

    Only features that the request carries are used, so no view needs to be computed.

    Raises:
        TrainingFailed: The labels cannot be learnt.
        EmptyWindow: There are too few rows.
    """
    from baton.training.fit import fit, predict
    from baton.training.metrics import measure
    from baton.training.split import split

    training = spec.training.model_copy(
        update={
            "trainer": trainer,
            "parameters": dict(parameters),
            "split": "random",
            "holdout_share": SHARE,
            "minimum_rows": 1,
        }
    )
    tried = spec.model_copy(update={"training": training, "features": spec.features.model_copy(update={"views": {}})})
    tried._folder = spec.folder
    parts = split(_frame(tried, tables, rows), tried, as_of=datetime.max.replace(tzinfo=timezone.utc))
    fitted = fit(tried, parts.train, threads=1)
    labels = parts.holdout["label"].to_numpy(dtype=np.float64)
    return float(measure(spec.gate.metric, labels, predict(fitted, parts.holdout), quantile=spec.gate.quantile))


def _frame(spec: ModelSpec, tables: Mapping[str, pd.DataFrame], rows: int) -> pd.DataFrame:
    """Join features and labels as a snapshot lays them out."""
    import pandas as pd

    key, table = spec.prediction.id, spec.source.tables["rows"]
    labels = tables["labels"].drop_duplicates(key, keep="last").set_index(key)[spec.label.column]
    found = tables["rows"].drop_duplicates(key)
    found = found[found[key].isin(labels.index)]
    found = found.sample(min(rows, len(found)), random_state=spec.seed)
    columns: dict[str, Any] = {"id": found[key], "moment": found[table.event_time], "block": found[key]}
    columns["label"] = label_codes(found[key].map(labels), spec.label.classes)
    columns["label_known"] = found[table.event_time]
    for name in spec.features.names:
        text = name in spec.features.text
        columns[name] = found[name].fillna("").astype(str) if text else found[name].astype(np.float64)
    return pd.DataFrame(columns).reset_index(drop=True)
