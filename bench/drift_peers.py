"""What others call drift by default, on the same rows: Evidently's own tests, and NannyML's rule."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

# A reference of this many rows is what Evidently is given, or a look takes a minute.
EVIDENTLY_ROWS = 10_000
# Evidently's preset calls a data set drifted when half of its columns are.
HALF = 0.5
# NannyML's limit is this many standard deviations of the reference's own chunks over their mean.
DEVIATIONS = 3.0
BINS = 10


class Evidently:
    """Evidently's default test for each column, with its default threshold."""

    def __init__(self, reference: pd.DataFrame) -> None:
        os.environ.setdefault("DO_NOT_TRACK", "1")
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

        self._get, self._kinds = get_stattest, ColumnType
        self._reference = reference.sample(min(EVIDENTLY_ROWS, len(reference)), random_state=0)

    def drifted(self, current: pd.DataFrame) -> list[str]:
        """Name the columns that it calls drifted."""
        found = []
        for name in current:
            kind = self._kinds.Categorical if current[name].dtype == object else self._kinds.Numerical
            reference, now = self._reference[name].dropna(), current[name].dropna()
            test = self._get(reference, now, kind.value, None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if test(reference, now, kind, None).drifted:
                    found.append(str(name))
        return found


class NannyStyle:
    """Jensen-Shannon distance by day, with limits of three standard deviations, as NannyML sets them by default."""

    def __init__(self, reference: pd.DataFrame, days: pd.Series) -> None:
        self._edges: dict[str, Any] = {}
        self._shares: dict[str, Any] = {}
        self._limits: dict[str, float] = {}
        chunks = [reference[days == day] for day in days.unique()]
        for name in map(str, reference):
            column = reference[name]
            text = column.dtype == object
            self._edges[name] = sorted(column.unique()) if text else np.histogram_bin_edges(column.dropna(), bins=BINS)
            self._shares[name] = self._histogram(name, column)
            found = [self._distance(name, chunk[name]) for chunk in chunks]
            self._limits[name] = float(np.mean(found) + DEVIATIONS * np.std(found))

    def drifted(self, current: pd.DataFrame) -> list[str]:
        """Name the columns beyond their limit."""
        return [name for name, limit in self._limits.items() if self._distance(name, current[name]) > limit]

    def _histogram(self, name: str, column: pd.Series) -> Any:
        if column.dtype == object:
            counts = column.value_counts()
            known = counts.reindex(self._edges[name], fill_value=0).to_numpy()
            return np.append(known, counts.sum() - known.sum()) / len(column)
        inside, _ = np.histogram(column.dropna(), bins=self._edges[name])
        return np.append(inside, column.count() - inside.sum()) / max(column.count(), 1)

    def _distance(self, name: str, column: pd.Series) -> float:
        from scipy.spatial.distance import jensenshannon

        return float(jensenshannon(self._shares[name], self._histogram(name, column), base=2))


def evidently_seconds(reference: pd.DataFrame, current: pd.DataFrame) -> float:
    """Time one report of Evidently's drift preset over all columns, its import left out."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Report([DataDriftPreset()]).run(Dataset.from_pandas(current), Dataset.from_pandas(reference)).dict()
    return time.perf_counter() - began
