"""Whether a port is free, who has it, and whether what listens there is well."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterable

import psutil

from baton.core.errors import PortTaken
from baton.flows.programs import HOST, Program

PROBE_SECONDS = 2.0
OK = 200


def require_free(programs: Iterable[Program]) -> None:
    """Check that every program's port is free.

    Raises:
        PortTaken: Another program listens there; the message names it where
            the system tells, and the setting that chooses another port.
    """
    for program in programs:
        if not _free(program.port):
            raise PortTaken(
                what=f"port {program.port}, which {program.name} needs, is taken",
                why=_owner(program.port),
                fix=f"stop that program, or choose a free port with {program.setting}",
            )


def healthy(program: Program) -> bool:
    """Whether a program answers that it is ready."""
    # No proxy: it would be asked for the loopback of another machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(program.probe, timeout=PROBE_SECONDS) as answer:
            return bool(answer.status == OK)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do, so that connections of the last run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _owner(port: int) -> str:
    try:
        found = [
            c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port
        ]
        pid = next((pid for pid in found if pid), None)
        return f"{psutil.Process(pid).name()} (pid {pid}) listens on it" if pid else "another program listens on it"
    except psutil.Error:
        return "another program listens on it"
