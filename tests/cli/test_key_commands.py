"""Keys of the service, from the command line: shown once, listed without what makes them keys, revoked."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_a_key_is_made_listed_and_revoked(place: Any, baton: Any) -> None:
    assert "there is no key" in baton(*place.words("key", "list")).out
    made = baton(*place.words("key", "add", "till", "--scope", "predict", "--scope", "feedback", "--days", "30"))
    text = made.out.strip()
    identity = text.split("_")[1]
    assert made.code == 0
    assert identity in made.err
    # The key alone is on standard output, so that it can be piped to where it is kept.
    assert text.startswith("baton_")
    assert "\n" not in text
    assert text not in made.err

    listed = baton(*place.words("key", "list", "--json"))
    (key,) = json.loads(listed.out)
    assert (key["id"], key["name"], key["scopes"]) == (identity, "till", ["feedback", "predict"])
    assert "hash" not in key
    shown = baton(*place.words("key", "list")).out
    assert "live" in shown
    for output in (listed.out, shown, (place.folder / "keys.json").read_text()):
        assert text.split("_", 2)[2] not in output

    assert baton(*place.words("key", "revoke", identity)).code == 0
    assert "revoked" in baton(*place.words("key", "list")).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "a\nb"), "is no name for a key"),
        (("add", "till", "--scope", "root"), "root"),
        (("revoke", "0" * 16), "no key"),
    ],
    ids=["two lines", "an unknown scope", "an unknown id"],
)
def test_what_cannot_be_is_misuse_in_one_line(place: Any, baton: Any, words: tuple[str, ...], said: str) -> None:
    ended = baton(*place.words("key", *words))
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_dry_run_writes_nothing(place: Any, baton: Any) -> None:
    made = baton(*place.words("key", "add", "till", "--dry-run"))
    assert "would add a key for till with predict" in made.out
    assert not (place.folder / "keys.json").exists()


def test_the_file_is_the_one_that_the_service_reads(
    place: Any, baton: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("BATON_SERVING_KEYS", str(tmp_path / "elsewhere.json"))
    assert baton(*place.words("key", "add", "till")).code == 0
    assert (tmp_path / "elsewhere.json").exists()
