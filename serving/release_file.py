"""The release pointer: a small signed file beside the bundles that says which one is served.

Format version 2: canonical JSON with the release and its HMAC-SHA256 under the
key of the folder, so that half a file, a hand-edited one or another folder's is
never taken for a release. Serving reads nothing else to know its champion,
whatever registry or database is down.

Format 1 had a plain checksum. It is taken once, where the folder has no key
yet, and written again with a signature; from then on it is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json, digest_of, plain
from baton.core.errors import Conflict, IntegrityBroken
from baton.core.release import Mode, Release
from baton.core.whole_file import replace_file

RELEASE_FILE = "release.json"
KEY_FILE = "release.key"
LOCK_FILE = ".release.lock"
FORMAT, UNSIGNED = 2, 1
KEY_BYTES = 32
# A release has thirteen short fields.
MOST_BYTES = 1 << 16


def write_release(folder: Path, release: Release) -> Path:
    """Point a model's serving at a release, atomically, unless it points at a later one already.

    A process that was paused before it wrote does not take serving back; nor
    does one that knows only the champion of an epoch end its rollout.

    Args:
        folder: The model's state folder.
        release: What is served from now on.
    """
    with _locked(folder):
        if not _stands(folder, release):
            _write(folder, release)
    return folder / RELEASE_FILE


def move_release(folder: Path, release: Release) -> None:
    """Point serving at a release like `write_release`, but say so where a later one is in force.

    Raises:
        Conflict: Somebody moved first.
    """
    with _locked(folder):
        found = _read(folder)
        if found == release:
            return
        if found is not None and found.order >= release.order:
            raise Conflict(
                what=f"revision {release.revision} of epoch {release.epoch} is not released",
                why=f"serving is at revision {found.revision} of epoch {found.epoch}",
                fix="look at baton rollout status, and start again from there",
            )
        _write(folder, release)


def read_release(folder: Path) -> Release | None:
    """Read the release in force, or None where there never was one.

    Raises:
        IntegrityBroken: The file is no release, or not signed by this folder's key.
    """
    found = _read(folder)
    if found is not None and not (folder / KEY_FILE).exists():
        # Taken without a signature this once. Where nothing may be written, its writer signs it.
        with suppress(OSError):
            write_signed(folder, found)
    return found


def write_signed(folder: Path, release: Release) -> None:
    """Write a release of the unsigned format again, with a signature, unless that was done meanwhile."""
    with _locked(folder):
        if not (folder / KEY_FILE).exists() and _read(folder) == release:
            _write(folder, release)


def _read(folder: Path) -> Release | None:
    path = folder / RELEASE_FILE
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(content) > MOST_BYTES:
        raise _broken(path, f"it has more than {MOST_BYTES} bytes")
    try:
        fields: dict[str, Any] = json.loads(content)
        found = fields["format"]
        if found not in {UNSIGNED, FORMAT}:
            raise _broken(path, f"its format is {found!r}, this reader knows {FORMAT}")
        _check_seal(folder, fields)
        return Release(**(fields["release"] | {"mode": Mode(fields["release"]["mode"])}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _broken(path, f"it is not readable ({error})") from error


def _check_seal(folder: Path, fields: dict[str, Any]) -> None:
    """Refuse what was not written here, before anything of it is believed."""
    path, key = folder / RELEASE_FILE, _key(folder)
    if fields["format"] == UNSIGNED:
        if key is not None:
            raise _broken(path, "it has no signature, and this folder's releases have one")
        if digest_of(fields["release"]) != fields["sha256"]:
            raise _broken(path, "its checksum is not that of its content")
        return
    if key is None:
        raise _broken(path, f"the key that signed it, {KEY_FILE}, is not there")
    if not hmac.compare_digest(_signature(key, fields["release"]), str(fields["signature"])):
        raise _broken(path, "its signature is not this folder's")


def _write(folder: Path, release: Release) -> None:
    key = _key(folder)
    if key is None:
        key = secrets.token_bytes(KEY_BYTES)
        replace_file(folder / KEY_FILE, key.hex().encode(), private=True)
    signature = _signature(key, plain(release))
    content = canonical_json({"format": FORMAT, "release": release, "signature": signature})
    replace_file(folder / RELEASE_FILE, content)


def _signature(key: bytes, release: object) -> str:
    return hmac.new(key, canonical_json(release), hashlib.sha256).hexdigest()


def _key(folder: Path) -> bytes | None:
    path = folder / KEY_FILE
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _broken(path, "it is no key") from error
    if len(key) != KEY_BYTES:
        raise _broken(path, f"it has {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _stands(folder: Path, release: Release) -> bool:
    """Whether the release in force is the one that is offered, or a later one."""
    try:
        found = _read(folder)
    except IntegrityBroken:
        # What is no release is replaced by one.
        return False
    return (
        found is not None and found.model == release.model and found.order >= release.order and _agrees(found, release)
    )


def _agrees(found: Release, release: Release) -> bool:
    """Whether both have one truth: an epoch has one champion, whatever rollout is under way in it."""
    return found.epoch > release.epoch or found.champion == release.champion


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"{path} is refused", why=why, fix="promote or roll back to write it again")
