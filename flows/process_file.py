"""Which processes are ours: by pid and start time on disk, and by a mark in their environment.

A pid alone is never trusted. Between two starts of Baton the number may have
gone to a stranger, and a stranger is never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from baton.core.digest import canonical_json
from baton.core.whole_file import replace_file
from baton.flows.programs import MARK

# Start times are rounded by some kernels; two processes never share a pid within this.
SAME_START_SECONDS = 2.0
LOOK_SECONDS = 0.1
GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process as it was when it was started; the command is for people, since a program may exec another."""

    pid: int
    started: float
    command: tuple[str, ...]

    def process(self) -> psutil.Process | None:
        """Give the live process, or None where it has ended or its pid is another's now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if same and alive else None


def record(path: Path, pid: int) -> None:
    """Write a running process down so that it can be told from a later one with its pid."""
    try:
        process = psutil.Process(pid)
        found = ProcessRecord(pid=pid, started=process.create_time(), command=tuple(process.cmdline()))
    except psutil.Error:
        # It has ended already; whoever waits for it will say so.
        return
    replace_file(path, canonical_json(found))


def read_record(path: Path) -> ProcessRecord | None:
    """Read a record back, None where there is none that can be read."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return ProcessRecord(pid=fields["pid"], started=fields["started"], command=tuple(fields["command"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def marked(mark: str) -> list[psutil.Process]:
    """Find every live process whose mark begins so, those whose parent is gone included."""
    return [process for process in psutil.process_iter() if _carries(process, mark)]


def stop_marked(mark: str, *, grace_seconds: float) -> int:
    """Ask every process whose mark begins so to end, and give how many there were.

    Those that have not ended after the grace are killed. They are looked for
    again and again, since a server may start another process while it stops.
    """
    found = marked(mark)
    _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while left := marked(mark):
        if time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
    return len(found)


@contextmanager
def no_orphans(place: str) -> Iterator[None]:
    """Stop what dead processes have left running at a place, and mark what this one starts so that it can be found.

    Prefect's in-process server and the service outlive a kill -9 of the
    process that started them.
    """
    for process in marked(f"{place}:"):
        owner = _owner(process)
        if owner is None or not psutil.pid_exists(owner):
            stop_marked(f"{place}:{owner}:", grace_seconds=GRACE_SECONDS)
    before = os.environ.get(MARK)
    os.environ[MARK] = f"{place}:{os.getpid()}:"
    try:
        yield
    finally:
        os.environ.pop(MARK, None)
        if before is not None:
            os.environ[MARK] = before


def _owner(process: psutil.Process) -> int | None:
    """Give the process that a mark names as the one that started it."""
    try:
        number = process.environ()[MARK].rstrip(":").rpartition(":")[2]
        return int(number)
    except (psutil.Error, OSError, KeyError, ValueError):
        return None


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        # A process never stops itself here, whoever started it.
        ours = process.pid != os.getpid() and process.environ().get(MARK, "").startswith(mark)
        return bool(ours and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OSError):
        return False


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        # psutil looks at the start time again before it signals.
        with suppress(psutil.Error):
            process.send_signal(number)
