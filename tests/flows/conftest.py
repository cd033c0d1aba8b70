"""The tiny project with its rows landed, and its first champion, trained once for all tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TINY = Path(__file__).parents[1] / "cases" / "tiny"
BATON = Path(sys.executable).with_name("baton")
FIRST, SECOND = "2024-02-26", "2024-04-22"


def ask(*words: str, home: Path, project: Path = TINY) -> None:
    command = [str(BATON), *words, "--project", str(project), "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("first") / "home"
    ask("ingest", "--as-of", SECOND, home=home)
    ask("train", "--as-of", FIRST, home=home)
    return home


@pytest.fixture(scope="module")
def prefect_in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One in-process Prefect server for the flows of a module."""
    from baton.settings import Settings, quiet_vendors

    before = dict(os.environ)
    # Its last line would go to an output that pytest has closed.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("prefect")))
    from baton.flows.prefect_server import in_process

    with in_process():
        yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def parcels(first_home: Path, tmp_path: Path) -> Iterator[Any]:
    """The project with its first champion, on a home of its own."""
    from baton import compose

    shutil.copytree(first_home, tmp_path / "home")
    compose._composed.cache_clear()
    yield compose.platform(TINY, home=tmp_path / "home")
    compose._composed.cache_clear()


@pytest.fixture(scope="session")
def challenged(first_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project whose promotions are by hand, and its home with a challenger whose verdict is PROMOTE."""
    folder = tmp_path_factory.mktemp("challenged")
    shutil.copytree(TINY, folder / "project")
    declared = folder / "project" / "model.yaml"
    text = declared.read_text().replace("gate: {", "gate: {promotion: by_hand, ")
    declared.write_text(text + "rollout: {mode: canary, minimum_requests: 100, timeout_hours: 1}\n")
    shutil.copytree(first_home, folder / "home")
    ask("train", "--as-of", SECOND, project=folder / "project", home=folder / "home")
    return folder / "project", folder / "home"


@pytest.fixture
def place(challenged: tuple[Path, Path], tmp_path: Path) -> Iterator[Any]:
    from baton import compose

    project, home = challenged
    shutil.copytree(home, tmp_path / "home")
    compose._composed.cache_clear()
    yield compose.platform(project, home=tmp_path / "home")
    compose._composed.cache_clear()
