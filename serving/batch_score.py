"""Score a file of feature rows: the champion's answers to as many rows as there are, in memory for a chunk of them.

The output has one row for each good one, in order: `id`, the entity columns,
the answer (`score`; `label` and `score.<class>`; or `value`), `digest` and
`version`. Bad rows stand in a file of their own with the reason. Rows are
checked and scored by the functions that the service uses, so the answers are
those that it would give, to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import DataRefused, EmptyWindow, Misuse, SourceMissing, listed
from baton.core.profile import SCORE, SCORE_PREFIX
from baton.serving.answers import likeliest
from baton.serving.batch_files import CHUNK_ROWS, Parts, RowFile, run_of
from baton.serving.batch_rows import check_chunk, check_columns
from baton.serving.predictor import Predictor

ID, LABEL, VALUE, DIGEST, VERSION = "id", "label", "value", "digest", "version"
REJECTED_ROW, REJECTED_REASON = "rejected_row", "rejected_reason"
# Larger batches compute no faster, and their trees' partial sums leave the cache.
SCORED_ROWS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a file's rows; `resumed` of them were done by an earlier run."""

    rows: int
    scored: int
    rejected: int
    resumed: int
    seconds: float
    digest: str
    version: str


def score_file(
    source: Path,
    target: Path,
    predictor: Predictor,
    *,
    id_column: str | None = None,
    kept: Sequence[str] = (),
    most_rejected: float = 0.01,
    progress: Callable[[int, int | None], None] = lambda _done, _all: None,
) -> BatchResult:
    """Score every row of a file into another, going on where a killed run of the same has stopped.

    Args:
        source: Parquet, or CSV with a line of names.
        target: The Parquet file of answers; bad rows go beside it, `.rejected` before its suffix.
        predictor: What scores them.
        id_column: Column that names a row; the row's number, from 0, where left out.
        kept: Further columns that the output repeats.
        most_rejected: Largest share of bad rows, 0-1.
        progress: Called after each chunk with the rows that are done, and all rows where known.

    Raises:
        SourceMissing: A file, field or column is not there, or is of another kind.
        EmptyWindow: The file has no rows.
        DataRefused: Too many rows are bad; they are in place, the answers are not.
        Conflict: Another process scores into the same file.
    """
    started = time.monotonic()
    file, parts = RowFile(source), Parts(target)
    fields = predictor.bundle.fields
    check_columns(file.types, fields, where=str(source))
    _check_kept(file, id_column, kept)
    if target.is_dir() or (target.exists() and target.samefile(source)):
        raise Misuse(what=f"{target} cannot be written", why="it is the input or a folder", fix="name another file")
    columns = list(
        dict.fromkeys([*(f.name for f in fields if f.name in file.types), *kept, *filter(None, [id_column])])
    )
    facts = {"digest": predictor.bundle.digest, "version": predictor.release.version, "id": id_column, "kept": kept}
    with parts.opened(run_of(file, facts)) as done:
        number = done
        for table in file.chunks(columns, skip=done * CHUNK_ROWS):
            _score_chunk(table, parts, predictor, number, id_column=id_column, kept=kept)
            number += 1
            progress((number - 1) * CHUNK_ROWS + table.num_rows, file.rows)
        scored, rejected = parts.count(number)
        if not number:
            raise EmptyWindow(what=f"{source} cannot be scored", why="it has no rows", fix="name a file with rows")
        parts.put_rejected(number)
        if rejected > most_rejected * (scored + rejected):
            raise DataRefused(
                what=f"{source} is not scored",
                why=f"{rejected:,} of {scored + rejected:,} rows are bad, the limit is {most_rejected:.2%}",
                fix=f"look at {parts.rejected}, mend the rows or raise --most-rejected",
            )
        parts.put(number)
    return BatchResult(
        rows=scored + rejected,
        scored=scored,
        rejected=rejected,
        resumed=min(done * CHUNK_ROWS, scored + rejected),
        seconds=time.monotonic() - started,
        digest=predictor.bundle.digest,
        version=predictor.release.version,
    )


def _check_kept(file: RowFile, id_column: str | None, kept: Sequence[str]) -> None:
    absent = [name for name in [*filter(None, [id_column]), *kept] if name not in file.types]
    if absent:
        raise SourceMissing(
            what=f"{file.path} has no such column", why=f"it lacks {listed(absent)}", fix="name columns that it has"
        )
    taken = {ID, SCORE, LABEL, VALUE, DIGEST, VERSION}
    clashes = [name for name in kept if name in taken or name.startswith(SCORE_PREFIX)]
    if clashes:
        raise Misuse(what="columns would clash", why=f"the answers name {listed(clashes)}", fix="rename them")


def _score_chunk(
    table: Any, parts: Parts, predictor: Predictor, number: int, *, id_column: str | None, kept: Sequence[str]
) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    checked = check_chunk(table, predictor.bundle.fields)
    first = number * CHUNK_ROWS
    good = table.take(pa.array(checked.good))
    ids = pc.cast(good.column(id_column) if id_column else pa.array(checked.good + first), pa.string())
    columns = {ID: ids, **{name: good.column(name) for name in kept}, **_answers(predictor, checked.rows)}
    columns[DIGEST] = pa.repeat(pa.scalar(predictor.bundle.digest), len(good))
    columns[VERSION] = pa.repeat(pa.scalar(predictor.release.version), len(good))
    rejected = None
    if checked.reasons:
        places = sorted(checked.reasons)
        rejected = table.take(pa.array(places))
        rejected = rejected.append_column(REJECTED_ROW, pa.array([first + at for at in places], pa.int64()))
        rejected = rejected.append_column(REJECTED_REASON, pa.array([checked.reasons[at] for at in places]))
    parts.add(number, pa.table(columns), rejected)


def _answers(predictor: Predictor, rows: Any) -> dict[str, Any]:
    """Score rows and name the answers as the service does."""
    import pyarrow as pa

    pieces = [predictor.score(rows.part(at, at + SCORED_ROWS)) for at in range(0, len(rows), SCORED_ROWS)]
    bundle = predictor.bundle
    wide = (len(bundle.classes),) if bundle.task == "multiclass" else ()
    scores: NDArray[np.float64] = np.concatenate(pieces) if pieces else np.empty((0, *wide))
    if bundle.task == "multiclass":
        each = {SCORE_PREFIX + name: pa.array(scores[:, at]) for at, name in enumerate(bundle.classes)}
        return {LABEL: pa.array(likeliest(bundle, scores), pa.string()), **each}
    return {SCORE if bundle.task == "binary" else VALUE: pa.array(scores, pa.float64())}
