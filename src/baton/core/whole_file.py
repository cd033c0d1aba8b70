"""Files that are there whole or not at all, whenever the writing process dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


def replace_file(path: Path, content: bytes | Callable[[Path], object], *, private: bool = False) -> None:
    """Write beside the file, make it safe on disk, then let it take the file's name in one step.

    Args:
        path: The file; its folder is made where it is not there.
        content: Its bytes, or what writes them to the path that it is given.
        private: Whether only its owner may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own keeps two writers of one file apart, be they processes or threads.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        if private:
            temporary.touch(mode=0o600)
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            content(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
