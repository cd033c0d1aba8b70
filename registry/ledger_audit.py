"""Whether a ledger still is what was written: the first entry that is not, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.verdict import Verdict, verdict_from_json
from baton.registry.ledger_tables import FIRST, chained, columns_of, entry_from, kinds

# Verdicts of format 1 were written before these were recorded.
RECORDED_SINCE = {"method": "", "alpha": 0.0, "evidence": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The newest entry at some moment, noted outside the ledger; an epoch alone anchors too, but less."""

    epoch: int
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """The first entry that does not fit, and what is wrong with it."""

    epoch: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a database says of one model's entries: `projected` is the newest epoch ever projected."""

    rows: Sequence[Any] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    head: Anchor | None = None
    projected: int = 0


def first_flaw(model: str, evidence: Evidence, anchor: Anchor | None) -> Flaw | None:
    """Give the first entry that does not fit its place, its hash or its verdict, or None where all do."""
    previous, champions = FIRST, set[tuple[str, str]]()
    contents = (_fields(row.content) for row in evidence.rows)
    stated = kinds(contents)
    for expected, row in enumerate(evidence.rows, start=1):
        try:
            entry = entry_from(row.content, next(stated))
            why = next(_flaws(row, entry, model, expected, previous), None)
            why = why or _on_what(entry, evidence.verdicts, champions)
        except (ValueError, TypeError, KeyError, AttributeError):
            why = "it cannot be read"
        if why:
            return Flaw(epoch=expected, why=why)
        previous = row.hash
        champions.add((entry.version, entry.digest))
    return _at_the_end(evidence, anchor)


def read_verdict(content: str) -> Verdict:
    """Read a verdict of any format; the fields that were not recorded then are empty."""
    return verdict_from_json(json.dumps(RECORDED_SINCE | json.loads(content)))


def _fields(content: str) -> dict[str, Any]:
    fields = json.loads(content)
    return fields if isinstance(fields, dict) and "verdict_id" in fields else {"verdict_id": ""}


def _flaws(row: Any, entry: LedgerEntry, model: str, expected: int, previous: str) -> Iterator[str]:
    if row.epoch != expected:
        yield f"it is missing; the next that is there is epoch {row.epoch}"
    if row.previous != previous:
        yield "it does not follow the entry before it"
    if row.hash != chained(row.previous, row.content):
        yield "its content is not what was hashed"
    if (entry.model, entry.epoch, entry.previous_epoch) != (model, expected, expected - 1):
        yield f"its content is that of epoch {entry.epoch} of {entry.model}"
    if any(getattr(row, name) != value for name, value in columns_of(entry, row.content, previous=previous).items()):
        yield "it is filed under what its content does not say"


def _on_what(entry: LedgerEntry, verdicts: Mapping[str, str], champions: set[tuple[str, str]]) -> str | None:
    """Give what is wrong with what an entry rests on."""
    if entry.kind is EntryKind.OVERRIDE and not entry.verdict_id:
        return None
    content = verdicts.get(entry.verdict_id)
    if content is None:
        return f"its verdict {entry.verdict_id[:12]} is not there"
    if hashlib.sha256(content.encode()).hexdigest() != entry.verdict_id:
        return f"its verdict {entry.verdict_id[:12]} was edited"
    match entry.kind:
        case EntryKind.ROLLBACK:
            return None if (entry.version, entry.digest) in champions else "it goes back to what never was champion"
        case EntryKind.OVERRIDE:
            return None
    verdict = read_verdict(content)
    if not verdict.promotes:
        return f"its verdict {entry.verdict_id[:12]} is {verdict.decision.value}"
    if (verdict.model, verdict.epoch, verdict.challenger) != (entry.model, entry.previous_epoch, entry.digest):
        return f"its verdict {entry.verdict_id[:12]} judged another bundle, or another champion"
    return None


def _at_the_end(evidence: Evidence, anchor: Anchor | None) -> Flaw | None:
    """Compare the newest entry with what was noted about it elsewhere."""
    rows, there = evidence.rows, len(evidence.rows)
    noted = {"the head's record": evidence.head, "the anchor": anchor, "a projection": Anchor(epoch=evidence.projected)}
    for source, note in noted.items():
        if note is None:
            continue
        if note.epoch > there:
            return Flaw(epoch=there + 1, why=f"it is missing; {source} names epoch {note.epoch}")
        if note.hash is not None and note.epoch and rows[note.epoch - 1].hash != note.hash:
            return Flaw(epoch=note.epoch, why=f"{source} names another entry")
    if there and evidence.head is None:
        return Flaw(epoch=there, why="the head's record is missing")
    if evidence.head is not None and evidence.head.epoch < there:
        return Flaw(epoch=evidence.head.epoch + 1, why="it was put in after the head's record")
    return None
