"""A trainer from a file beside the project, loaded under a name that can shadow nothing."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from baton.core.errors import SourceMissing
from baton.features.project_file import load_file

FIX = "correct training.trainer"


def load_from_file(named: str, *, folder: Path) -> Any:
    """Give what `file.py:name` says, the file looked for in the project's folder.

    Raises:
        SourceMissing: The file or the name is not there, or loading it failed.
    """
    file, name = named.rsplit(":", 1)
    module = load_file(folder / file, fix=FIX)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [known for known in vars(module) if not known.startswith("_")], n=1)
        raise SourceMissing(
            what=f"{file} has no {name!r}",
            why=f"did you mean {near[0]!r}?" if near else "nothing in it looks like it",
            fix=FIX,
        )
    return getattr(module, name)


def trainer_path(named: str, *, folder: Path) -> Path:
    """Give the path of the file in `file.py:name`.

    Raises:
        SourceMissing: It is not there.
    """
    path = folder / named.rsplit(":", 1)[0]
    if not path.is_file():
        raise SourceMissing(what=f"{path.name} is not there", why=f"looked in {path.parent}", fix=FIX)
    return path
