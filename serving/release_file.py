"""The release pointer: a small file beside the bundles that says which one is served.

Format version 1: canonical JSON with the release and its own SHA-256, so that
half a file or a hand-edited one is never taken for a release. Serving reads
nothing else to know its champion, whatever registry or database is down.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json, digest_of, plain
from baton.core.errors import IntegrityBroken
from baton.core.release import Mode, Release
from baton.core.whole_file import replace_file

RELEASE_FILE = "release.json"
LOCK_FILE = ".release.lock"
FORMAT = 1
# A release has seven short fields.
MOST_BYTES = 1 << 16


def write_release(folder: Path, release: Release) -> Path:
    """Point a model's serving at a release, atomically, unless it points at a later epoch already.

    A process that was paused before it wrote does not take serving back.

    Args:
        folder: The model's state folder.
        release: What is served from now on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RELEASE_FILE
    with (folder / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _stands(folder, release):
            content = canonical_json({"format": FORMAT, "release": release, "sha256": digest_of(release)})
            replace_file(path, content)
    return path


def _stands(folder: Path, release: Release) -> bool:
    """Whether the release in force is the one that is offered, or of a later epoch."""
    try:
        found = read_release(folder)
    except IntegrityBroken:
        # What is no release is replaced by one.
        return False
    return found == release or (found is not None and found.model == release.model and found.epoch > release.epoch)


def read_release(folder: Path) -> Release | None:
    """Read the release in force, or None where there never was one.

    Raises:
        IntegrityBroken: The file is no release, or not the one that was written.
    """
    path = folder / RELEASE_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) > MOST_BYTES:
        raise _broken(path, f"it has {len(content)} bytes")
    try:
        fields: dict[str, Any] = json.loads(content)
        if fields["format"] != FORMAT:
            raise _broken(path, f"its format is {fields['format']!r}, this reader knows {FORMAT}")
        release = Release(**(fields["release"] | {"mode": Mode(fields["release"]["mode"])}))
        sealed = digest_of(plain(release))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _broken(path, f"it is not readable ({error})") from error
    if sealed != fields.get("sha256"):
        raise _broken(path, "its checksum is not that of its content")
    return release


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"{path} is refused", why=why, fix="promote or roll back to write it again")
