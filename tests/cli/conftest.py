"""The command line in this process, and a tiny project whose first champion is trained once."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from baton import compose
from baton.cli import main
from baton.core.digest import canonical_json
from baton.core.errors import BatonError
from baton.registry.ledger import SqlLedger

TINY = Path(__file__).parents[1] / "cases" / "tiny"
TRAINED = "2024-02-26"
STATE_OF_OTHERS = ("prefect", "triggers.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A project of one's own and a home for its state."""

    project: Path
    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "parcels"

    def words(self, *words: str) -> list[str]:
        own = [] if words[0] in {"down", "demo"} else ["--project", str(self.project)]
        return [*words, *own, "--home", str(self.home)]

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.project / file
        content = path.read_text()
        assert before in content
        path.write_text(content.replace(before, after))

    def state(self) -> dict[str, bytes]:
        """Give every file that is Baton's own, by its path; of the ledger what it says, since leases come and go."""
        found = {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file() and not any(part.startswith(STATE_OF_OTHERS) for part in path.parts)
        }
        ledger = {name: found.pop(name) for name in list(found) if Path(name).name.startswith("ledger.db")}
        try:
            history = SqlLedger(self.folder / "ledger.db").history("parcels") if ledger else ()
        except BatonError:
            return found | ledger
        return found | ({"the ledger": canonical_json(history)} if history else {})


class Baton:
    """Runs `baton` in this process, since importing the vendors costs seconds a time."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Ended:
        self._capture.readouterr()
        code = run_here(*words)
        seen = self._capture.readouterr()
        return Ended(code=code, out=seen.out, err=seen.err)


def run_here(*words: str) -> int:
    compose._composed.cache_clear()
    with _as_before(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["baton", *words])
        try:
            main.run()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@contextmanager
def _as_before() -> Iterator[None]:
    """Undo what a command does to its own process."""
    environment, show = dict(os.environ), warnings.showwarning
    try:
        yield
    finally:
        warnings.showwarning = show
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture
def baton(capfd: pytest.CaptureFixture[str]) -> Baton:
    return Baton(capfd)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A copy of the tiny project beside an empty home."""
    shutil.copytree(TINY, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    return Place(project=tmp_path / "project", home=tmp_path / "home")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    for command in ("ingest", "train"):
        assert run_here(command, "--project", str(TINY), "--home", str(home), "--as-of", TRAINED) == 0
    return home


@pytest.fixture
def trained(place: Place, trained_home: Path) -> Place:
    """The tiny project with its first champion."""
    shutil.copytree(trained_home, place.home)
    return place
