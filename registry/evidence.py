"""What a verdict was computed from, kept so that anybody can compute it again.

    <folder>/<digest>/rows.parquet    label, block, scores and slices of every row
    <folder>/<digest>/facts.json      policy, digests, times and the model tests' checks

The digest is that of the content (`Arguments.digest`), so the same evidence
has the same name whatever wrote the file. `facts.json` names the SHA-256 of
`rows.parquet` as well: a byte that was flipped where no value stands shows too.

Format version 1. A changed layout gets a new `FORMAT`, and another is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import canonical_json, digest_of_file
from baton.core.errors import DependencyDown, IntegrityBroken
from baton.core.policy import GateSpec, SliceSpec
from baton.core.verdict import Check, Outcome, Verdict
from baton.registry.arguments import Arguments, Column, columns_of, digest_of_parts, facts_of
from baton.registry.gate import decide

FORMAT = 1
ROWS, FACTS = "rows.parquet", "facts.json"
TIMES = ("holdout_start", "challenger_trained_until", "champion_trained_until", "now")


def judge(folder: Path, arguments: Arguments) -> Verdict:
    """Keep the evidence, then decide; what cannot be judged is not kept.

    Raises:
        EmptyWindow: See `decide`.
        NotPromotable: See `decide`.
        DependencyDown: The evidence cannot be written.
    """
    verdict = decide(arguments)
    keep(folder, arguments, digest=verdict.evidence)
    return verdict


def keep(folder: Path, arguments: Arguments, *, digest: str | None = None) -> str:
    """Write the evidence once, under its digest; keeping it again changes nothing.

    Args:
        folder: Where all evidence is kept.
        arguments: What is kept.
        digest: Of the arguments, where the caller has it.

    Returns:
        The digest.

    Raises:
        DependencyDown: The folder cannot be written.
    """
    digest = digest or arguments.digest
    target = folder / digest
    if target.is_dir():
        return digest
    temporary = folder / f".{digest[:16]}.{uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        _write_rows(temporary / ROWS, columns_of(arguments))
        files = {ROWS: digest_of_file(temporary / ROWS)}
        content = canonical_json({"format": FORMAT, "files": files, "facts": facts_of(arguments)})
        _write(temporary / FACTS, content)
        _settle(temporary, target)
    except OSError as error:
        raise DependencyDown(
            what=f"evidence {digest[:12]} cannot be kept in {folder}",
            why=str(error),
            fix="free space or permit writing there, and judge again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def read(folder: Path, digest: str) -> Arguments:
    """Give kept evidence as the arguments that it was, verified to the byte.

    Raises:
        IntegrityBroken: It is not there, or not what the digest names.
    """
    place = folder / digest
    try:
        stored = json.loads((place / FACTS).read_bytes())
        if stored["format"] != FORMAT:
            raise _broken(place, f"its format is {stored['format']}, and {FORMAT} is known")
        if stored["files"] != {ROWS: digest_of_file(place / ROWS)}:
            raise _broken(place, f"{ROWS} is not the file that was written")
        columns = _read_rows(place / ROWS)
        found = digest_of_parts(stored["facts"], columns)
        if found != digest:
            raise _broken(place, f"its content has the digest {found[:12]}")
        return _arguments(stored["facts"], columns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(place, str(error) or type(error).__name__) from error


def replay(verdict: Verdict, folder: Path) -> Verdict:
    """Decide again from the kept evidence; the bytes are the verdict's own.

    Raises:
        IntegrityBroken: The evidence is not what the verdict names, or does
            not lead to the verdict.
    """
    again = decide(read(folder, verdict.evidence))
    if again.to_json() != verdict.to_json():
        raise IntegrityBroken(
            what=f"verdict {verdict.id[:12]} does not follow from its evidence",
            why=f"deciding again gives {again.decision.value} with the id {again.id[:12]}",
            fix="compare the two with `baton why`, and judge again by the code that is installed",
        )
    return again


def _write_rows(path: Path, columns: Mapping[str, Column]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(each) for name, each in columns.items()}
    pq.write_table(pa.table(arrays), path, compression="zstd", write_page_checksum=True)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _settle(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError:
        # Somebody else kept the same evidence first, which is as good.
        if not target.is_dir():
            raise


def _read_rows(path: Path) -> dict[str, Column]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, page_checksum_verification=True)
    return {name: table[name].to_numpy() for name in table.column_names}


def _arguments(facts: Mapping[str, Any], columns: Mapping[str, Column]) -> Arguments:
    """Put the arguments together again; `columns_of` says what the columns are called."""
    fields = {**facts, "gate": GateSpec.model_validate(facts["gate"])}
    fields["slicing"] = SliceSpec.model_validate(facts["slicing"])
    fields |= {name: facts[name] and datetime.fromisoformat(facts[name]) for name in TIMES}
    fields["tests"] = tuple(Check(**{**test, "outcome": Outcome(test["outcome"])}) for test in facts["tests"])
    fields["baselines"] = {
        name: _scores(columns, f"baseline {name}") if constant is None else constant
        for name, constant in facts["baselines"].items()
    }
    slices = {name.removeprefix("slice "): rows for name, rows in columns.items() if name.startswith("slice ")}
    return Arguments(
        **fields,
        labels=columns["label"],
        blocks=columns["block"],
        challenger_scores=_scores(columns, "challenger"),
        champion_scores=None if facts["champion"] is None else _scores(columns, "champion"),
        slices=slices,
    )


def _scores(columns: Mapping[str, Column], who: str) -> NDArray[np.float64]:
    if who in columns:
        return columns[who]
    places = sum(name.startswith(f"{who} ") and name.removeprefix(f"{who} ").isdigit() for name in columns)
    return np.column_stack([columns[f"{who} {place}"] for place in range(places)])


def _broken(place: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(
        what=f"evidence {place.name[:12]} in {place.parent}",
        why=why,
        fix="restore the folder from a backup, or judge again",
    )
