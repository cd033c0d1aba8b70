"""The tiny project of parcels, run by the real command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BATON = Path(sys.executable).with_name("baton")
TINY = Path(__file__).parents[1] / "cases" / "tiny"
MODEL = "parcels"


@dataclass(slots=True, kw_only=True)
class Parcels:
    """The tiny project, or one made of it, on a home of its own."""

    home: Path
    project: Path = TINY

    @property
    def folder(self) -> Path:
        return self.home / MODEL

    def start(self, *words: str) -> subprocess.Popen[str]:
        project = [] if words[0] == "down" else ["--project", str(self.project)]
        return subprocess.Popen(
            [BATON, *words, *project, "--home", self.home],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
            start_new_session=True,
        )

    def ask(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        assert process.returncode == code, err
        return out

    def ask_json(self, *words: str) -> Any:
        return json.loads(self.ask(*words, "--json"))

    def ledger(self) -> list[tuple[int, str, str, str]]:
        """Give the ledger's entries: epoch, version, digest, verdict."""
        history = self.ask_json("status")["history"]
        return [(each["epoch"], each["version"], each["digest"], each["verdict_id"]) for each in history]


@pytest.fixture
def parcels(tmp_path: Path) -> Parcels:
    return Parcels(home=tmp_path / "home")


@pytest.fixture(scope="session")
def make_parcels() -> type[Parcels]:
    return Parcels


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], float], None]:
    def wait(true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="module")
def four_ports() -> list[int]:
    """Four ports that nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
