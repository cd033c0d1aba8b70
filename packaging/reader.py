"""Open a bundle: signer, manifest and every byte are checked before anything is loaded from it.

Serving opens bundles with this module, so it needs nothing but the standard
library and, for the signature alone, cryptography.
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
from baton.packaging.manifest import GOLDEN, MANIFEST, MODEL, SCHEMA, SHA256, Manifest, read_manifest
from baton.packaging.onnx_inspection import inspect_model
from baton.packaging.signature import SIGNATURE, SIGNATURE_BYTES, SIGNERS, unsigned_bundles, verify_signature

if TYPE_CHECKING:
    from baton.core.policy import Task

# A dozen files are listed; a manifest of a mebibyte is none.
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


def bundle_path(folder: Path, digest: str) -> Path:
    """Give the folder of a bundle by its digest, which is the only thing that is ever joined into the path.

    Raises:
        IntegrityBroken: It is no SHA-256 in hex.
    """
    if not SHA256.fullmatch(digest):
        raise IntegrityBroken(
            what="a bundle is refused", why=f"{digest[:80]!r} is no digest", fix="name it by its SHA-256 in hex"
        )
    return folder / digest


def open_contents(path: Path) -> Contents:
    """Verify a bundle's folder and give its files' bytes.

    Whom to trust lies in `signers`, beside the folder of bundles.

    Raises:
        SourceMissing: There is no such folder.
        IntegrityBroken: A file is missing, unknown, a link, or differs from
            the digest in the manifest; the folder is not named by it; nobody
            who is trusted has signed it; or its graph holds what is refused.
    """
    if not path.is_dir():
        raise SourceMissing(
            what=f"no bundle at {path}", why="the folder is not there", fix="train the model again with baton train"
        )
    head = _read(path / MANIFEST, most=MANIFEST_BYTES)
    digest, name = digest_of_bytes(head), path.resolve().name
    if name != digest:
        raise _broken(path / MANIFEST, f"its SHA-256 is {digest[:12]}, the folder is named {name[:12]}")
    manifest = read_manifest(head, where=str(path))
    _refuse_strangers(path, manifest)
    _check_signer(path, digest, manifest)
    files = {name: _verified(path / name, manifest) for name in sorted(manifest.files)}
    inspect_model(files[MODEL], where=str(path / MODEL))
    return Contents(bundle=_bundle(path, digest, manifest, files), files=files)


def _refuse_strangers(path: Path, manifest: Manifest) -> None:
    expected = {*manifest.files, MANIFEST} | ({SIGNATURE} if manifest.signed else set())
    entries = {entry.name for entry in os.scandir(path)}
    unknown, missing = sorted(entries - expected), sorted(expected - entries)
    if unknown:
        raise _broken(path, f"it holds what no bundle has: {listed(unknown)}")
    if missing:
        raise _broken(path, f"it lacks {listed(missing)}")


def _check_signer(path: Path, digest: str, manifest: Manifest) -> None:
    """Refuse what nobody who is trusted has signed; older bundles where they are known to be older than signatures."""
    signers = path.resolve().parent.parent / SIGNERS
    if manifest.signed:
        digests = {MANIFEST: digest, **{name: entry.sha256 for name, entry in manifest.files.items()}}
        content = _read(path / SIGNATURE, most=SIGNATURE_BYTES)
        verify_signature(content, digests=digests, signers=signers, where=str(path))
        return
    known = unsigned_bundles(signers)
    if known is not None and digest not in known:
        raise _broken(path, f"its format {manifest.format} has no signature, and bundles are signed here")


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
        epoch=manifest.epoch,
    )


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"{path} is refused", why=why, fix="package the model again; never edit a bundle")
