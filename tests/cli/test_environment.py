"""L2: an installation says what it is, and a ledger of another one is refused before anything is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

READS = (("status",), ("why",), ("audit", "verify"), ("overrides",))
WRITES = (("rollback",), ("promote", "1"), ("reconcile",), ("train", "--as-of", "2024-04-22"))


def test_a_home_is_local_unless_it_says_otherwise_and_commands_name_it(trained: Any, baton: Any) -> None:
    assert "champions of parcels (local)" in baton(*trained.words("status")).out
    assert json.loads(baton(*trained.words("status", "--json")).out)["environment"] == "local"
    assert "ok   environment: local" in baton(*trained.words("doctor")).out
    for words in (("reconcile",), ("train", "--as-of", "2024-04-22", "--dry-run"), ("rollback", "--dry-run")):
        assert baton(*trained.words(*words)).out.startswith("parcels (local): "), words


@pytest.mark.parametrize("words", [*READS, *WRITES], ids=lambda words: words[0])
def test_a_shell_of_another_environment_is_refused_and_changes_nothing(
    trained: Any, baton: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    before = trained.state()
    monkeypatch.setenv("BATON_ENVIRONMENT", "production")
    ended = baton(*trained.words(*words))
    assert ended.code == 2
    assert "belongs to the environment local" in ended.err
    assert "this command acts for production" in ended.err
    monkeypatch.delenv("BATON_ENVIRONMENT")
    assert trained.state() == before


def test_the_doctor_says_which_environment_a_ledger_is_of(
    trained: Any, baton: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_ENVIRONMENT", "production")
    ended = baton(*trained.words("doctor"))
    assert ended.code == 1
    assert "LOOK environment: " in ended.out
    assert "Set BATON_ENVIRONMENT=local if local is meant" in ended.out


@pytest.mark.parametrize("name", ["", "Production", "a b", "-x", "x" * 33, "a\nb"])
def test_a_name_that_is_none_is_misuse(place: Any, baton: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("BATON_ENVIRONMENT", name)
    ended = baton(*place.words("status"))
    assert ended.code == 2
    assert "BATON_ENVIRONMENT: " in ended.err
    assert len(ended.err.splitlines()) == 1
