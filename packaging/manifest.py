"""The manifest: what a bundle's folder holds, by name, size and SHA-256.

Format version 2. A bundle is a folder named by the SHA-256 of its
`manifest.json`; that file lists every other one. To change the format, add the
new file to `FILES` and raise `FORMAT`; readers refuse what they do not know,
so serving is upgraded before packaging. A bundle is never changed in place, and
every format of `READABLE` stays readable: a champion of long ago may be rolled
back to.

    1   the model is binary, and no file says so
    2   the schema says the task and its classes, and a golden answer may have
        a score for each class

    model.onnx      the graph, encoders included
    schema.json     the features in order, the task with its classes, and the graph's opsets
    profile.json    the reference that monitoring compares with
    parity.json     the proof that the graph answers as the trained model
    golden.json     requests with the answers that a service must reproduce
    facts.json      where the model comes from: snapshot, metrics, dates
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import IntegrityBroken, listed

FORMAT = 2
READABLE = frozenset({1, FORMAT})
MANIFEST = "manifest.json"
MODEL = "model.onnx"
SCHEMA = "schema.json"
PROFILE = "profile.json"
PARITY = "parity.json"
GOLDEN = "golden.json"
FACTS = "facts.json"
FILES = frozenset({MODEL, SCHEMA, PROFILE, PARITY, GOLDEN, FACTS})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle; the size is checked first, so that a swollen file is never read."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The bundle's model and its files."""

    model: str
    model_digest: str
    files: Mapping[str, FileEntry]
    format: int = FORMAT


def write_manifest(*, model: str, model_digest: str, contents: Mapping[str, bytes]) -> bytes:
    """Render the manifest of a bundle's files; its SHA-256 is the bundle's digest."""
    files = {name: FileEntry(sha256=digest_of_bytes(content), size=len(content)) for name, content in contents.items()}
    return canonical_json(Manifest(model=model, model_digest=model_digest, files=files))


def read_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest whose bytes are already known to be the sealed ones.

    Raises:
        IntegrityBroken: It is no manifest, of another format, or lists other
            files than `FILES`.
    """
    try:
        fields: dict[str, Any] = json.loads(content)
        version = fields.pop("format")
        if version not in READABLE:
            raise _broken(where, f"its format is {version!r}, this reader knows {listed(sorted(READABLE))}")
        entries = {name: FileEntry(**entry) for name, entry in fields.pop("files").items()}
        manifest = Manifest(files=entries, format=version, **fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _broken(where, f"it is not readable ({error})") from error
    unlike = sorted(entries.keys() ^ FILES)
    if unlike:
        raise _broken(where, f"it lists other files than a bundle has: {listed(unlike)}")
    if not all(isinstance(e.sha256, str) and _SHA256.fullmatch(e.sha256) for e in entries.values()):
        raise _broken(where, "a digest in it is not a SHA-256")
    return manifest


def _broken(where: str, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"the manifest of {where} is refused", why=why, fix="seal the model again")
