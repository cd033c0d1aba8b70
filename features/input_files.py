"""The files of an input, local or remote, each named by the SHA-256 of its content."""

from __future__ import annotations

import codecs
import glob
import importlib.util
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.core.digest import digest_of_file
from baton.core.errors import DataRefused, DependencyDown, SourceMissing
from baton.core.input_spec import InputSpec

SUFFIXES = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet", ".pq")}
# Data that an installed Python package ships.
PACKAGE = "package:"
COPY_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One file: its name as a person knows it, the digest of its content, and where its bytes are on this machine."""

    name: str
    digest: str
    path: Path


def holds_state(taken: InputSpec) -> bool:
    """Whether each reading gives the rows as they are now, as a single file or a table does; a folder is added to."""
    if taken.path is None:
        return True
    return Path(taken.path).suffix.lower() in SUFFIXES[taken.format] and not glob.has_magic(taken.path)


def find_files(taken: InputSpec, folder: Path, *, copies: Path) -> list[InputFile]:
    """List an input's files by name; the remote ones are copied.

    Args:
        taken: The input; its `path` is given.
        folder: What a relative path starts from.
        copies: Folder for copies of remote files.

    Raises:
        SourceMissing: There is no such file.
        DependencyDown: The remote store does not answer.
    """
    assert taken.path is not None
    if "://" in taken.path:
        return _remote(taken, copies)
    place = _in_package(taken) if taken.path.startswith(PACKAGE) else folder / taken.path
    if place.is_dir():
        found = [file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES[taken.format]]
    else:
        found = [Path(name) for name in glob.glob(str(place), recursive=True)]  # noqa: PTH207 - a path may be absolute
    files = sorted(file for file in found if file.is_file())
    if not files:
        raise _nothing(taken)
    return [InputFile(name=str(file), digest=digest_of_file(file), path=file) for file in files]


def in_utf8(file: InputFile, encoding: str, *, copies: Path) -> Path:
    """Give a file's path where its text is UTF-8, else the path of a copy that is.

    Raises:
        DataRefused: The text is not in that encoding.
    """
    if codecs.lookup(encoding).name == "utf-8":
        return file.path
    copy = copies / f"{file.digest}.csv"
    try:
        with file.path.open(encoding=encoding, newline="") as text, copy.open("w", encoding="utf-8", newline="") as out:
            shutil.copyfileobj(text, out, COPY_CHARACTERS)
    except UnicodeError as error:
        raise DataRefused(
            what=f"{file.name} cannot be read",
            why=f"its text is not in {encoding}: {error}",
            fix="correct csv.encoding, or write the file again",
        ) from error
    return copy


def _in_package(taken: InputSpec) -> Path:
    """Find `package:name/file` in the folder of an installed package, without importing it."""
    package, _, file = str(taken.path).removeprefix(PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or found.origin is None:
        raise SourceMissing(
            what=f"no {taken.path}", why=f"package {package!r} is not installed", fix="install it, or correct the path"
        )
    return Path(found.origin).parent / file


def _remote(taken: InputSpec, copies: Path) -> list[InputFile]:
    import fsspec

    assert taken.path is not None
    try:
        store, place = fsspec.core.url_to_fs(taken.path, **_options(taken.path))
        # What was listed before may be gone, and what is new is asked for.
        store.invalidate_cache()
        names = _names(store, place, SUFFIXES[taken.format])
        files = []
        for number, name in enumerate(names):
            copy = copies / f"{number}{Path(name).suffix}"
            store.get_file(name, str(copy))
            files.append(InputFile(name=store.unstrip_protocol(name), digest=digest_of_file(copy), path=copy))
    except FileNotFoundError as error:
        raise _nothing(taken) from error
    except Exception as error:
        raise DependencyDown(
            what=f"{taken.path} cannot be read",
            why=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            fix="check the address and the credentials of the environment",
        ) from error
    if not files:
        raise _nothing(taken)
    return files


def _options(path: str) -> dict[str, Any]:
    # The store's own listings are cached for ever otherwise.
    return {"use_listings_cache": False} if path.startswith("s3://") else {}


def _names(store: Any, place: str, suffixes: Collection[str]) -> list[str]:
    if glob.has_magic(place):
        return sorted(store.glob(place))
    if store.isfile(place):
        return [place]
    return sorted(name for name in store.find(place) if Path(name).suffix.lower() in suffixes)


def _nothing(taken: InputSpec) -> SourceMissing:
    return SourceMissing(
        what=f"no {taken.format} file at {taken.path}",
        why="nothing is there with that name",
        fix="correct the path of the input in model.yaml; it starts from the folder of model.yaml",
    )
