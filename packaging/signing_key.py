"""The key that signs an installation's bundles, and whom it trusts.

The private key is made at the first seal, readable by its owner alone, unless
one from elsewhere is named (`BATON_SIGNING_KEY`). Signatures are deterministic
(RFC 6979): the same bundle has the same one.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.digest import canonical_json
from baton.core.errors import Misuse, SourceMissing
from baton.core.whole_file import replace_file
from baton.packaging.signature import (
    PAYLOAD_TYPE,
    REVOKED,
    SHOWN,
    SIGNERS,
    UNSIGNED,
    algorithm_of,
    envelope,
    fingerprint_of,
    pem_of,
    statement,
    to_be_signed,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

KEY_FILE = "signing.key"
LOCK_FILE = ".signing.lock"
BUNDLES = "bundles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key that has been trusted here, and its name."""

    fingerprint: str
    revoked: bool


def sign(folder: Path, name: str, digests: Mapping[str, str], *, key: Path | None = None) -> bytes:
    """Give the signature of a bundle's files by the installation's key.

    Args:
        folder: The model's state folder.
        name: The bundle's digest, which names its folder.
        digests: SHA-256 of each file, the manifest among them.
        key: A private key from elsewhere, PEM without a password.

    Raises:
        SourceMissing: The key from elsewhere is not there.
        Misuse: It is no elliptic curve key, or it is revoked.
    """
    return sign_payload(folder, statement(name, digests), key=key)


def sign_payload(folder: Path, payload: bytes, *, kind: str = PAYLOAD_TYPE, key: Path | None = None) -> bytes:
    """Give a payload of some type in its signed envelope; see `sign`."""
    private = _private_key(folder, key)
    public = private.public_key()
    signature = private.sign(to_be_signed(payload, kind=kind), algorithm_of(public, deterministic=True))
    return envelope(payload, signature, fingerprint_of(public), kind=kind)


def signers(folder: Path) -> tuple[Signer, ...]:
    """List whom a model's folder trusts, and whom no more."""
    place = folder / SIGNERS
    live = [Signer(fingerprint=path.stem, revoked=False) for path in sorted(place.glob("*.pem"))]
    return (*live, *(Signer(fingerprint=each.stem, revoked=True) for each in sorted((place / REVOKED).glob("*.pem"))))


def trust(folder: Path, pem: bytes) -> str:
    """Trust the bundles that a public key has signed; give its fingerprint.

    Raises:
        Misuse: It is no elliptic curve public key, or was revoked.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Misuse(
            what="the key is not trusted", why="it is no elliptic curve public key in PEM", fix="export it with openssl"
        )
    algorithm_of(key)
    with _locked(folder):
        _refuse_revoked(folder, fingerprint_of(key))
        _trust(folder, key)
    return fingerprint_of(key)


def revoke(folder: Path, fingerprint: str) -> str:
    """Trust a key no more, nor anything that it has signed; the next seal makes another of one's own.

    Args:
        folder: The model's state folder.
        fingerprint: The key's name or its beginning.

    Raises:
        SourceMissing: No trusted key, or more than one, begins so.
    """
    with _locked(folder):
        found = [each for each in signers(folder) if not each.revoked and each.fingerprint.startswith(fingerprint)]
        if len(found) != 1:
            raise SourceMissing(
                what=f"{fingerprint} is not revoked",
                why=f"{len(found)} trusted keys begin so",
                fix="look at baton signer list",
            )
        name = found[0].fingerprint
        place = folder / SIGNERS
        (place / REVOKED).mkdir(exist_ok=True)
        own = folder / KEY_FILE
        if own.is_file() and fingerprint_of(_load(own).public_key()) == name:
            own.rename(own.with_suffix(f".revoked-{name[:SHOWN]}"))
        (place / f"{name}.pem").rename(place / REVOKED / f"{name}.pem")
    return name


def _private_key(folder: Path, given: Path | None) -> ec.EllipticCurvePrivateKey:
    with _locked(folder):
        path = given or folder / KEY_FILE
        if given is None and not path.exists():
            _make(path)
        key = _load(path)
        fingerprint = fingerprint_of(key.public_key())
        _refuse_revoked(folder, fingerprint)
        # A key that was made here is trusted here; one from elsewhere where nobody is yet.
        first = not (folder / SIGNERS).exists()
        if first:
            _keep_unsigned(folder)
        if first or given is None:
            _trust(folder, key.public_key())
        return key


def _keep_unsigned(folder: Path) -> None:
    """Name the bundles that are older than the first key: they have no signature and stay readable, others are not."""
    there = sorted(each.name for each in (folder / BUNDLES).glob("[0-9a-f]*") if each.is_dir())
    replace_file(folder / SIGNERS / UNSIGNED, canonical_json(there))


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_file(path, pem, private=True)


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise SourceMissing(
            what="the bundle cannot be signed", why=f"there is no key {path}", fix="set BATON_SIGNING_KEY"
        ) from error
    except (ValueError, TypeError) as error:
        raise Misuse(
            what="the bundle cannot be signed", why=f"{path} is no private key without a password", fix="write PEM"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misuse(
            what="the bundle cannot be signed", why=f"{path} is no elliptic curve key", fix="make one with openssl"
        )
    return key


def _trust(folder: Path, key: ec.EllipticCurvePublicKey) -> None:
    path = folder / SIGNERS / f"{fingerprint_of(key)}.pem"
    if not path.exists():
        replace_file(path, pem_of(key))


def _refuse_revoked(folder: Path, fingerprint: str) -> None:
    if (folder / SIGNERS / REVOKED / f"{fingerprint}.pem").exists():
        raise Misuse(
            what=f"the key {fingerprint[:SHOWN]} is not used",
            why="it is revoked here",
            fix="use another key",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
