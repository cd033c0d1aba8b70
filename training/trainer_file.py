"""A trainer from a file beside the project, loaded under a name that can shadow nothing."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from baton.core.digest import digest_of, digest_of_file
from baton.core.errors import BatonError, SourceMissing


def load_from_file(named: str, *, folder: Path) -> Any:
    """Give what `file.py:name` says, the file looked for in the project's folder.

    Raises:
        SourceMissing: The file or the name is not there, or loading it failed.
    """
    file, name = named.rsplit(":", 1)
    module = _load(trainer_path(named, folder=folder))
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [known for known in vars(module) if not known.startswith("_")], n=1)
        raise SourceMissing(
            what=f"{file} has no {name!r}",
            why=f"did you mean {near[0]!r}?" if near else "nothing in it looks like it",
            fix="correct training.trainer",
        )
    return getattr(module, name)


def trainer_path(named: str, *, folder: Path) -> Path:
    """Give the path of the file in `file.py:name`.

    Raises:
        SourceMissing: It is not there.
    """
    path = folder / named.rsplit(":", 1)[0]
    if not path.is_file():
        raise SourceMissing(
            what=f"{path.name} is not there", why=f"looked in {path.parent}", fix="correct training.trainer"
        )
    return path


def _load(path: Path) -> ModuleType:
    """Import a file once; it never enters `sys.path`, so its neighbours cannot replace an installed module."""
    # A file that was edited gets another name, and is imported again.
    name = f"_baton_trainer_{digest_of([path, digest_of_file(path)])[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    located = importlib.util.spec_from_file_location(name, path)
    assert located is not None
    assert located.loader is not None
    module = importlib.util.module_from_spec(located)
    # Classes and pickles look their module up by name.
    sys.modules[name] = module
    try:
        located.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, BatonError) or not isinstance(error, Exception):
            raise
        raise SourceMissing(
            what=f"{path.name} failed", why=f"{type(error).__name__}: {error}", fix="run it by itself and mend it"
        ) from error
    return module
