"""A tracking server that is there and does not answer as one: each is down, said within bounded time.

Real sockets, so that what is tested is what MLflow's client does with them.
"""

import contextlib
import socket
import sqlite3
import threading
import time
from dataclasses import dataclass, field

import pytest

from baton.core.errors import DependencyDown
from baton.registry import mlflow_patience
from baton.registry.mlflow_connection import _load
from baton.registry.mlflow_registry import MlflowRegistry

HTML = b"<html><body><h1>Welcome</h1>" + b"<p>Please log in</p>" * 50_000 + b"</body></html>"
ENDLESS = b"x" * 65_536
# What a slow server waits between two bytes: less than any wait for one piece of an answer.
DRIP_SECONDS = 0.4


def whole(status, body, *headers, kind=b"application/json"):
    head = [b"HTTP/1.1 " + status, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *headers]
    return [b"\r\n".join([*head, b"Connection: close", b"", body])]


def endless(status):
    yield b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    while True:
        yield ENDLESS


def dripping():
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    while True:
        time.sleep(DRIP_SECONDS)
        yield b" "


def silent():
    time.sleep(20)
    yield b""


ANSWERS = {
    "500": lambda: whole(b"500 Internal Server Error", b'{"error_code": "INTERNAL_ERROR", "message": "no"}'),
    "429 for an hour": lambda: whole(b"429 Too Many Requests", b"{}", b"Retry-After: 3600"),
    "503 for an hour": lambda: whole(b"503 Service Unavailable", b"", b"Retry-After: 3600"),
    "401": lambda: whole(b"401 Unauthorized", b"who are you", kind=b"text/plain"),
    "404 of somebody else": lambda: whole(b"404 Not Found", HTML, kind=b"text/html"),
    "HTML": lambda: whole(b"200 OK", HTML, kind=b"text/html"),
    "no JSON object": lambda: whole(b"200 OK", b"[1, 2]"),
    "JSON of another kind": lambda: whole(b"200 OK", b'{"experiment": 7, "registered_models": "none"}'),
    "nothing in JSON": lambda: whole(b"200 OK", b"{}"),
    "JSON cut short": lambda: [b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"experiment": {"experi'],
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "a redirect to itself": lambda: whole(b"302 Found", b"", b"Location: /"),
    "a gigabyte": lambda: endless(b"200 OK"),
    "a gigabyte of failure": lambda: endless(b"500 Internal Server Error"),
    "a byte at a time": dripping,
    "silence": silent,
}


@dataclass
class Broken:
    """A server that gives every caller the same wrong answer."""

    answer: object
    methods: list[str] = field(default_factory=list)
    change: object = None
    closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener):
        while not self.closing.is_set():
            with contextlib.suppress(OSError):
                caller, _ = listener.accept()
                threading.Thread(target=self._answer, args=(caller,), daemon=True).start()

    def _answer(self, caller):
        # The caller may leave at any byte.
        with contextlib.suppress(OSError), caller:
            self.methods.append(method := caller.recv(65_536).split(b" ")[0].decode())
            for piece in self.answer() if method == "GET" or self.change is None else self.change():
                if self.closing.is_set():
                    return
                caller.sendall(piece)


@pytest.fixture
def broken():
    """Start servers that answer wrongly; each gives a registry on it and counts its callers."""
    with contextlib.ExitStack() as stack:

        def start(answer, change=None):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = Broken(answer, change=change)
            threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
            stack.callback(server.closing.set)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            uri = f"http://ann:secret@127.0.0.1:{listener.getsockname()[1]}"
            return MlflowRegistry(tracking_uri=uri, artifact_root=None, experiment="parcels"), server

        yield start


@pytest.fixture(autouse=True, scope="module")
def _mlflow_is_imported():
    """Import MLflow before any second is counted, as it is before a deadline begins."""
    _load(remote=True)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_c3_c4_a_look_up_is_abandoned_in_two_seconds(broken, answer):
    registry, _ = broken(answer)
    begun = time.monotonic()
    with pytest.raises(DependencyDown) as down:
        registry.aliases("parcels")
    assert time.monotonic() - begun < 4
    said = str(down.value)
    assert "\n" not in said
    assert len(said) < 800
    assert "secret" not in said


@pytest.mark.parametrize("fault", ["500", "429 for an hour", "HTML", "a gigabyte of failure", "silence"])
def test_c2_a_registration_is_given_up_in_bounded_time(broken, make_run, fault):
    registry, _ = broken(ANSWERS[fault])
    begun = time.monotonic()
    with pytest.raises(DependencyDown):
        registry.register("parcels", make_run())
    assert time.monotonic() - begun < 2 * mlflow_patience.REQUEST_SECONDS + 3


def test_c3_a_thousand_look_ups_of_a_silent_server_hold_no_thread(broken):
    registry, server = broken(silent)
    threads = threading.active_count()
    begun = time.monotonic()
    for _ in range(1_000):
        with pytest.raises(DependencyDown):
            registry.aliases("parcels")
    took = time.monotonic() - begun
    assert took < 10
    # One caller at a time, and only one in every rest; each connection is a thread of the test's server.
    assert len(server.methods) <= 4
    assert threading.active_count() <= threads + len(server.methods) + 1


def test_c1_a_server_that_comes_back_is_read_again_after_the_rest(broken, monkeypatch, mlflow_on_file, make_run):
    mlflow_on_file.register("parcels", make_run())
    mlflow_on_file.set_alias("parcels", "champion", "1")
    registry, _ = broken(ANSWERS["500"])
    with pytest.raises(DependencyDown):
        registry.aliases("parcels")
    # The same registry as it was before its server failed, and is again.
    registry._connection._uri = mlflow_on_file._connection._uri
    with pytest.raises(DependencyDown):
        registry.aliases("parcels")
    until, _ = registry._connection._resting
    monkeypatch.setattr("baton.registry.mlflow_connection.time.monotonic", lambda: until + 0.1)
    assert registry.aliases("parcels") == {"champion": "1"}
    assert registry._connection._resting is None


def test_a_change_is_not_made_twice(broken):
    known = whole(b"200 OK", b'{"registered_model": {"name": "parcels"}}')
    registry, server = broken(lambda: known, change=ANSWERS["500"])
    registry._connection._opened = client(registry), "1"
    with pytest.raises(DependencyDown):
        registry.tag("parcels", "1", {"seen": "yes"})
    assert [method for method in server.methods if method != "GET"] == ["POST"]


def test_a_look_up_is_made_a_second_time(broken):
    answers = iter([ANSWERS["503 for an hour"]()])
    registry, server = broken(lambda: next(answers, whole(b"200 OK", b'{"registered_models": []}')))
    registry._connection._opened = client(registry), "1"
    assert registry.aliases("parcels") == {}
    assert server.methods == ["GET", "GET"]


def test_a_large_answer_is_read_whole(broken):
    alias = b'{"registered_models": [{"name": "parcels", "description": "' + b"x" * 10**6
    body = alias + b'", "aliases": [{"alias": "champion", "version": "3"}, {"alias": "a\\nb", "version": "4"}]}]}'
    registry, _ = broken(lambda: whole(b"200 OK", body))
    registry._connection._opened = client(registry), "1"
    assert registry.aliases("parcels") == {"champion": "3"}


@pytest.mark.long
def test_c11_a_locked_file_is_down_and_nothing_has_moved(mlflow_on_file, make_run):
    mlflow_on_file.register("parcels", make_run())
    mlflow_on_file.register("parcels", make_run(key="2" * 64))
    mlflow_on_file.set_alias("parcels", "champion", "1")
    file = mlflow_on_file._connection._uri.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with pytest.raises(DependencyDown, match="locked"):
            mlflow_on_file.set_alias("parcels", "champion", "2")
        assert time.monotonic() - begun < 60
        other.execute("ROLLBACK")
    assert mlflow_on_file.aliases("parcels") == {"champion": "1"}
    mlflow_on_file.set_alias("parcels", "champion", "2")


def client(registry):
    from mlflow.tracking import MlflowClient

    return MlflowClient(registry._connection._uri, registry_uri=registry._connection._uri)
