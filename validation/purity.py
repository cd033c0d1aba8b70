"""Purity of the holdout: no row on which models are judged is one that either has learnt from.

A model's training rows are kept as two sorted hashes each, of the id and of
what the row says (moment, features and label), so that a row is found again
under its id with other values, and with its values under another id. The file
lasts as long as the model, and is read when a later challenger is judged
against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import IntegrityBroken, SourceMissing
from baton.core.verdict import Check, Outcome
from baton.features.durable import write_parquet
from baton.validation.row_hash import VERSION, Hashes, row_hashes

if TYPE_CHECKING:
    import pandas as pd

LISTED = 3

Seen = NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPrints:
    """The hashes of some rows, `ids` and `contents` each of shape `(rows,)`."""

    ids: Hashes
    contents: Hashes


def row_prints(frame: pd.DataFrame, features: Sequence[str]) -> RowPrints:
    """Hash rows of a snapshot, in their order."""
    contents = row_hashes(frame, ["moment", *features, "label"])
    return RowPrints(ids=row_hashes(frame, ["id"]), contents=contents)


def shared(holdout: Hashes, training: Hashes) -> NDArray[np.bool_]:
    """Tell which of the holdout's rows are among the training rows, shape of the first; both in any order."""
    return np.isin(holdout, training)


def write_prints(path: Path, prints: RowPrints) -> None:
    """Keep a model's training rows, some 20 bytes each, whole or not at all."""
    import pyarrow as pa

    columns = {"ids": np.sort(prints.ids), "contents": np.sort(prints.contents)}
    write_parquet(path, pa.table(columns).replace_schema_metadata({"hash": VERSION}))


def read_prints(path: Path) -> RowPrints:
    """Read a model's training rows back, sorted.

    Raises:
        SourceMissing: There is no such file.
        IntegrityBroken: It is no such file, or was hashed another way.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SourceMissing(what=f"no training rows at {path}", why="the file is not there", fix="train again")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        hashed = (table.schema.metadata or {}).get(b"hash", b"").decode()
        ids, contents = (table.column(name).to_numpy() for name in ("ids", "contents"))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from error
    if hashed != VERSION or ids.dtype != np.uint64 or contents.dtype != np.uint64:
        raise _broken(path, f"its rows were hashed as {hashed or 'nothing known'}, expected {VERSION}")
    return RowPrints(ids=ids, contents=contents)


def rows_seen(
    holdout: pd.DataFrame, features: Sequence[str], trained_on: Mapping[str, RowPrints | None]
) -> dict[str, Seen]:
    """Look for the holdout's rows among those that each model has learnt from.

    Args:
        holdout: The rows on which models are judged.
        features: Names of the features.
        trained_on: The training rows of each model that is judged, by what it
            is called; None where nobody knows them.

    Returns:
        For each model, whether it has learnt from each row, shape
        `(len(holdout),)`; None where its rows are not known.
    """
    own = row_prints(holdout, features)
    return {
        who: None if known is None else shared(own.ids, known.ids) | shared(own.contents, known.contents)
        for who, known in trained_on.items()
    }


def purity(holdout: pd.DataFrame, seen: Mapping[str, Seen]) -> Check:
    """Say from what `rows_seen` found whether a model has learnt from a row of the holdout; not knowing is no proof."""
    leaks = {who: rows for who, rows in seen.items() if rows is not None and rows.any()}
    unknown = [who for who, rows in seen.items() if rows is None]
    if leaks:
        outcome, detail = Outcome.FAILED, "; ".join(_leak(who, rows, holdout) for who, rows in leaks.items())
    elif unknown or not seen or holdout.empty:
        outcome, detail = Outcome.UNDECIDED, _unshown(unknown, holdout)
    else:
        outcome, detail = Outcome.PASSED, f"none of {len(holdout):,} holdout rows trained the {' or the '.join(seen)}"
    leaked = float(np.logical_or.reduce(list(leaks.values())).sum()) if leaks else 0.0
    return Check(name="holdout_unseen", outcome=outcome, observed=leaked, required=0.0, detail=detail)


def _leak(who: str, rows: NDArray[np.bool_], holdout: pd.DataFrame) -> str:
    ids = [str(name) for name in holdout["id"].to_numpy()[rows][:LISTED]]
    more = f" and {int(rows.sum()) - LISTED:,} more" if rows.sum() > LISTED else ""
    return f"{int(rows.sum()):,} of {len(holdout):,} holdout rows trained the {who}: {', '.join(ids)}{more}"


def _unshown(unknown: Sequence[str], holdout: pd.DataFrame) -> str:
    if holdout.empty:
        return "the holdout has no rows, so nothing is shown"
    return f"the training rows of the {' and the '.join(unknown) or 'models'} are not known, so nothing is shown"


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"the training rows at {path} cannot be read", why=why, fix="train the model again")
