"""Parquet history looked through a part at a time, so that its length costs time and no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from baton.features.asof_join import NOTHING, Integers, Part, Questions

# What is held of a history at a time: 20 numbers a row are 160 MB of a million rows.
PART_ROWS = 1 << 20
# Above it a row group is read in batches, which takes longer; files written by others may be one row group.
MOST_ROWS = 2 * PART_ROWS
BATCH_ROWS = 1 << 17
# Answers that newer ones have replaced are let go of when there are this many for each row.
SPARE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One view's values in a Parquet file: its keys, its event time, and its created time if it has one."""

    path: Path
    keys: Sequence[str]
    event: str
    created: str | None = None

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that say when a value happened and became known."""
        return (self.event, *([self.created] if self.created else []))

    def parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read keys, times and some columns, about a million rows at a time, the next while this one is used."""
        tables = self._tables(list(dict.fromkeys([*self.keys, *self.times, *columns])))
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(next, tables, None)
            while (table := ahead.result()) is not None:
                ahead = reader.submit(next, tables, None)
                yield table

    def known(self, part: pa.Table) -> tuple[Integers, Integers | None]:
        """Give the event times of a part and its created times, in nanoseconds since 1970."""
        return _nanoseconds(part[self.event]), _nanoseconds(part[self.created]) if self.created else None

    def _tables(self, columns: list[str]) -> Iterator[pa.Table]:
        schema = pq.read_schema(self.path)
        texts = [key for key in self.keys if _is_text(schema.field(key).type)]
        # A name that repeats is then looked up once.
        with pq.ParquetFile(self.path, read_dictionary=texts) as file:
            for group in range(file.num_row_groups):
                if file.metadata.row_group(group).num_rows <= MOST_ROWS:
                    yield file.read_row_group(group, columns=columns)
                    continue
                held: list[pa.RecordBatch] = []
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    held.append(batch)
                    if len(held) * BATCH_ROWS >= PART_ROWS:
                        yield pa.Table.from_batches(held).unify_dictionaries()
                        held = []
                if held:
                    yield pa.Table.from_batches(held).unify_dictionaries()


def as_known(questions: Questions, history: History, wanted: Sequence[str]) -> pa.Table:
    """Give the values that each question finds in a history, with their own types; missing where it finds none."""
    columns = list(dict.fromkeys(wanted))
    held: list[pa.Table] = []
    answers = np.full(questions.count, NOTHING, dtype=np.int64)
    count = 0
    for part in history.parts(columns):
        events, created = history.known(part)
        keys = [part[key].unify_dictionaries().to_pandas() for key in history.keys]
        places, at = questions.answered(Part(entities=questions.number(keys), events=events, known=created))
        answers[questions.rows[places]] = count + np.arange(len(at))
        held.append(part.select(columns).take(pa.array(at)))
        count += len(at)
        if count > SPARE * max(questions.count, PART_ROWS):
            held, count = [_chosen(held, answers)], questions.count
            answers = np.where(answers >= 0, np.arange(questions.count), NOTHING)
    if not held:
        schema = pq.read_schema(history.path)
        return pa.table({name: pa.nulls(questions.count, schema.field(name).type) for name in columns})
    return _chosen(held, answers)


def all_known(history: History, columns: Sequence[str], *, start: datetime | None, end: datetime | None) -> pa.Table:
    """Give every value that became known in a stretch of time, both ends included."""
    return pa.concat_tables(_inside(history, columns, start=start, end=end), promote_options="permissive")


def newest_known_of_each(history: History, columns: Sequence[str], *, start: datetime, end: datetime) -> pa.Table:
    """Give the newest value of each entity of those that became known in a stretch of time, both ends included."""
    newest: pa.Table | None = None
    for part in _inside(history, columns, start=start, end=end):
        newest = _newest(history, part if newest is None else pa.concat_tables([newest, part]))
    assert newest is not None, "a file has a part, if an empty one"
    return newest


def _inside(
    history: History, columns: Sequence[str], *, start: datetime | None, end: datetime | None
) -> Iterator[pa.Table]:
    yield _plain(pq.read_schema(history.path).empty_table().select([*history.keys, *history.times, *columns]))
    for part in history.parts(columns):
        events, created = history.known(part)
        known = events if created is None else np.maximum(events, created)
        inside = np.ones(len(known), dtype=np.bool_)
        if start is not None:
            inside &= known >= pd.Timestamp(start).value
        if end is not None:
            inside &= known <= pd.Timestamp(end).value
        yield _plain(part.filter(pa.array(inside)))


def _newest(history: History, table: pa.Table) -> pa.Table:
    order = table.select([*history.keys, *history.times]).to_pandas().dropna(subset=list(history.keys))
    ordered = order.sort_values(list(history.times), kind="stable")
    return table.take(pa.array(ordered.drop_duplicates(list(history.keys), keep="last").index))


def _plain(table: pa.Table) -> pa.Table:
    """Give a table with its texts spelt out again."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    return table


def _chosen(held: list[pa.Table], answers: Integers) -> pa.Table:
    together = pa.concat_tables(held).combine_chunks()
    return together.take(pa.array(answers, mask=answers < 0))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _nanoseconds(times: pa.ChunkedArray) -> Integers:
    """Give times as nanoseconds since 1970; those without a zone are UTC, and a missing one never happened."""
    since = times.cast(pa.timestamp("ns", tz=times.type.tz)).cast(pa.int64())
    count: Integers = since.fill_null(np.iinfo(np.int64).max).to_numpy()
    return count
