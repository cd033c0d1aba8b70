"""Write container images as OCI layouts with the standard library: the same inputs give the same digest, no daemon.

A layout is a folder of blobs that are named by their SHA-256, with one
`index.json` that names the image's manifest. The manifest names a config and
the layers; registries, podman and skopeo read it as it is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from baton.core.digest import CHUNK_BYTES, canonical_json, digest_of_bytes
from baton.core.errors import IntegrityBroken, SourceMissing
from baton.core.whole_file import replace_file

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
# The time of everything in an image that must not depend on when it was made.
EPOCH = "1970-01-01T00:00:00Z"
# The digest is of the compressed bytes, so the level is part of the format.
LEVEL = 6
DOCUMENT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer's blob: how it is named in the manifest, and in the config by its uncompressed bytes."""

    descriptor: Mapping[str, Any]
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An image that another one is built on."""

    config: Mapping[str, Any]
    layers: tuple[Mapping[str, Any], ...]
    folder: Path


def layer_of_folder(out: Path, source: Path, *, at: str) -> Layer:
    """Write a folder as a layer, everything in it root's and of 1970, in the order of the names.

    Args:
        out: The layout's folder.
        source: What the layer holds.
        at: Where in the image, such as `/opt/baton`.
    """
    return _layer(out, _entries(source, PurePosixPath(at.strip("/"))))


def layer_of_rootfs(out: Path, archive: Path) -> Layer:
    """Write a root file system's tar as a layer, entries as they are."""
    plain = hashlib.sha256()

    def write(path: Path) -> None:
        with tarfile_bytes(archive) as source, path.open("wb") as target, _gzip(target) as packed:
            while chunk := source.read(CHUNK_BYTES):
                plain.update(chunk)
                packed.write(chunk)

    return _blob_of(out, write, plain)


def tarfile_bytes(archive: Path) -> Any:
    """Open a tar for its plain bytes, compressed by gzip or not."""
    with archive.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(archive, "rb") if zipped else archive.open("rb")


def read_base(folder: Path, *, digest: str) -> Base:
    """Read an image of a layout, by its digest; every byte is checked against the digest that names it.

    Raises:
        SourceMissing: There is no such layout, or no such image in it.
        IntegrityBroken: A blob differs from its name.
    """
    manifest = json.loads(_checked(folder, digest))
    for descriptor in manifest["layers"]:
        _check_file(folder, descriptor["digest"])
    config = json.loads(_checked(folder, manifest["config"]["digest"]))
    return Base(config=config, layers=tuple(manifest["layers"]), folder=folder)


def write_image(out: Path, *, layers: Sequence[Layer], config: Mapping[str, Any], base: Base | None = None) -> str:
    """Write config, manifest and index for layers that are in the layout already.

    Args:
        out: The layout's folder.
        layers: From `layer_of_folder` or `layer_of_rootfs`, lowest first.
        config: The image's `config` object: Env, User, Entrypoint and so on.
        base: The image beneath; its layers are copied.

    Returns:
        The digest of the image's manifest, as `sha256:<64 hex>`.
    """
    beneath: Mapping[str, Any] = base.config if base else {"architecture": "amd64", "os": "linux"}
    for descriptor in base.layers if base else ():
        _copy(base, descriptor["digest"], out)  # type: ignore[arg-type]  # there are layers only where there is a base
    below = list(beneath.get("rootfs", {}).get("diff_ids", ()))
    whole: dict[str, Any] = {
        "architecture": beneath["architecture"],
        "os": beneath["os"],
        "created": EPOCH,
        "config": _merged(beneath.get("config") or {}, config),
        "rootfs": {"type": "layers", "diff_ids": [*below, *(layer.diff_id for layer in layers)]},
        "history": [],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _document(out, whole, CONFIG_TYPE),
        "layers": [*(base.layers if base else ()), *(layer.descriptor for layer in layers)],
    }
    named = _document(out, manifest, MANIFEST_TYPE)
    replace_file(out / "oci-layout", canonical_json({"imageLayoutVersion": "1.0.0"}))
    replace_file(out / "index.json", canonical_json({"schemaVersion": 2, "manifests": [named]}))
    return str(named["digest"])


def _merged(beneath: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an image's config over its base's; variables add up, the later one counts."""
    variables = dict(each.split("=", 1) for each in (*beneath.get("Env", ()), *config.get("Env", ())))
    merged = {**beneath, **config, "Env": [f"{name}={value}" for name, value in sorted(variables.items())]}
    # A command of the base would be given to our entrypoint as its arguments.
    return merged if "Cmd" in config else {name: value for name, value in merged.items() if name != "Cmd"}


def _entries(source: Path, at: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, Path | None]]:
    above = [PurePosixPath(*at.parts[: number + 1]) for number in range(len(at.parts))]
    for parent in above:
        yield _entry(str(parent), tarfile.DIRTYPE, mode=0o755), None
    for path in sorted(source.rglob("*"), key=lambda each: each.relative_to(source).parts):
        name = str(at / path.relative_to(source))
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode):
            yield _entry(name, tarfile.DIRTYPE, mode=0o755), None
        elif stat.S_ISREG(facts.st_mode):
            entry = _entry(name, tarfile.REGTYPE, mode=0o755 if facts.st_mode & stat.S_IXUSR else 0o644)
            entry.size = facts.st_size
            yield entry, path
        else:
            raise IntegrityBroken(
                what=f"{path} is no part of an image", why="it is a link or no regular file", fix="take it out"
            )


def _entry(name: str, kind: bytes, *, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _layer(out: Path, entries: Iterator[tuple[tarfile.TarInfo, Path | None]]) -> Layer:
    plain = hashlib.sha256()

    def write(path: Path) -> None:
        with path.open("wb") as target, _gzip(target) as packed:
            # A file of which tarfile only writes; the types ask for more.
            counted: Any = _Hashed(packed, plain)
            with tarfile.open(fileobj=counted, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for entry, source in entries:
                    archive.addfile(entry, io.BytesIO(source.read_bytes()) if source else None)

    return _blob_of(out, write, plain)


class _Hashed:
    """A stream that hashes what is written to it."""

    def __init__(self, stream: Any, digest: Any) -> None:
        self._stream = stream
        self._digest = digest

    def write(self, content: bytes) -> int:
        """Write, and count it in."""
        self._digest.update(content)
        return int(self._stream.write(content))


def _gzip(target: Any) -> gzip.GzipFile:
    # Neither a name nor a time, which would be in the bytes.
    return gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=LEVEL, mtime=0)


def _blob_of(out: Path, write: Any, plain: Any) -> Layer:
    """Write a blob under a passing name, then give it the one of its bytes."""
    facts: dict[str, Any] = {}

    def hashed(path: Path) -> None:
        write(path)
        with path.open("rb") as stream:
            facts.update(digest=hashlib.file_digest(stream, "sha256").hexdigest(), size=path.stat().st_size)

    passing = _blobs(out) / "layer"
    replace_file(passing, hashed)
    passing.replace(_blobs(out) / facts["digest"])
    descriptor = {"mediaType": LAYER_TYPE, "digest": f"sha256:{facts['digest']}", "size": facts["size"]}
    return Layer(descriptor=descriptor, diff_id=f"sha256:{plain.hexdigest()}")


def _document(out: Path, value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    content = canonical_json(value)
    digest = digest_of_bytes(content)
    replace_file(_blobs(out) / digest, content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _copy(base: Base, digest: str, out: Path) -> None:
    there = _blobs(out) / digest.removeprefix("sha256:")
    if not there.exists():
        replace_file(there, (_blobs(base.folder) / there.name).read_bytes())


def _checked(folder: Path, digest: str) -> bytes:
    path = _check_file(folder, digest)
    if path.stat().st_size > DOCUMENT_BYTES:
        raise IntegrityBroken(what=f"{path} is no manifest", why="it has over 4 MiB", fix="name the image's digest")
    return path.read_bytes()


def _check_file(folder: Path, digest: str) -> Path:
    path = _blobs(folder) / digest.removeprefix("sha256:")
    if not path.is_file():
        fix = "write it with skopeo copy, podman save or baton package base"
        raise SourceMissing(what=f"no image {digest} in {folder}", why=f"{path.name[:12]} is not there", fix=fix)
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != path.name:
        raise IntegrityBroken(what=f"{path} is broken", why=f"its SHA-256 is {actual[:12]}", fix="fetch it again")
    return path


def _blobs(folder: Path) -> Path:
    return folder / "blobs" / "sha256"
