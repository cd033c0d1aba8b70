"""Whether what many processes did to one ledger could have been done one after the other.

Each operation is recorded when it is called and when it is answered, on the
clock that the processes of one machine share. One that was called and never
answered (its process was killed) may have happened or not. The register is the
champion's epoch: it goes up by one with each entry, so the order of entries is
the order of operations, and what remains to be checked is that every answer
agrees with it and none contradicts real time.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from baton.core.errors import BatonError
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.verdict import Verdict

Kind = Literal["lost update", "double epoch", "phantom", "unjudged", "went back", "alias", "adopted", "chain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call: `epoch` is what it was answered, None where it was refused or never answered.

    Times are nanoseconds. A write's entry carries the operation's name as its reason.
    """

    name: str
    action: Literal["write", "read", "alias"]
    began: int
    ended: int | None = None
    epoch: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must not happen, and where it did."""

    kind: Kind
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known after everybody has stopped: `shown` is the version of the champion alias, `flaw` the audit's."""

    operations: Sequence[Operation]
    history: Sequence[LedgerEntry]
    verdict: Callable[[str], Verdict | None]
    shown: str | None
    flaw: object | None


class OperationLog:
    """A process's calls and answers, one line each, whole even where the process is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, **facts: object) -> None:
        """Add a line."""
        os.write(self._file, (json.dumps(facts) + "\n").encode())

    @contextmanager
    def call(self, name: str, action: str) -> Iterator[dict[str, object]]:
        """Write down a call, and its answer unless it raised."""
        self.write(phase="call", name=name, action=action, at=time.monotonic_ns())
        answer: dict[str, object] = {}
        try:
            yield answer
        except BatonError as error:
            answer = {"refused": type(error).__name__}
        self.write(phase="answer", name=name, at=time.monotonic_ns(), **answer)


def recorded(folder: Path, pattern: str = "*.jsonl") -> list[Operation]:
    """Read back what the processes wrote down."""
    found: dict[str, dict[str, Any]] = {}
    known = {part.name for part in fields(Operation)}
    for file in sorted(folder.glob(pattern)):
        for line in file.read_text().splitlines():
            facts = json.loads(line)
            at = facts.pop("at")
            time_of = {"began": at} if facts.pop("phase") == "call" else {"ended": at}
            found.setdefault(facts["name"], {}).update(facts | time_of)
    return [Operation(**{name: fact for name, fact in facts.items() if name in known}) for facts in found.values()]


def violations(record: Record) -> tuple[Violation, ...]:
    """Give everything that must not have happened."""
    return (*_epochs(record), *_updates(record), *_judgements(record), *_order(record), *_aliases(record))


def _epochs(record: Record) -> Iterator[Violation]:
    epochs = [entry.epoch for entry in record.history]
    if record.flaw is not None:
        yield Violation(kind="chain", what=str(record.flaw))
    for epoch, times in Counter(epochs).items():
        if times > 1:
            yield Violation(kind="double epoch", what=f"the ledger has epoch {epoch} {times} times")
    if epochs != sorted(epochs) or set(epochs) != set(range(1, len(set(epochs)) + 1)):
        yield Violation(kind="double epoch", what="the ledger's epochs are not 1, 2, 3 and so on")
    answered = Counter(op.epoch for op in record.operations if op.action == "write" and op.epoch is not None)
    for epoch, times in answered.items():
        if times > 1:
            yield Violation(kind="double epoch", what=f"epoch {epoch} was given to {times} operations")


def _updates(record: Record) -> Iterator[Violation]:
    there = {entry.epoch: entry for entry in record.history}
    called = {op.name for op in record.operations if op.action == "write"}
    for op in record.operations:
        if op.action == "write" and op.epoch is not None:
            entry = there.get(op.epoch)
            if entry is None or entry.reason != op.name or op.version not in {None, entry.version}:
                yield Violation(kind="lost update", what=f"{op.name} was told epoch {op.epoch}, which is not its own")
    for entry in record.history:
        if entry.kind is EntryKind.ADOPTION or entry.actor == "mlflow-ui":
            yield Violation(kind="adopted", what=f"epoch {entry.epoch} was adopted, and nobody moved the alias")
        elif entry.reason not in called:
            yield Violation(kind="phantom", what=f"nobody wrote epoch {entry.epoch} ({entry.reason})")
    for name, times in Counter(entry.reason for entry in record.history).items():
        if times > 1 and name in called:
            yield Violation(kind="double epoch", what=f"{name} was written {times} times")


def _judgements(record: Record) -> Iterator[Violation]:
    champion: str | None = None
    for entry in record.history:
        verdict = record.verdict(entry.verdict_id)
        if entry.kind is EntryKind.PROMOTION and (
            verdict is None
            or not verdict.promotes
            or (verdict.epoch, verdict.champion, verdict.challenger) != (entry.epoch - 1, champion, entry.digest)
        ):
            yield Violation(kind="unjudged", what=f"epoch {entry.epoch} was not judged against epoch {entry.epoch - 1}")
        champion = entry.digest


def _order(record: Record) -> Iterator[Violation]:
    """Compare with real time: who calls after another was answered sees no older epoch."""
    seen = [op for op in record.operations if op.epoch is not None and op.ended is not None and op.action != "alias"]
    seen.sort(key=lambda op: op.ended or 0)
    ends = [op.ended or 0 for op in seen]
    newest = [0, *accumulate((op.epoch or 0 for op in seen), max)]
    for op in seen:
        known = newest[bisect_right(ends, op.began - 1)]
        epoch = op.epoch or 0
        if epoch < known or (op.action == "write" and epoch == known):
            yield Violation(kind="went back", what=f"{op.name} was told epoch {epoch} after epoch {known} was known")


def _aliases(record: Record) -> Iterator[Violation]:
    champions = {entry.version for entry in record.history}
    for op in record.operations:
        if op.action == "alias" and op.version is not None and op.version not in champions:
            yield Violation(kind="alias", what=f"{op.name} saw version {op.version}, which never was champion")
    head = record.history[-1].version if record.history else None
    if record.shown != head:
        yield Violation(kind="alias", what=f"at the end the alias names version {record.shown}, the ledger {head}")
