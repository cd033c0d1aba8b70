"""The servers of one installation, started together, kept running, and stopped together.

    starting -> ready -> stopped
                 |  ^
            dies |  | back-off
                 v  |
              restarting -> given up (then all are stopped)

One supervisor per folder: it holds a lock for as long as it lives. Whatever a
supervisor leaves behind when it is killed is found by the next one, by a mark
in the environment of everything that it started.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from baton.core.errors import Conflict, DependencyDown
from baton.flows.ports import healthy, require_free
from baton.flows.process_file import read_record, record, stop_marked
from baton.flows.program_log import fresh_log, last_line, open_log, trim_log
from baton.flows.programs import Program, environment_of
from baton.flows.signals import signals_interrupt, signals_wait

LOOK_SECONDS = 0.2
GRACE_SECONDS = 10.0
# A program that dies more often than this in a minute has a reason that a restart does not remove.
RESTARTS_PER_MINUTE = 3
MINUTE_SECONDS = 60.0

Ready = Callable[[Program, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One program as it is now; `pid` is None where it does not run."""

    name: str
    url: str
    pid: int | None
    healthy: bool


@dataclass(slots=True, kw_only=True)
class _Running:
    """A started program, and when it was started again."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    restarts: list[float] = field(default_factory=list)


class Supervisor:
    """The servers of one folder, which holds their logs and process files."""

    def __init__(self, folder: Path, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self._folder = folder.absolute()
        self._grace = grace_seconds
        self._running: list[_Running] = []
        self._lock: int | None = None

    @property
    def supervised(self) -> bool:
        """Whether a supervisor, this one or another, has the folder."""
        holder = read_record(self._own_record)
        return holder is not None and holder.process() is not None

    def run(self, programs: Sequence[Program], *, on_ready: Ready | None = None) -> None:
        """Start programs, keep them running until SIGINT, SIGTERM or SIGHUP, and stop them; see `start`."""
        with signals_interrupt():
            try:
                self.start(programs, on_ready=on_ready)
                self.watch()
            except KeyboardInterrupt:
                pass
            finally:
                self.stop()

    def start(self, programs: Sequence[Program], *, on_ready: Ready | None = None) -> None:
        """Start programs and wait until each is ready; where one fails, all are stopped again.

        Args:
            programs: Started side by side, except that one with `after` waits for that one.
            on_ready: Called with each program as it becomes ready, and the seconds that it took.

        Raises:
            Conflict: Another supervisor has the folder.
            PortTaken: A port is not free.
            DependencyDown: A program ended, or was not ready in time.
        """
        self._take_folder()
        try:
            self.sweep()
            require_free(programs)
            self._start_all(programs, on_ready or _silent)
        except BaseException:
            self.stop()
            raise

    def watch(self, *, until: threading.Event | None = None) -> None:
        """Restart what dies, until told to end.

        Raises:
            DependencyDown: A program dies again and again.
        """
        ended = until or threading.Event()
        while not ended.wait(LOOK_SECONDS):
            for running in self._running:
                if running.process.poll() is not None:
                    self._restart(running)
                trim_log(self.log(running.program))

    def stop(self) -> None:
        """Stop every program, the last started first, and give the folder free; safe to call twice."""
        with signals_wait():
            while self._running:
                running = self._running.pop()
                self._end(running.program)
                running.process.wait()
            if self._lock is not None:
                self._own_record.unlink(missing_ok=True)
                os.close(self._lock)
                self._lock = None

    def sweep(self) -> int:
        """Stop whatever a killed supervisor of this folder has left running, and say how many processes."""
        return stop_marked(self._mark(""), grace_seconds=self._grace)

    def status(self, programs: Sequence[Program]) -> tuple[ProgramStatus, ...]:
        """Look at each program, whoever supervises it."""
        return tuple(self._status(program) for program in programs)

    def log(self, program: Program) -> Path:
        """The file with what a program has printed since it was started."""
        return self._folder / f"{program.name}.log"

    @property
    def _own_record(self) -> Path:
        return self._folder / "supervisor.json"

    def _record(self, program: Program) -> Path:
        return self._folder / f"{program.name}.json"

    def _mark(self, name: str) -> str:
        # Marks are compared by their beginning: the folder's is the beginning of all of its programs'.
        return f"{self._folder}:{name}:" if name else f"{self._folder}:"

    def _take_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The lock ends with the process, however it ends; a file would outlive a kill -9.
        lock = os.open(self._folder / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            holder = read_record(self._own_record)
            raise Conflict(
                what="the servers are already running",
                why=f"process {holder.pid if holder else 'unknown'} supervises {self._folder}",
                fix="stop them with `baton down` first",
            ) from error
        self._lock = lock
        record(self._own_record, os.getpid())

    def _start_all(self, programs: Sequence[Program], on_ready: Ready) -> None:
        waiting, ready = list(programs), set[str]()
        while len(ready) < len(programs):
            for program in [one for one in waiting if one.after is None or one.after in ready]:
                waiting.remove(program)
                self._running.append(self._launch(program))
            for running in self._running:
                if running.program.name not in ready and self._is_ready(running):
                    ready.add(running.program.name)
                    on_ready(running.program, time.monotonic() - running.started)
            time.sleep(LOOK_SECONDS)

    def _launch(self, program: Program, *, again: bool = False) -> _Running:
        log = self.log(program)
        with open_log(log) if again else fresh_log(log) as output:
            try:
                process = subprocess.Popen(
                    program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Its own session: Ctrl-C reaches the supervisor alone, which stops the programs in order.
                    start_new_session=True,
                    # Not the caller's folder: uvicorn puts the working directory on sys.path.
                    cwd=self._folder,
                    env=environment_of(program, mark=self._mark(program.name)),
                )
            except OSError as error:
                raise DependencyDown(
                    what=f"{program.name} cannot be started", why=str(error), fix="install what it needs"
                ) from error
        record(self._record(program), process.pid)
        return _Running(program=program, process=process, started=time.monotonic())

    def _is_ready(self, running: _Running) -> bool:
        program, code = running.program, running.process.poll()
        if code is not None:
            raise self._down(program, f"ended with code {code} before it was ready")
        if healthy(program):
            return True
        if time.monotonic() - running.started > program.ready_seconds:
            raise self._down(program, f"was not ready after {program.ready_seconds:.0f} s")
        return False

    def _restart(self, running: _Running) -> None:
        now = time.monotonic()
        running.restarts = [moment for moment in running.restarts if now - moment < MINUTE_SECONDS]
        if len(running.restarts) >= RESTARTS_PER_MINUTE:
            raise self._down(running.program, f"died {len(running.restarts) + 1} times in a minute")
        # At once, then after 1 s, then after 2 s: a crash loop leaves the machine some air.
        time.sleep(len(running.restarts))
        # What it had started itself may still hold its port.
        self._end(running.program)
        running.process = self._launch(running.program, again=True).process
        running.restarts.append(now)

    def _end(self, program: Program) -> None:
        stop_marked(self._mark(program.name), grace_seconds=self._grace)
        self._record(program).unlink(missing_ok=True)

    def _down(self, program: Program, what: str) -> DependencyDown:
        log = self.log(program)
        return DependencyDown(what=f"{program.name} {what}", why=last_line(log), fix=f"read {log}")

    def _status(self, program: Program) -> ProgramStatus:
        found = read_record(self._record(program))
        process = found.process() if found else None
        # A stranger's answer on the port is not the program's health.
        well = process is not None and healthy(program)
        return ProgramStatus(name=program.name, url=program.url, pid=process.pid if process else None, healthy=well)


def _silent(program: Program, seconds: float) -> None:
    """Say nothing of a program that is ready."""
