"""The manifest: what a bundle's folder holds, by name, size and SHA-256.

Format version 3. A bundle is a folder named by the SHA-256 of its
`manifest.json`; that file lists every other one but the signature. To change
the format, add the new file to `FILES` and raise `FORMAT`; readers refuse what
they do not know, so serving is upgraded before packaging. A bundle is never
changed in place, and every format of `READABLE` stays readable: a champion of
long ago may be rolled back to.

    1   the model is binary, and no file says so
    2   the schema says the task and its classes, and a golden answer may have
        a score for each class
    3   signed; with fallback, model card, bills of materials and lock file;
        the manifest says after which epoch of the ledger it was sealed

    model.onnx        the graph, encoders included
    schema.json       the features in order, the task with its classes, and the graph's opsets
    profile.json      the reference that monitoring compares with
    parity.json       the proof that the graph answers as the trained model
    golden.json       requests with the answers that a service must reproduce
    facts.json        where the model comes from: snapshot, metrics, dates
    fallback.json     the answer that may stand in where the model gives none
    card.md           the model card, for people
    sbom.cdx.json     what serves it, as CycloneDX
    mlbom.cdx.json    what it is and learned from, as CycloneDX
    requirements.txt  the locked packages that serve it, with their hashes
    model.sig         who sealed it, over all of these and the manifest
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import IntegrityBroken, listed

FORMAT = 3
READABLE = frozenset({1, 2, FORMAT})
# The first with a signature, and with an epoch in the manifest.
FIRST_SIGNED = 3
MANIFEST = "manifest.json"
MODEL = "model.onnx"
SCHEMA = "schema.json"
PROFILE = "profile.json"
PARITY = "parity.json"
GOLDEN = "golden.json"
FACTS = "facts.json"
FALLBACK = "fallback.json"
CARD = "card.md"
SBOM = "sbom.cdx.json"
ML_BOM = "mlbom.cdx.json"
LOCK = "requirements.txt"
FIRST_FILES = frozenset({MODEL, SCHEMA, PROFILE, PARITY, GOLDEN, FACTS})
FILES = FIRST_FILES | {FALLBACK, CARD, SBOM, ML_BOM, LOCK}
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle; the size is checked first, so that a swollen file is never read."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The bundle's model and its files; `epoch` is the ledger's when it was sealed, and no release of it is older."""

    model: str
    model_digest: str
    files: Mapping[str, FileEntry]
    epoch: int = 0
    format: int = FORMAT

    @property
    def signed(self) -> bool:
        """Whether bundles of this format have a signature."""
        return self.format >= FIRST_SIGNED


def write_manifest(*, model: str, model_digest: str, contents: Mapping[str, bytes], epoch: int = 0) -> bytes:
    """Render the manifest of a bundle's files; its SHA-256 is the bundle's digest."""
    files = {name: FileEntry(sha256=digest_of_bytes(content), size=len(content)) for name, content in contents.items()}
    return canonical_json(Manifest(model=model, model_digest=model_digest, files=files, epoch=epoch))


def read_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest whose bytes are already known to be the sealed ones.

    Raises:
        IntegrityBroken: It is no manifest, of another format, or lists other
            files than its format has.
    """
    try:
        fields: dict[str, Any] = json.loads(content)
        version = fields.pop("format")
        if version not in READABLE:
            raise _broken(where, f"its format is {version!r}, this reader knows {listed(sorted(READABLE))}")
        if (version >= FIRST_SIGNED) != ("epoch" in fields):
            raise _broken(where, "an epoch is in it where none belongs, or none where one does")
        entries = {name: FileEntry(**entry) for name, entry in fields.pop("files").items()}
        manifest = Manifest(files=entries, format=version, **fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _broken(where, f"it is not readable ({error})") from error
    unlike = sorted(entries.keys() ^ (FILES if manifest.signed else FIRST_FILES))
    if unlike:
        raise _broken(where, f"it lists other files than a bundle has: {listed(unlike)}")
    if not all(isinstance(e.sha256, str) and SHA256.fullmatch(e.sha256) for e in entries.values()):
        raise _broken(where, "a digest in it is not a SHA-256")
    if not isinstance(manifest.epoch, int) or manifest.epoch < 0:
        raise _broken(where, f"its epoch is {manifest.epoch!r}")
    return manifest


def _broken(where: str, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"the manifest of {where} is refused", why=why, fix="seal the model again")
