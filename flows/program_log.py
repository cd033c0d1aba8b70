"""The file that a program prints to: kept over one start, bounded, and quoted when the program fails."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 10_000_000
TAIL_BYTES = 4_096
LINE_CHARACTERS = 300


def fresh_log(path: Path) -> BinaryIO:
    """Open an empty log; the one of the previous start stays beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(_previous(path))
    return open_log(path)


def open_log(path: Path) -> BinaryIO:
    """Open a log at its end, as a restarted program goes on with it."""
    # Appending is what lets `trim_log` empty the file under a running program.
    return path.open("ab")


def trim_log(path: Path, *, largest: int = LARGEST_BYTES) -> None:
    """Move a log that has grown too large aside, without the program noticing."""
    with suppress(OSError):
        if path.stat().st_size > largest:
            _previous(path).write_bytes(path.read_bytes())
            os.truncate(path, 0)


def last_line(path: Path) -> str:
    """Give the last words of a program, without colours, at most one line of them."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = stream.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    printable = ("".join(c for c in line if c.isprintable()).strip() for line in reversed(lines))
    return next((line for line in printable if line), "it printed nothing")[:LINE_CHARACTERS]


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
