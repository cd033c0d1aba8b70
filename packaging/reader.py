"""Open a bundle: every byte is checked against its digest before anything is loaded from it.

Serving opens bundles with this module, so it needs nothing but the standard
library.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from baton.core.bundle import Bundle, Field
from baton.core.digest import digest_of_bytes
from baton.core.errors import IntegrityBroken, SourceMissing, listed
from baton.packaging.manifest import FILES, GOLDEN, MANIFEST, SCHEMA, Manifest, read_manifest

if TYPE_CHECKING:
    from baton.core.policy import Task

# Six files are listed; a manifest of a mebibyte is none.
MANIFEST_BYTES = 1 << 20
TASKS = ("binary", "multiclass", "regression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Requests with the answers of the sealed model: a service that answers otherwise is not in order.

    An answer is a number, or of several classes a list of numbers.
    """

    rows: tuple[Mapping[str, float | str | None], ...]
    scores: tuple[Any, ...]
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A bundle with its files' verified bytes; load from these and never from the disk again."""

    bundle: Bundle
    files: Mapping[str, bytes]

    @property
    def golden(self) -> Golden:
        """The golden requests and their answers."""
        fields = json.loads(self.files[GOLDEN])
        return Golden(rows=tuple(fields["rows"]), scores=tuple(fields["scores"]), tolerance=fields["tolerance"])


def open_bundle(path: Path) -> Bundle:
    """Verify every file of a bundle and say what it is; see `open_contents`."""
    return open_contents(path).bundle


def open_contents(path: Path) -> Contents:
    """Verify a bundle's folder and give its files' bytes.

    Raises:
        SourceMissing: There is no such folder.
        IntegrityBroken: A file is missing, unknown, a link, or differs from
            the digest in the manifest; or the folder is not named by it.
    """
    if not path.is_dir():
        raise SourceMissing(
            what=f"no bundle at {path}", why="the folder is not there", fix="train the model again with baton train"
        )
    _refuse_strangers(path)
    head = _read(path / MANIFEST, most=MANIFEST_BYTES)
    digest = digest_of_bytes(head)
    if path.resolve().name != digest:
        raise _broken(path / MANIFEST, f"its SHA-256 is {digest[:12]}, the folder is named {path.resolve().name[:12]}")
    manifest = read_manifest(head, where=str(path))
    files = {name: _verified(path / name, manifest) for name in sorted(FILES)}
    return Contents(bundle=_bundle(path, digest, manifest, files), files=files)


def _refuse_strangers(path: Path) -> None:
    expected = FILES | {MANIFEST}
    entries = {entry.name: entry for entry in os.scandir(path)}
    unknown, missing = sorted(entries.keys() - expected), sorted(expected - entries.keys())
    if unknown:
        raise _broken(path, f"it holds what no bundle has: {listed(unknown)}")
    if missing:
        raise _broken(path, f"it lacks {listed(missing)}")


def _read(path: Path, *, most: int) -> bytes:
    """Read a regular file of one name, never through a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise _broken(path, f"it cannot be opened ({error.strerror}); links are refused") from error
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            raise _broken(path, "it is a link or no regular file")
        if facts.st_size > most:
            raise _broken(path, f"it has {facts.st_size} bytes, expected at most {most}")
        return stream.read(most + 1)


def _verified(path: Path, manifest: Manifest) -> bytes:
    entry = manifest.files[path.name]
    content = _read(path, most=entry.size)
    actual = digest_of_bytes(content)
    if actual != entry.sha256:
        raise _broken(path, f"its SHA-256 is {actual[:12]}, the manifest says {entry.sha256[:12]}")
    return content


def _bundle(path: Path, digest: str, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    try:
        schema: Any = json.loads(files[SCHEMA])
        fields = tuple(Field(**(field | {"known": tuple(field["known"])})) for field in schema["fields"])
        task = schema["task"] if manifest.format > 1 else "binary"
        classes = tuple(schema["classes"]) if manifest.format > 1 else ()
    except (ValueError, TypeError, KeyError) as error:
        raise _broken(path / SCHEMA, f"it is not readable ({error})") from error
    if task not in TASKS:
        raise _broken(path / SCHEMA, f"its task is {task!r}, this reader knows {listed(TASKS)}")
    return Bundle(
        path=path,
        digest=digest,
        model=manifest.model,
        model_digest=manifest.model_digest,
        fields=fields,
        task=cast("Task", task),
        classes=classes,
    )


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"{path} is refused", why=why, fix="package the model again; never edit a bundle")
