"""Windows as counts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import IntegrityBroken
from baton.core.profile import Profile
from baton.monitoring.window_counts import FineBins, WindowCounts, count, count_file, fine_bins, join

END = datetime(2024, 3, 4, tzinfo=timezone.utc)


@pytest.fixture
def rows(training: pd.DataFrame) -> pd.DataFrame:
    answers = np.linspace(0, 1, len(training))
    return training.assign(score=answers).sample(5_000, random_state=1).reset_index(drop=True)


def counted(rows: pd.DataFrame, reference: Profile, moments: pd.Series, *, days: int = 3) -> WindowCounts:
    return count({str(n): rows[n] for n in rows}, moments, fine_bins(reference), end=END, days=days)


def moments_of(rows: pd.DataFrame) -> pd.Series:
    return pd.Series(pd.to_datetime([END - timedelta(hours=1 + i % 71) for i in range(len(rows))]))


def test_parts_of_a_window_add_up_to_the_whole(rows: pd.DataFrame, reference: Profile) -> None:
    moments = moments_of(rows)
    whole = counted(rows, reference, moments)
    halves = counted(rows[:2_000], reference, moments[:2_000]) + counted(rows[2_000:], reference, moments[2_000:])
    assert whole.rows.tolist() == halves.rows.tolist()
    assert all((whole.counts[name] == halves.counts[name]).all() for name in whole.counts)
    with pytest.raises(ValueError, match="one window"):
        counted(rows, reference, moments, days=4) + whole


def test_days_are_counted_back_from_the_end(rows: pd.DataFrame, reference: Profile) -> None:
    moments = moments_of(rows)
    whole = counted(rows, reference, moments)
    back = ((END - moments).dt.total_seconds() - 1e-6) // 86_400
    assert whole.rows.tolist() == [int((back == day).sum()) for day in range(3)]
    assert whole.weekdays.tolist() == [6, 5, 4]
    single = [
        count({str(n): rows[n][back == day] for n in rows}, moments[back == day], fine_bins(reference), end=end, days=1)
        for day, end in ((2, END - timedelta(days=2)), (1, END - timedelta(days=1)), (0, END))
    ]
    joined = join(single)
    assert joined.rows.tolist() == whole.rows.tolist()
    assert all((joined.counts[name] == whole.counts[name]).all() for name in whole.counts)


def test_fine_bins_add_up_to_the_references_own(rows: pd.DataFrame, reference: Profile) -> None:
    for column in reference.columns:
        fine = FineBins(column)
        counts = np.bincount(fine.codes(rows[column.name]), minlength=fine.size)
        assert fine.judged(counts).tolist() == column.pooled(column.count(rows[column.name])).tolist()
        if column.span:
            low, high = column.span
            values = rows[column.name]
            assert fine.outside(counts) == ((values < low) | (values > high)).sum()


@pytest.mark.parametrize("group", [700, 5_000], ids=["many row groups", "one"])
def test_a_file_counts_as_its_rows_do(rows: pd.DataFrame, reference: Profile, tmp_path: Path, group: int) -> None:
    mixed = rows.assign(carrier=rows["carrier"].mask(rows.index % 9 == 0).mask(rows.index % 11 == 0, "new"))
    mixed = mixed.drop(columns="weekday")
    mixed.rename(columns={"delay": "feature.delay"}).to_parquet(tmp_path / "a.parquet", row_group_size=group)
    read = count_file(tmp_path / "a.parquet", fine_bins(reference), end=END, prefix="feature.")
    plain = counted(mixed, reference, pd.Series(pd.to_datetime([END - timedelta(hours=1)] * len(rows))), days=1)
    assert read.rows.tolist() == plain.rows.tolist()
    assert all((read.counts[name] == plain.counts[name]).all() for name in plain.counts)


def test_a_file_that_is_no_parquet_is_refused(reference: Profile, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(IntegrityBroken, match="not a whole Parquet file"):
        count_file(tmp_path / "a.parquet", fine_bins(reference), end=END)
