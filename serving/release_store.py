"""The release of a store: pushed where models are made, pulled where they are served.

It is signed by the key that signs bundles, since whoever may write to a bucket
is not yet whoever may say what is served. The machine that pulls keeps what it
has: a store that is down or broken takes no champion from it, and one that
offers an older release than it knows is not followed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.core.errors import DependencyDown, IntegrityBroken, SourceMissing
from baton.core.release import Mode, Release
from baton.packaging.bundle_store import BUNDLES, BundleStore, pull_bundle, push_bundle
from baton.packaging.signature import SIGNERS, signed_payload
from baton.packaging.signing_key import sign_payload
from baton.serving.release_file import MOST_BYTES, RELEASE_FILE, move_release, read_release

if TYPE_CHECKING:
    from collections.abc import Iterable

KIND = "application/vnd.baton.release+json"


def push(store: BundleStore, folder: Path, *, key: Path | None = None) -> Release:
    """Put the release in force into a store, its bundles before it.

    Args:
        store: Where to.
        folder: The model's state folder.
        key: A private key from elsewhere; the installation's own where left out.

    Raises:
        SourceMissing: Nothing is released.
        DependencyDown: The store does not take it.
    """
    release = read_release(folder)
    if release is None:
        raise SourceMissing(what="nothing is pushed", why="there is no champion yet", fix="promote a model")
    for digest in _bundles(release):
        push_bundle(store, folder / BUNDLES / digest)
    store.put(RELEASE_FILE, sign_payload(folder, canonical_json(release), kind=KIND, key=key))
    return release


def pull(store: BundleStore, folder: Path, *, model: str) -> tuple[Release, str]:
    """Serve what a store says, as far as it can be had and believed; say what is served, and why nothing newer is.

    Raises:
        DependencyDown: The store does not answer, and nothing was pulled before.
        IntegrityBroken: What it offers is refused, and nothing was pulled before.
        SourceMissing: It has no release, and nothing was pulled before.
    """
    known = read_release(folder)
    try:
        offered = _release(store.get(RELEASE_FILE, most=MOST_BYTES), folder, model)
        _refuse_older(offered, known)
        for digest in _bundles(offered):
            pull_bundle(store, digest, folder)
        move_release(folder, offered)
    except (DependencyDown, IntegrityBroken, SourceMissing) as error:
        if known is None:
            raise
        return known, str(error)
    return offered, ""


def _refuse_older(offered: Release, known: Release | None) -> None:
    if known is not None and offered.order < known.order:
        raise IntegrityBroken(
            what="the release of the store is refused",
            why=f"it is of epoch {offered.epoch}, revision {offered.revision}; "
            f"epoch {known.epoch}, revision {known.revision} was pulled before",
            fix="push again from where models are made",
        )


def _release(content: bytes, folder: Path, model: str) -> Release:
    payload, _ = signed_payload(content, signers=folder / SIGNERS, where="the release of the store", kind=KIND)
    try:
        fields: dict[str, Any] = json.loads(payload)
        release = Release(**(fields | {"mode": Mode(fields["mode"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityBroken(
            what="the release of the store is refused", why=f"it is not readable ({error})", fix="push it again"
        ) from error
    if release.model != model:
        raise IntegrityBroken(
            what="the release of the store is refused",
            why=f"it is of the model {release.model!r}, expected {model!r}",
            fix="name the store of this model",
        )
    return release


def _bundles(release: Release) -> Iterable[str]:
    return filter(None, (release.previous, release.challenger, release.champion))
