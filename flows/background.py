"""The supervisor in the background: `baton up --detach` starts it, `baton down` ends it.

It is a process of its own, `python -m baton.flows.background FOLDER`, which
reads the programs from the folder, so that it outlives the terminal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from baton.core.digest import canonical_json
from baton.core.errors import BatonError, Conflict, DependencyDown
from baton.core.whole_file import replace_file
from baton.flows.ports import require_free
from baton.flows.process_file import read_record
from baton.flows.program_log import fresh_log, last_line
from baton.flows.programs import Program
from baton.flows.supervisor import GRACE_SECONDS, Ready, Supervisor

PROGRAMS = "programs.json"
LOG = "supervisor.log"
LOOK_SECONDS = 0.2


def start_detached(folder: Path, programs: Sequence[Program], *, on_ready: Ready | None = None) -> int:
    """Start programs under a supervisor of their own and return its pid once all are ready.

    Raises:
        Conflict: They are running already.
        PortTaken: A port is not free.
        DependencyDown: A program ended, or was not ready in time; nothing is left running.
    """
    supervisor = Supervisor(folder)
    if supervisor.supervised:
        raise Conflict(what="the servers are already running", why=f"in {folder}", fix="stop them with `baton down`")
    supervisor.sweep()
    require_free(programs)
    remember_programs(folder, programs)
    with fresh_log(folder / LOG) as output:
        process = subprocess.Popen(
            (sys.executable, "-P", "-m", "baton.flows.background", str(folder.absolute())),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_ready(supervisor, programs, process, log=folder / LOG, on_ready=on_ready)
    except BaseException:
        # Ctrl-C while waiting means that they are not wanted.
        process.terminate()
        process.wait()
        raise
    # It lives on without its parent: nothing is to warn that nobody has waited for it.
    process.returncode = 0
    return process.pid


def stop_detached(folder: Path) -> bool:
    """Stop the supervisor of a folder and all of its programs; False where nothing ran."""
    supervisor = Supervisor(folder)
    record = read_record(folder / "supervisor.json")
    process = record.process() if record else None
    if process is None:
        return supervisor.sweep() > 0
    process.terminate()
    longest = GRACE_SECONDS * (len(recall_programs(folder)) + 1)
    deadline = time.monotonic() + longest
    while supervisor.supervised and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if supervisor.supervised:
        process.kill()
        supervisor.sweep()
    return True


def remember_programs(folder: Path, programs: Sequence[Program]) -> None:
    """Write down what is started, for the supervisor and for whoever asks how it is."""
    # An environment may hold a password.
    replace_file(folder / PROGRAMS, canonical_json(programs), private=True)


def recall_programs(folder: Path) -> tuple[Program, ...]:
    """Give the programs that were started last, none where there were none."""
    try:
        found = json.loads((folder / PROGRAMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(Program(**{**fields, "command": tuple(fields["command"])}) for fields in found)


def _await_ready(
    supervisor: Supervisor,
    programs: Sequence[Program],
    process: subprocess.Popen[bytes],
    *,
    log: Path,
    on_ready: Ready | None,
) -> None:
    started, ready = time.monotonic(), set[str]()
    while len(ready) < len(programs):
        if process.poll() is not None:
            # The supervisor's last words are the error as one line.
            raise DependencyDown(what="the servers did not start", why=last_line(log), fix=f"read {log.parent}")
        for status, program in zip(supervisor.status(programs), programs, strict=True):
            if status.healthy and program.name not in ready:
                ready.add(program.name)
                if on_ready:
                    on_ready(program, time.monotonic() - started)
        time.sleep(LOOK_SECONDS)


def main(arguments: Sequence[str]) -> int:
    """Supervise the programs of a folder until signalled."""
    folder = Path(arguments[0])
    try:
        Supervisor(folder).run(recall_programs(folder))
    except BatonError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201  # into the supervisor's log
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
