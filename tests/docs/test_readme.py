"""What the documents promise is there: their commands, their links and the examples in the code."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from baton.cli.main import app

ROOT = Path(__file__).parents[2]
BATON = Path(sys.executable).with_name("baton")
PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md"))
    if not page.relative_to(ROOT).parts[0].startswith(".")
]
BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
# Commands that read, and answer within a second or two.
QUICK = {"why", "status", "rollback", "schema", "reconcile", "clean"}
STAGES = ("features", "validation", "training", "registry", "packaging", "serving", "monitoring", "flows")


def commands(page: Path) -> list[str]:
    """List what a page tells to type, without prompts and comments."""
    lines = [line for block in BLOCK.findall(page.read_text()) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.join(shlex.split(line.removeprefix("$ "), comments=True)) for line in lines if line.strip()]


TYPED = sorted({(page.name, line) for page in PAGES for line in commands(page) if line})


def test_the_readme_tells_what_to_type() -> None:
    assert {line for name, line in TYPED if name == "README.md"} >= {"make demo", "make test", "make up"}


@pytest.mark.parametrize("line", sorted({line for _, line in TYPED if line.startswith("make ")}))
def test_a_target_of_make_is_there(line: str) -> None:
    planned = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("line", sorted({line for _, line in TYPED if line.startswith("baton ")}))
def test_a_command_of_baton_parses_and_a_quick_one_runs(line: str, tmp_path: Path) -> None:
    _, name, *words = shlex.split(line)
    if name.startswith("-"):
        return
    command = typer.main.get_command(app).commands[name]
    with command.make_context(name, [*words]):
        pass
    if name in QUICK:
        ended = subprocess.run(
            [BATON, name, *words],
            cwd=ROOT,
            env=os.environ | {"BATON_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # In a home without a champion some have to refuse, with one line.
        assert ended.returncode in {0, 1}, ended.stderr
        assert len(ended.stderr.splitlines()) == ended.returncode


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = LINK.findall(FENCE.sub("", page.read_text()))
    near = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith(("#", "mailto:"))]
    assert [link for link in near if link and not (page.parent / link).exists()] == []


def test_the_page_of_commands_names_each() -> None:
    said = (ROOT / "docs" / "reference" / "commands.md").read_text()
    names = typer.main.get_command(app).commands
    assert [name for name in names if f"baton {name}" not in said and f"`{name}" not in said] == []


def with_examples() -> list[str]:
    folders = [*((ROOT / stage, f"baton.{stage}") for stage in STAGES)]
    folders += [(ROOT / "src" / "baton" / name, f"baton.{name}") for name in ("core", "testing", "cli")]
    return sorted(
        f"{package}.{file.stem}"
        for folder, package in folders
        for file in folder.glob("*.py")
        if ">>>" in file.read_text()
    )


@pytest.mark.parametrize("name", with_examples())
def test_the_examples_in_the_code_run(name: str) -> None:
    tested = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tested.failed == 0
