"""A Python file of the project, imported under a name that can shadow nothing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from baton.core.digest import digest_of, digest_of_file
from baton.core.errors import BatonError, SourceMissing


def load_file(path: Path, *, fix: str) -> ModuleType:
    """Import a file once; it never enters `sys.path`, so two projects' `source.py` never meet.

    Args:
        path: The file.
        fix: What to do where it is not there.

    Raises:
        SourceMissing: It is not there, or importing it failed.
    """
    if not path.is_file():
        raise SourceMissing(what=f"{path.name} is not there", why=f"looked in {path.parent}", fix=fix)
    # A file that was edited gets another name, and is imported again.
    name = f"_baton_project_{digest_of([path, digest_of_file(path)])[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    located = importlib.util.spec_from_file_location(name, path)
    assert located is not None
    assert located.loader is not None
    module = importlib.util.module_from_spec(located)
    # Dataclasses and pickle look their module up by name.
    sys.modules[name] = module
    try:
        call_named(partial(located.loader.exec_module, module), path.name)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def call_named(function: Callable[[], Any], name: str) -> Any:
    """Call the project's code, so that what it raises is told as a failure of `name`.

    Raises:
        SourceMissing: It raised an exception that is not one of Baton's own.
    """
    try:
        return function()
    except BatonError:
        raise
    except Exception as error:
        raise SourceMissing(
            what=f"{name} failed", why=f"{type(error).__name__}: {error}", fix="run it by itself and mend it"
        ) from error
