"""Run the service as a supervised process: one for each model folder, and never a forgotten one."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from baton.core.digest import canonical_json
from baton.core.errors import DependencyDown, PortTaken
from baton.serving.serving_settings import PREFIX, settings_from

HOST = "127.0.0.1"
PID_FILE = "service.pid"
LOG_FILE = "service.log"
READY_SECONDS = 30.0
# Between "not ready" and the end, for callers who have not noticed; less where nobody asks any more.
GRACE_SECONDS = 5.0
# The host itself cuts off what has not ended by then.
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProcess:
    """A running service."""

    folder: Path
    url: str
    process: subprocess.Popen[bytes]

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def stop(self) -> int:
        """Let it finish what it has begun and flush its log; gives its exit code, 0 when all was well."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
        # A supervisor that was killed leaves its worker behind.
        _kill_rest(self.folder)
        (self.folder / PID_FILE).unlink(missing_ok=True)
        return code


def start(
    folder: Path,
    *,
    model: str,
    port: int,
    host: str = HOST,
    limits: Mapping[str, int | float | str] | None = None,
    wait_seconds: float = READY_SECONDS,
) -> ServiceProcess:
    """Start a model's service and wait until it answers.

    Args:
        folder: The model's state folder.
        model: The model's name.
        port: Where it listens.
        host: Loopback unless said otherwise.
        limits: Fields of `ServingSettings` by name, such as `max_wait_ms`.
        wait_seconds: Longest to wait until it lives.

    Returns:
        The service; it is ready when there is a champion, and answers 503
        before.

    Raises:
        SpecInvalid: A limit is impossible.
        PortTaken: Another program listens there.
        DependencyDown: It died or stayed silent; says its last line.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_from({"folder": str(folder), "model": model, **(limits or {})})
    stop_left_over(folder)
    _check_port(host, port)
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            serve_command(host=host, port=port),
            cwd=folder,
            env=os.environ | serve_environment(folder, model=model, limits=limits),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / PID_FILE).write_bytes(canonical_json({"pid": process.pid, "port": port}))
    scheme = "https" if settings.tls_certificate else "http"
    service = ServiceProcess(folder=folder, url=f"{scheme}://{host}:{port}", process=process)
    try:
        _wait(service, wait_seconds)
    except BaseException:
        service.stop()
        raise
    return service


def serve_command(*, host: str = HOST, port: int) -> tuple[str, ...]:
    """Give the command that serves; what it serves is in `serve_environment`."""
    where = ("--host", host, "--port", str(port))
    return (sys.executable, "-m", "baton.serving.host", *where, "--grace-seconds", str(GRACE_SECONDS))


def serve_environment(
    folder: Path, *, model: str, limits: Mapping[str, int | float | str] | None = None
) -> dict[str, str]:
    """Give the variables that say which model is served from which folder, and within what limits."""
    variables = {"folder": str(folder.absolute()), "model": model, **(limits or {})}
    settings = {f"{PREFIX}{name.upper()}": str(value) for name, value in variables.items()}
    return settings | {"BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1", "ORT_DISABLE_TELEMETRY": "1"}


def stop_left_over(folder: Path) -> None:
    """Stop what a killed run of this folder's service has left behind, supervisor and worker alike."""
    if not (folder / PID_FILE).exists():
        return
    _signal_all(folder, signal.SIGTERM)
    _await_end(folder)
    _kill_rest(folder)
    (folder / PID_FILE).unlink(missing_ok=True)


def _wait(service: ServiceProcess, seconds: float) -> None:
    import httpx

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not service.running:
            raise _down(service, f"it ended with code {service.process.returncode}")
        try:
            # Nothing is told, and a certificate is for the name that callers use, not for this address.
            httpx.get(f"{service.url}/livez", timeout=1.0, verify=False, trust_env=False)  # noqa: S501 - as above
        except httpx.TransportError:
            time.sleep(POLL_SECONDS)
        else:
            return
    raise _down(service, f"it did not answer within {seconds:g} s")


def _down(service: ServiceProcess, why: str) -> DependencyDown:
    lines = (service.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return DependencyDown(
        what="the service did not start", why=f"{why}; its last line is: {last[:300]}", fix=f"read {LOG_FILE}"
    )


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server will: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise DependencyDown(
                    what=f"cannot listen on {host}:{port}",
                    why=str(error.strerror),
                    fix="pick an address of this machine",
                ) from error
            owner = _listener(port)
            by = f"process {owner}" if owner else "another program"
            raise PortTaken(
                what=f"port {port} is taken", why=f"{by} listens on it", fix="stop it or pick another port"
            ) from error


def _listener(port: int) -> int | None:
    """Find the process that listens on a port, where /proc tells."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            part = line.split()
            if part[3] == "0A" and int(part[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{part[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if str(link.readlink()) in inodes:
                return int(link.parts[2])
        except OSError:
            continue
    return None


def members(folder: Path) -> list[int]:
    """List the live processes of a folder's service, where /proc tells.

    They are known by the folder in their environment: a worker is in another
    process group than its supervisor, and a process number may be a stranger's.
    """
    mark = f"{PREFIX}FOLDER={folder.absolute()}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (entry / "environ").read_bytes().split(b"\0")
            # By hand the service may run under BentoML's own command.
            command = (entry / "cmdline").read_bytes() if ours else b""
            if b"baton.serving." in command or b"bento" in command:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _await_end(folder: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while members(folder) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _kill_rest(folder: Path) -> None:
    _signal_all(folder, signal.SIGKILL)
    _await_end(folder)


def _signal_all(folder: Path, number: signal.Signals) -> None:
    for pid in members(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
