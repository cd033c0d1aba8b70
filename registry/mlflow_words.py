"""Names and texts that go to MLflow and come back: MLflow accepts anything, so what is odd stops here."""

from __future__ import annotations

import re

from baton.core.errors import Misuse

# As in model.yaml; MLflow itself takes newlines, quotes and paths.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,249}")
KEY = re.compile(r"[0-9a-f]{8,128}")
# Characters of a tag's value and of an error that are shown.
LONGEST = 500
MARKUP = str.maketrans("", "", "<>`*")


def one_line(text: str, *, longest: int = LONGEST) -> str:
    """Give a text as one bounded line: no line breaks, no control characters, no direction marks."""
    # A megabyte need not be read to its end to be cut.
    head = text[: 4 * longest]
    line = " ".join("".join(char if char.isprintable() else " " for char in head).split())
    return line if len(line) <= longest and len(head) == len(text) else line[: longest - 1] + "…"


def without_markup(text: str) -> str:
    """Give a text without the characters that HTML and Markdown begin with."""
    return text.translate(MARKUP)


def check_name(what: str, name: str) -> str:
    """Give a name of a model or an alias, if it is one.

    Raises:
        Misuse: It holds anything but lower-case letters, digits, dots, dashes and underscores.
    """
    return _check(NAME, what, name, "use 1 to 64 lower-case letters, digits, dots, dashes and underscores")


def check_version(version: str) -> str:
    """Give a version's number, if it is one."""
    return _check(VERSION, "version", version, "name a version by its number")


def check_tag(name: str) -> str:
    """Give a tag's name, if it is one."""
    return _check(TAG, "tag", name, "use letters, digits, dots, dashes, slashes and underscores")


def check_key(key: str) -> str:
    """Give a run's key, if it is one."""
    return _check(KEY, "run key", key, "pass the digest of data, code and configuration in hex")


def _check(pattern: re.Pattern[str], what: str, text: str, fix: str) -> str:
    if not pattern.fullmatch(text):
        raise Misuse(what=f"{one_line(text, longest=80)!r} is no {what}", why="it holds what it must not", fix=fix)
    return text
