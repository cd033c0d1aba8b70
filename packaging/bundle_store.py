"""Bundles where several machines find them: a folder, or a bucket that speaks S3.

    MODEL/bundles/DIGEST/FILE    as in the model's folder
    MODEL/release.json           which one is served; see `baton.serving.release_store`

A URL is a path, or `s3://bucket/folder` with options such as
`?endpoint_override=http://host:port&region=...`; who may enter is said by
`AWS_ACCESS_KEY_ID` and its kin. What comes back is believed only once its
signature and hashes are checked, as everything on the disk is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from baton.core.errors import DependencyDown, IntegrityBroken, Misuse, SourceMissing
from baton.core.whole_file import replace_file
from baton.packaging.manifest import MANIFEST, read_manifest
from baton.packaging.reader import MANIFEST_BYTES, bundle_path, open_bundle
from baton.packaging.signature import SIGNATURE, SIGNATURE_BYTES

BUNDLES = "bundles"


class BundleStore:
    """One model's bundles and release in a store."""

    def __init__(self, url: str, *, model: str) -> None:
        from pyarrow import fs

        self._url = url
        try:
            if "://" in url:
                self._files, root = fs.FileSystem.from_uri(url)
            else:
                self._files, root = fs.LocalFileSystem(), str(Path(url).absolute())
        except (ValueError, OSError) as error:
            raise Misuse(
                what="the store cannot be used", why=str(error), fix="name a folder or s3://bucket/folder"
            ) from error
        self._root = f"{root}/{model}"

    def put(self, name: str, content: bytes) -> None:
        """Write one file.

        Raises:
            DependencyDown: The store does not take it.
        """
        path = f"{self._root}/{name}"
        with self._reached():
            # Buckets have no folders, but for the part before the first slash.
            if type(self._files).__name__ == "LocalFileSystem":
                replace_file(Path(path), content)
                return
            with self._files.open_output_stream(path) as stream:
                stream.write(content)

    def get(self, name: str, *, most: int) -> bytes:
        """Read one file of a bounded size.

        Raises:
            SourceMissing: There is none.
            IntegrityBroken: It is larger.
            DependencyDown: The store does not answer.
        """
        with self._reached():
            try:
                with self._files.open_input_stream(f"{self._root}/{name}") as stream:
                    content: bytes = stream.read(most + 1)
            except FileNotFoundError as error:
                raise SourceMissing(
                    what=f"{name} is not in the store", why=f"{self._url} has none", fix="push it with baton push"
                ) from error
        if len(content) > most:
            raise IntegrityBroken(
                what=f"{name} of {self._url} is refused", why=f"it has more than {most} bytes", fix="push it again"
            )
        return content

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            why = str(error).partition("\n")[0][:200]
            raise DependencyDown(
                what=f"the store {self._url.partition('?')[0]} does not answer", why=why, fix="look whether it is up"
            ) from error


def push_bundle(store: BundleStore, path: Path) -> None:
    """Put a verified bundle into a store; its manifest last, so that half of it is none."""
    bundle = open_bundle(path)
    names = sorted(file.name for file in path.iterdir())
    for name in [*(each for each in names if each != MANIFEST), MANIFEST]:
        store.put(f"{BUNDLES}/{bundle.digest}/{name}", (path / name).read_bytes())


def pull_bundle(store: BundleStore, digest: str, folder: Path) -> Path:
    """Have a bundle of a store in a model's folder, verified; one that is there already is not asked for.

    Args:
        store: Where it is.
        digest: The bundle's digest.
        folder: The model's state folder, with whom it trusts.

    Raises:
        SourceMissing: The store has no such bundle.
        IntegrityBroken: What the store has is not what its digest and a trusted signature say.
    """
    target = bundle_path(folder / BUNDLES, digest)
    if target.is_dir():
        open_bundle(target)
        return target
    # Beside the bundles' folder there are the signers, and so beside this one's.
    draft = Path(tempfile.mkdtemp(prefix=".pulling-", dir=_made(folder)))
    try:
        place = draft / digest
        place.mkdir()
        for name, content in _files(store, digest):
            (place / name).write_bytes(content)
        target.parent.mkdir(exist_ok=True)
        open_bundle(place)
        place.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _files(store: BundleStore, digest: str) -> Iterator[tuple[str, bytes]]:
    """Fetch the files that the manifest names, none larger than it says."""
    head = store.get(f"{BUNDLES}/{digest}/{MANIFEST}", most=MANIFEST_BYTES)
    manifest = read_manifest(head, where=digest)
    if not manifest.signed:
        raise IntegrityBroken(
            what=f"bundle {digest[:12]} of the store is refused",
            why=f"its format {manifest.format} has no signature",
            fix="train again; unsigned bundles stay on the machine that knows them",
        )
    sizes = {name: entry.size for name, entry in manifest.files.items()}
    yield MANIFEST, head
    for name, size in {**sizes, SIGNATURE: SIGNATURE_BYTES}.items():
        yield name, store.get(f"{BUNDLES}/{digest}/{name}", most=size)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
