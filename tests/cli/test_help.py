"""What a person sees first answers at once and says what everything does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from baton.cli.main import app

BATON = Path(sys.executable).with_name("baton")
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "model.schema.json"
QUICK_SECONDS = 0.4
COMMANDS = sorted(typer.main.get_command(app).commands)


def test_help_answers_at_once() -> None:
    took = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([BATON, "--help"], check=True, capture_output=True, timeout=30)
        took.append(time.perf_counter() - started)
    assert min(took) < QUICK_SECONDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = typer.main.get_command(app).commands[name]
    assert command.help
    assert [option.name for option in command.params if not option.help] == []


def test_the_schema_in_the_docs_is_the_one_of_the_code() -> None:
    said = subprocess.run([BATON, "schema"], check=True, capture_output=True, timeout=30).stdout
    assert SCHEMA.read_bytes() == said
