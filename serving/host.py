"""Keep one worker serving: `python -m baton.serving.host --host ... --port ...`.

This process listens and computes nothing. The worker takes the listening
socket from it and answers; when the worker dies or freezes, another takes its
place, and callers who connect meanwhile wait in the socket's queue instead of
being refused. What was in flight in a killed worker is lost, and no more.

SIGTERM ends the service in order: not ready first, then a few seconds for
those who have not noticed, then what is in flight is answered. A second one
ends the waiting. The code is 0 when all was well.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

BACKLOG = 2048
# A worker says every second that its event loop turns; one that is silent for so long is replaced.
BEAT_S = 1.0
SILENT_S = 8.0
# Until its first word a worker loads: vendors, the model, and its warm-up.
LOADING_S = 120.0
# A worker that dies as it starts is started again after a growing pause.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
# Longer than any grace; a service that has not ended by then is cut off.
END_S = 28.0
TICK_S = 0.25
# One heap for all threads, which gives back what a burst has taken: 40 MB less than each library's own way.
FRUGAL = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
# Time that passed while this process was itself stopped says nothing of the worker.
PAUSED_S = 2.0


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    beats: int
    heard_at: float
    started: bool = False


@dataclass(slots=True)
class Host:
    """One listening socket and the worker that answers on it."""

    listening: socket.socket
    command: Sequence[str]
    _worker: _Worker | None = None
    _start_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _ever_started: bool = False
    _signals: list[int] = field(default_factory=list)
    _forwarded: int = 0
    _end_by: float = float("inf")

    def run(self) -> int:
        """Serve until a signal ends it; gives the exit code."""
        inbox, outbox = socket.socketpair()
        outbox.setblocking(False)
        # Signals wake the loop below through this.
        signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: self._signals.append(received))
        before = time.monotonic()
        while True:
            now = time.monotonic()
            if now - before > PAUSED_S and self._worker:
                self._worker.heard_at = now
            before = now
            code = self._step(now)
            if code is not None:
                return code
            waited_for: list[Any] = [inbox, self._worker.beats] if self._worker else [inbox]
            ready, _, _ = select.select(waited_for, [], [], TICK_S)
            if inbox in ready:
                inbox.recv(64)

    def _step(self, now: float) -> int | None:
        """Look at the worker and the signals once; gives an exit code when there is nothing left to do."""
        if len(self._signals) > self._forwarded:
            self._forward(now)
        worker = self._worker
        if worker is None:
            if self._signals:
                return 0
            if now >= self._start_at:
                self._start(now)
            return None
        self._listen_to(worker, now)
        code = worker.process.poll()
        if code is not None:
            return self._ended(worker, code, now)
        if now > self._end_by or now - worker.heard_at > (SILENT_S if worker.started else LOADING_S):
            _say("worker_cut_off", silent_s=round(now - worker.heard_at, 1))
            worker.process.kill()
        return None

    def _start(self, now: float) -> None:
        beats, beat = os.pipe()
        os.set_blocking(beats, False)
        process = subprocess.Popen(
            [*self.command, "--listening", str(self.listening.fileno()), "--beat", str(beat)],
            env=os.environ | {name: os.environ.get(name, value) for name, value in FRUGAL.items()},
            pass_fds=(self.listening.fileno(), beat),
            stdin=subprocess.DEVNULL,
        )
        os.close(beat)
        self._worker = _Worker(process=process, beats=beats, heard_at=now)

    def _listen_to(self, worker: _Worker, now: float) -> None:
        with suppress(BlockingIOError):
            if os.read(worker.beats, 64):
                worker.heard_at, worker.started, self._ever_started = now, True, True
                self._pause_s = FIRST_PAUSE_S

    def _ended(self, worker: _Worker, code: int, now: float) -> int | None:
        os.close(worker.beats)
        self._worker = None
        if self._signals:
            # A worker that a signal met before it could take it has nothing to answer for.
            return 0 if code in {0, -signal.SIGTERM, -signal.SIGINT} else 1
        if not self._ever_started:
            # It cannot start at all, and has said why.
            return code if code > 0 else 1
        self._start_at = now + self._pause_s
        _say("worker_replaced", code=code, pause_s=self._pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _forward(self, now: float) -> None:
        self._forwarded = len(self._signals)
        self._end_by = min(self._end_by, now + END_S)
        # From now on the socket is the worker's alone, so that it is closed when the worker closes it.
        self.listening.close()
        if self._worker:
            self._worker.process.send_signal(signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen, and keep a worker serving."""
    parser = argparse.ArgumentParser(prog="baton.serving.host", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grace-seconds", type=float, default=5.0)
    asked = parser.parse_args(arguments)
    # The worker checks who may be served on which address.
    os.environ["BATON_SERVING_HOST"] = asked.host
    command = [sys.executable, "-m", "baton.serving.worker", "--grace-seconds", str(asked.grace_seconds)]
    try:
        listening = _listen(asked.host, asked.port)
    except OSError as error:
        print(f"cannot listen on {asked.host}:{asked.port}: {error.strerror}", file=sys.stderr)  # noqa: T201 - for the person who has just started it
        return 2
    return Host(listening=listening, command=command).run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _say(event: str, **facts: object) -> None:
    from baton.serving.json_log import line

    print(line("warning", event, **facts), file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    sys.exit(main())
