"""What is known of the champion alias: which of our own moves of it are done, and which may still happen.

The registry can set an alias and nothing else: no condition, no author. So
every move of ours is written down before it is made. An alias that is where no
move of ours could have put it was moved by a person.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from baton.core.ledger_entry import LedgerEntry
from baton.core.ports import Ledger

# Longer than a request that was sent can still be under way.
GRACE_SECONDS = 90.0
PROC = Path("/proc")
# Start time of a process in ticks since the machine's, in /proc/PID/stat after the name.
START_FIELD = 19


class State(StrEnum):
    """How far a move of the alias is.

    `DOUBTFUL` was not answered and may yet be carried out; `SPENT` was seen
    to have happened late, by somebody else.
    """

    INTENT = "intent"
    DONE = "done"
    DOUBTFUL = "doubtful"
    SPENT = "spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One move of the alias to the champion of an epoch; `age` is in seconds since its state was written."""

    id: str
    epoch: int
    version: str
    state: State
    holder: str
    age: float

    @property
    def pending(self) -> bool:
        """Whether the alias may still move, or just have moved, because of this."""
        if self.age <= GRACE_SECONDS:
            return self.state in {State.INTENT, State.DOUBTFUL}
        return self.state is State.INTENT and alive(self.holder) is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Ledger and projections of a model in one moment: `done` is the move of the newest epoch that was carried out."""

    head: LedgerEntry | None
    done: Projection | None
    pending: tuple[Projection, ...]

    def same(self, other: Standing) -> bool:
        """Whether nothing has happened between the two."""
        return self._facts() == other._facts()

    def _facts(self) -> tuple[object, ...]:
        done = self.done and (self.done.epoch, self.done.version)
        return self.head, done, tuple((move.id, move.state) for move in self.pending)


class Projections(Protocol):
    """The moves of the champion alias."""

    def standing(self, model: str) -> Standing:
        """Give ledger and projections in one moment."""

    def begin(self, model: str, *, epoch: int, version: str, holder: str) -> str:
        """Write down a move that is about to be made, and give its id."""

    def end(self, projection: str, state: State) -> None:
        """Write down what became of a move."""

    def settle(
        self, model: str, *, epoch: int, version: str, holder: str, done: Sequence[str] = (), spent: Sequence[str] = ()
    ) -> None:
        """Write down that the alias was seen at the champion of an epoch, and with that what became of moves."""


class ProjectedLedger(Ledger, Protocol):
    """A ledger with the moves of the alias beside it."""

    @property
    def projections(self) -> Projections:
        """The moves of the champion alias."""


def this_process() -> str:
    """Name this process so that any other on the machine can tell whether it still runs."""
    pid = os.getpid()
    return f"{_machine()} {pid} {_started(pid)}"


def alive(holder: str) -> bool | None:
    """Say whether a process still runs, paused or not; None where it is on another machine."""
    machine, _, process = holder.partition(" ")
    pid, _, started = process.partition(" ")
    if machine != _machine() or not pid.isdigit() or not (PROC / "self" / "stat").exists():
        return None
    return _started(int(pid)) == started != ""


def _started(pid: int) -> str:
    """Give when a process started, since its number is used again; empty where it does not run."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[START_FIELD]


@lru_cache(maxsize=1)
def _machine() -> str:
    """Name what numbers processes: this start of the machine, and within it the container."""
    boot, space = PROC / "sys" / "kernel" / "random" / "boot_id", PROC / "self" / "ns" / "pid"
    started = boot.read_text().strip() if boot.is_file() else ""
    return f"{socket.gethostname()}/{started}/{space.readlink() if space.is_symlink() else ''}"
