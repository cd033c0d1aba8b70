"""Whatever is wrong, a command says it in one line, ends with the documented code and leaves the state as it was."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BATON = Path(sys.executable).with_name("baton")
REFUSED, MISUSE, CONFLICT, DOWN, BROKEN, INTERRUPTED = 1, 2, 3, 4, 5, 130
LATER = "2024-04-22"
# Larger than any one file of the tiny project's ingestion but for the databases.
SMALL_FILE = 64 * 1024
FILLS = """

def fill():
    from contextlib import suppress

    with suppress(OSError), open({ballast!r}, "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 16))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command that is wrong, how it ends and what it says."""

    says: tuple[str, ...]
    code: int = MISUSE
    words: tuple[str, ...] = ("status",)
    arrange: Callable[[Any], object] = lambda _: None


def source(before: str, after: str) -> Callable[[Any], object]:
    return lambda place: place.edit("source.py", before, after)


def spec(before: str, after: str) -> Callable[[Any], object]:
    return lambda place: place.edit("model.yaml", before, after)


def features(before: str, after: str) -> Callable[[Any], object]:
    return lambda place: place.edit("features.py", before, after)


def occupied(place: Any) -> None:
    place.home.write_text("not a folder")


NEW = {
    "no model.yaml": Case(
        arrange=lambda p: (p.project / "model.yaml").unlink(), says=("no project file at", "--project")
    ),
    "broken YAML": Case(
        arrange=lambda p: (p.project / "model.yaml").write_text("name: parcels\nsource: {reader: [\n"),
        says=("is not valid YAML", "line 3, column 1", "mend"),
    ),
    "YAML that is not UTF-8": Case(
        arrange=lambda p: (p.project / "model.yaml").write_bytes(b"name: \xff\xfe"), says=("is not valid YAML", "UTF-8")
    ),
    "an empty model.yaml": Case(
        arrange=lambda p: (p.project / "model.yaml").write_text(""), says=("holds no settings",)
    ),
    "an unknown key": Case(
        arrange=spec("training:", "trainig:"), says=("unknown key 'trainig', did you mean 'training'?",)
    ),
    "an unknown key further in": Case(
        arrange=spec("holdout_days", "holdout_day"),
        says=("unknown key 'training.holdout_day', did you mean 'holdout_days'?",),
    ),
    "a label from a table that is not declared": Case(
        arrange=spec("label: {table: deliveries", "label: {table: arrivals"), says=("label.table 'arrivals'", "orders")
    ),
    "a text feature that is none": Case(
        arrange=spec("text: [depot]", "text: [town]"), says=("features.text names no feature: town",)
    ),
    "a service port out of range in model.yaml": Case(
        arrange=spec("port: 3000", "port: 80"), says=("serving.port", "1024")
    ),
    "a service port out of range": Case(words=("serve", "--port", "70000"), says=("--port", "65535", "--help")),
    "an MLflow port out of range": Case(words=("up", "--mlflow-port", "0"), says=("--mlflow-port", "--help")),
    "an unknown command": Case(words=("statsu",), says=("statsu", "Did you mean 'status'?", "--help")),
    "an unknown option": Case(words=("status", "--jsn"), says=("--jsn", "baton status --help")),
    "a missing argument": Case(words=("promote",), says=("Missing argument", "baton promote --help")),
    "a reader file that is missing": Case(
        words=("ingest", "--dry-run"),
        arrange=lambda p: (p.project / "source.py").unlink(),
        says=("source.py is not there", "model.yaml"),
    ),
    "a reader function that is missing": Case(
        words=("ingest", "--dry-run"),
        arrange=source("def read()", "def reed()"),
        says=("no function 'read'", "did you mean 'reed'?"),
    ),
    "a reader with a syntax error": Case(
        words=("ingest", "--dry-run"),
        arrange=source("def read()", "def read("),
        says=("source.py failed", "SyntaxError"),
    ),
    "a reader that gives no tables": Case(
        words=("ingest", "--dry-run"),
        arrange=source('return {"orders": orders, "deliveries": deliveries}', "return orders"),
        says=("gave no tables", "DataFrame"),
    ),
    "a missing table": Case(
        words=("ingest", "--dry-run"),
        arrange=source('"orders": orders', '"order": orders'),
        says=("no table 'orders', did you mean 'order'?",),
    ),
    "a missing column": Case(
        words=("ingest", "--dry-run"),
        arrange=source('"parcel_id":', '"parcel_no":'),
        says=("KeyError", "parcel_id"),
    ),
    "a missing known time": Case(
        words=("ingest", "--dry-run"),
        arrange=source("event_time=arrives, known_time=arrives", "event_time=arrives, known_tme=arrives"),
        says=("table deliveries has no column 'known_time', did you mean 'known_tme'?",),
    ),
    "naive timestamps": Case(
        words=("ingest", "--dry-run"),
        arrange=source(', tz="UTC"', ""),
        says=("orders.known_time has no time zone", "utc=True"),
    ),
    "a moment that is none": Case(
        words=("ingest", "--as-of", "yesterday"), says=("'yesterday' is no moment", "2013-07")
    ),
    "a moment outside of the calendar": Case(
        words=("train", "--as-of", "9999-12-31T23:59:00-14:00"), says=("is no moment",)
    ),
    "training before ingestion": Case(
        words=("train", "--as-of", LATER), says=("not every table has rows", "orders, deliveries", "ingest")
    ),
    "freezing before ingestion": Case(
        words=("snapshot", "--as-of", LATER), says=("not every table has rows", "ingest")
    ),
    "watching without a champion": Case(words=("watch",), says=("there is no champion yet", "baton train")),
    "why without a champion": Case(words=("why",), code=REFUSED, says=("there is no champion", "baton train")),
    "promoting before training": Case(
        words=("promote", "1"), code=REFUSED, says=("no verdict on version 1", "baton train")
    ),
    "rolling back without a history": Case(
        words=("rollback",), code=REFUSED, says=("cannot roll back", "promote a second champion")
    ),
    "a file where home should be, to read": Case(arrange=occupied, code=DOWN, says=("a file is in the way", "--home")),
    "a file where home should be, to ingest": Case(
        words=("ingest", "--as-of", LATER), arrange=occupied, code=DOWN, says=("a file is in the way", "--home")
    ),
    "a file where home should be, to train": Case(
        words=("train", "--as-of", LATER), arrange=occupied, code=DOWN, says=("a file is in the way", "--home")
    ),
    "a file where home should be, to serve": Case(
        words=("serve",), arrange=occupied, code=DOWN, says=("a file is in the way", "--home")
    ),
}


def check(baton: Any, place: Any, case: Case) -> None:
    case.arrange(place)
    before = place.state()
    ended = baton(*place.words(*case.words))
    assert_one_line(ended.err, case.says)
    assert ended.code == case.code
    assert place.state() == before


def assert_one_line(err: str, says: tuple[str, ...]) -> None:
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    assert [word for word in says if word.lower() not in err.lower()] == [], err


@pytest.mark.parametrize("name", NEW)
def test_a_new_project_refuses(name: str, baton: Any, place: Any) -> None:
    check(baton, place, NEW[name])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)


def champion(place: Any) -> Path:
    return place.folder / "bundles" / json.loads((place.folder / "release.json").read_text())["release"]["champion"]


def spoil_ledger(place: Any) -> None:
    (place.folder / "ledger.db").write_bytes(b"this is no database, " * 200)


TRAINED = {
    "an as-of before any data": Case(
        words=("train", "--as-of", "2020-01-01"), says=("2020-01-01", "choose a later --as-of")
    ),
    "a table whose features lack a column": Case(
        words=("train", "--as-of", LATER),
        arrange=features('at["depot_late_7d"]', 'at["depot_late_7"]'),
        says=("view depot_rate has no column 'depot_late_7d', did you mean 'depot_late_7'?",),
    ),
    "why of an unknown version": Case(words=("why", "77"), code=REFUSED, says=("no verdict on version 77", "are 1")),
    "promoting an unknown version": Case(
        words=("promote", "77"), code=REFUSED, says=("no verdict on version 77", "are 1")
    ),
    "rolling back the first champion": Case(
        words=("rollback",), code=REFUSED, says=("cannot roll back", "promote a second champion")
    ),
    "rolling back to an unknown epoch": Case(
        words=("rollback", "--epoch", "9"), code=REFUSED, says=("cannot roll back to epoch 9", "epoch 1")
    ),
    "a changed bundle": Case(
        words=("watch", "--as-of", LATER),
        arrange=lambda p: flip(next(champion(p).glob("*.onnx"))),
        code=BROKEN,
        says=(".onnx",),
    ),
    "a bundle that is gone": Case(
        words=("watch", "--as-of", LATER), arrange=lambda p: shutil.rmtree(champion(p)), says=("no bundle at",)
    ),
    "watching without predictions": Case(
        words=("watch", "--as-of", LATER), says=("no predictions", "serve a release and send requests")
    ),
    "a damaged ledger": Case(arrange=spoil_ledger, code=BROKEN, says=("ledger.db is damaged", "backup")),
    "a damaged ledger, to promote": Case(
        words=("promote", "1"), arrange=spoil_ledger, code=BROKEN, says=("ledger.db is damaged", "backup")
    ),
    "a watermark that cannot be read": Case(
        words=("ingest", "--dry-run"),
        arrange=lambda p: (p.folder / "landing" / "landed" / "orders" / "watermark.json").write_text("{"),
        code=BROKEN,
        says=("the watermark of orders cannot be read", "backup"),
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_project_refuses(name: str, baton: Any, trained: Any) -> None:
    check(baton, trained, TRAINED[name])


def test_a_damaged_release_pointer_is_written_again_from_the_ledger(baton: Any, trained: Any) -> None:
    pointer = trained.folder / "release.json"
    before = pointer.read_bytes()
    flip(pointer)
    assert baton(*trained.words("reconcile")).code == 0
    assert pointer.read_bytes() == before


def test_a_dry_run_changes_nothing(baton: Any, trained: Any) -> None:
    before = trained.state()
    for words in (("ingest", "--dry-run"), ("train", "--dry-run"), ("reconcile", "--dry-run"), ("clean", "--dry-run")):
        assert baton(*trained.words(*words)).code == 0
    assert trained.state() == before


def test_a_debugged_error_has_its_traceback_before_the_line(baton: Any, place: Any) -> None:
    ended = baton("--debug", *place.words("why"))
    assert ended.err.startswith("Traceback")
    assert ended.err.splitlines()[-1].startswith("error: ")


def test_the_same_moment_makes_no_second_version(baton: Any, trained: Any) -> None:
    before = trained.state()
    ended = baton(*trained.words("train", "--as-of", "2024-02-26", "--json"))
    assert json.loads(ended.out)["version"] == "1"
    same = [name for name, content in before.items() if "mlflow" in name or "ledger" in name or "bundles" in name]
    after = trained.state()
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert len(list((trained.folder / "runs").iterdir())) == 1


# As a process of its own: what concerns descriptors, signals, limits and ports.


def start(place: Any, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BATON, *place.words(*words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        **options,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["serve", "--port"], "another port"),
        (["up", "--detach", "--port"], "--port"),
        (["up", "--mlflow-port"], "--mlflow-port"),
    ],
    ids=["to serve", "to bring all up", "to bring MLflow up in the foreground"],
)
def test_a_taken_port_is_named(words: list[str], setting: str, taken: int, baton: Any, place: Any) -> None:
    ended = baton(*place.words(*words, str(taken)))
    # What is started is said beforehand, on standard output.
    assert_one_line(ended.err, (f"port {taken}", "listens on it"))
    assert ended.code == MISUSE


def test_a_demo_on_a_taken_port_tells_nothing(taken: int, place: Any) -> None:
    code, _, err = end(start(place, "demo", "--fast", "--port", str(taken)))
    assert_one_line(err, (f"port {taken}", "listens on it"))
    assert code == MISUSE


def test_a_second_demo_in_one_home_is_a_conflict(place: Any) -> None:
    import fcntl

    folder = place.home / "flights"
    folder.mkdir(parents=True)
    with (folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = end(start(place, "demo", "--fast"))
    assert_one_line(err, ("a demo is running already", "another --home"))
    assert code == CONFLICT


def test_a_closed_pipe_is_nobodys_error(trained: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [BATON, *trained.words("status", "--json")], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, "")


def test_ctrl_c_ends_with_one_line_and_130(place: Any) -> None:
    process = start(place, "ingest", "--as-of", LATER)
    wait_for((place.home / "prefect" / "prefect.db").exists)
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert err.strip() == "interrupted; what was finished is kept"
    assert code == INTERRUPTED


def wait_for(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_file_that_cannot_grow_is_a_full_disk(trained: Any) -> None:
    # Feast's tables are computed anew each time; all else stays.
    before = {name: content for name, content in trained.state().items() if "feast" not in name}
    code, _, err = end(start(trained, "snapshot", "--as-of", "2024-02-25", preexec_fn=limit_files))
    assert_one_line(err, ("disk",))
    assert code == DOWN
    assert before.items() <= trained.state().items()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs rights that this user has not")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_during_ingestion_is_said_and_the_next_run_goes_on(place: Any, disk: Path) -> None:
    place = type(place)(project=place.project, home=disk / "home")
    ballast = disk / "ballast"
    place.edit("source.py", "    draw =", "    fill()\n    draw =")
    code_of_source = place.project / "source.py"
    code_of_source.write_text(code_of_source.read_text() + FILLS.format(ballast=str(ballast)))
    code, _, err = end(start(place, "ingest", "--as-of", LATER))
    assert_one_line(err, ("the disk is full", "run the same command again"))
    assert code == DOWN
    code, _, err = end(start(place, "ingest", "--as-of", LATER))
    assert_one_line(err, ("the disk is full", "run the same command again"))
    assert code == DOWN
    assert not list((place.folder / "landing").rglob("watermark.json"))
