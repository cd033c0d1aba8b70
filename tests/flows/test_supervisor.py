"""The supervisor, with small servers that can be told to die."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from baton.core.errors import Conflict, DependencyDown, PortTaken
from baton.flows import background
from baton.flows.background import recall_programs, remember_programs, start_detached, stop_detached
from baton.flows.process_file import marked, read_record
from baton.flows.program_log import last_line, trim_log
from baton.flows.programs import HOST, Program
from baton.flows.supervisor import Supervisor

# A server with a child of its own, as MLflow, Prefect and BentoML have.
SERVER = """
import http.server, os, signal, subprocess, sys
mode, port = sys.argv[1], int(sys.argv[2])
if mode == "broken":
    print("starting"); print("\\x1b[31mno such table: experiments\\x1b[0m"); sys.exit(7)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if mode == "ill" else 200); self.end_headers()
print("serving from", os.getcwd(), sys.path[0], flush=True)
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "servers"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def program(script: Path, *, name: str = "one", mode: str = "well", port: int | None = None, **more: object) -> Program:
    port = port or free_port()
    command = (sys.executable, str(script), mode, str(port))
    return Program(name=name, command=command, url=f"http://{HOST}:{port}", **{"setting": "--one-port", **more})


def left(folder: Path) -> list[psutil.Process]:
    return marked(f"{folder}:")


def wait_until(true, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def test_programs_are_ready_after_start_and_gone_after_stop(script: Path, folder: Path) -> None:
    one, two = program(script), program(script, name="two", after="one")
    supervisor, seen = Supervisor(folder), []
    supervisor.start([two, one], on_ready=lambda ready, seconds: seen.append((ready.name, seconds)))
    assert [name for name, _ in seen] == ["one", "two"]
    assert all(status.healthy and status.pid for status in supervisor.status([one, two]))
    assert len(left(folder)) == 4
    supervisor.stop()
    assert not left(folder)
    assert not any(status.pid for status in supervisor.status([one, two]))
    again = Supervisor(folder)
    again.start([one])  # The port and the folder are free.
    again.stop()


def test_programs_run_outside_the_repository_and_off_its_path(script: Path, folder: Path) -> None:
    one = program(script)
    supervisor = Supervisor(folder)
    supervisor.start([one])
    process = psutil.Process(supervisor.status([one])[0].pid)
    assert process.cwd() == str(folder)
    assert process.environ()["PYTHONSAFEPATH"] == "1"
    assert "127.0.0.1" in process.environ()["NO_PROXY"]
    supervisor.stop()


def test_a_taken_port_is_named_with_its_owner_and_the_setting(script: Path, folder: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            Supervisor(folder).start([program(script, port=port)])
    assert str(port) in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "--one-port" in str(caught.value)
    assert not left(folder)


def test_a_program_that_dies_at_once_is_quoted_and_the_others_are_stopped(script: Path, folder: Path) -> None:
    with pytest.raises(DependencyDown) as caught:
        Supervisor(folder).start([program(script, name="well"), program(script, name="ill", mode="broken")])
    assert "ill ended with code 7" in str(caught.value)
    assert "no such table: experiments" in str(caught.value)
    assert str(folder / "ill.log") in str(caught.value)
    assert not left(folder)


def test_a_program_that_is_late_is_stopped(script: Path, folder: Path) -> None:
    with pytest.raises(DependencyDown, match="not ready after 1 s"):
        Supervisor(folder).start([program(script, mode="ill", ready_seconds=1.0)])
    assert not left(folder)


def test_a_program_that_cannot_be_started_leaves_nothing(folder: Path) -> None:
    missing = Program(name="missing", command=("/no/such/command",), url=f"http://{HOST}:{free_port()}")
    with pytest.raises(DependencyDown, match="cannot be started"):
        Supervisor(folder).start([missing])


def test_a_deaf_program_is_killed_after_the_grace(script: Path, folder: Path) -> None:
    supervisor = Supervisor(folder, grace_seconds=0.5)
    supervisor.start([program(script, mode="deaf")])
    supervisor.stop()
    assert not left(folder)


def test_a_program_that_dies_is_started_again(script: Path, folder: Path) -> None:
    one, ended = program(script), threading.Event()
    supervisor = Supervisor(folder)
    supervisor.start([one])
    first = supervisor.status([one])[0].pid
    watch = threading.Thread(target=lambda: supervisor.watch(until=ended))
    watch.start()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.status([one])[0].healthy)
    assert supervisor.status([one])[0].pid != first
    ended.set()
    watch.join()
    assert len(left(folder)) == 2  # The first one's child went with it.
    supervisor.stop()
    assert not left(folder)


def test_a_program_that_dies_again_and_again_is_given_up(script: Path, folder: Path) -> None:
    one = program(script)
    supervisor = Supervisor(folder)
    supervisor.start([one])
    script.write_text("print('it breaks at line 3'); raise SystemExit(1)")
    os.kill(supervisor.status([one])[0].pid, signal.SIGKILL)
    with pytest.raises(DependencyDown, match=r"died 4 times in a minute.*it breaks at line 3"):
        supervisor.watch()
    supervisor.stop()
    assert not left(folder)


def test_two_supervisors_cannot_have_one_folder(script: Path, folder: Path) -> None:
    supervisor = Supervisor(folder)
    supervisor.start([program(script)])
    with pytest.raises(Conflict, match="already running"):
        Supervisor(folder).start([program(script)])
    supervisor.stop()


def test_what_a_killed_supervisor_left_is_stopped_by_the_next(script: Path, folder: Path) -> None:
    one = program(script)
    pid = start_detached(folder, [one])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Supervisor(folder).supervised)
    orphans = left(folder)
    assert len(orphans) == 2
    supervisor = Supervisor(folder)
    supervisor.start([one])
    assert not any(orphan.is_running() and orphan.status() != "zombie" for orphan in orphans)
    supervisor.stop()
    assert not left(folder)


def test_a_strangers_pid_is_never_taken_for_ours(script: Path, folder: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    folder.mkdir()
    stale = {"pid": stranger.pid, "started": 1.0, "command": ["python"]}
    for name in ("one.json", "supervisor.json"):
        (folder / name).write_text(json.dumps(stale))
    one = program(script)
    assert Supervisor(folder).status([one])[0].pid is None
    assert not Supervisor(folder).supervised
    assert not stop_detached(folder)
    supervisor = Supervisor(folder)
    supervisor.start([one])
    supervisor.stop()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_folder_whose_name_another_begins_with_is_left_alone(script: Path, tmp_path: Path) -> None:
    longer = Supervisor(tmp_path / "servers-of-another")
    longer.start([program(script)])
    assert Supervisor(tmp_path / "servers").sweep() == 0
    longer.stop()


def test_detached_programs_outlive_the_caller_until_they_are_stopped(script: Path, folder: Path) -> None:
    one, two = program(script), program(script, name="two", after="one")
    seen: list[str] = []
    pid = start_detached(folder, [one, two], on_ready=lambda ready, _: seen.append(ready.name))
    assert seen == ["one", "two"]
    assert read_record(folder / "supervisor.json").pid == pid
    assert all(status.healthy for status in Supervisor(folder).status(recall_programs(folder)))
    with pytest.raises(Conflict):
        start_detached(folder, [one, two])
    assert stop_detached(folder)
    assert not left(folder)
    assert not Supervisor(folder).supervised
    assert not stop_detached(folder)


def test_detached_programs_that_do_not_start_say_why(script: Path, folder: Path) -> None:
    with pytest.raises(DependencyDown, match="no such table: experiments"):
        start_detached(folder, [program(script, mode="broken")])
    assert not left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("mode", ["well", "ill"], ids=["once ready", "while starting"])
def test_a_signal_in_the_foreground_stops_everything(script: Path, folder: Path, number: int, mode: str) -> None:
    one = program(script, mode=mode)
    remember_programs(folder, [one])
    foreground = subprocess.Popen([sys.executable, "-m", background.__name__, str(folder)])
    wait_until(lambda: len(left(folder)) == 2)
    foreground.send_signal(number)
    assert foreground.wait(timeout=10) == 0
    assert not left(folder)


def test_programs_survive_being_written_down(script: Path, folder: Path) -> None:
    one = program(script, environment={"PASSWORD": "x"}, after="other")
    remember_programs(folder, [one])
    assert recall_programs(folder) == (one,)
    assert (folder / "programs.json").stat().st_mode & 0o077 == 0
    assert recall_programs(folder / "nowhere") == ()


def test_a_large_log_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        trim_log(log, largest=10)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "one.log.1").stat().st_size == 400


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"", "it printed nothing"),
        (b"first\nlast\n\n", "last"),
        (b"\xff\xfe broken\n", "broken"),
        (b"x" * 9_000, "x" * 300),
    ],
    ids=["nothing", "blank lines at the end", "not text", "one long line"],
)
def test_the_last_line_of_a_log_is_one_short_line(tmp_path: Path, printed: bytes, line: str) -> None:
    log = tmp_path / "one.log"
    log.write_bytes(printed)
    assert last_line(log).lstrip("\N{REPLACEMENT CHARACTER} ") == line
