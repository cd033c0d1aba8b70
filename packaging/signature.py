"""A bundle's signature, as OpenSSF model signing 1.0 writes and verifies it.

`model.sig` is a Sigstore bundle: a DSSE envelope around an in-toto statement
that names every file of the folder with its SHA-256, signed by an elliptic
curve key. `model_signing verify key` accepts it, and so is what
`model_signing sign key` writes accepted here. Who is trusted lies in the
model's folder, beside `bundles/`:

    signers/FINGERPRINT.pem            a trusted public key
    signers/revoked/FINGERPRINT.pem    one that is trusted no more
    signers/unsigned.json              bundles from before there were signatures
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.errors import IntegrityBroken, listed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE = "model.sig"
SIGNERS = "signers"
REVOKED = "revoked"
UNSIGNED = "unsigned.json"
# A signature of a bundle has some kilobytes.
SIGNATURE_BYTES = 1 << 20
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
# Git's own files are left out by model_signing where nothing else is said; a bundle holds none.
IGNORED = [SIGNATURE]
SHOWN = 12


def statement(name: str, digests: Mapping[str, str]) -> bytes:
    """Write what is signed: the folder's name, and the SHA-256 of each file."""
    resources = [{"name": file, "algorithm": "sha256", "digest": digests[file]} for file in sorted(digests)]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": IGNORED}
    payload = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(digests)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    return json.dumps(payload, sort_keys=True).encode()


def envelope(payload: bytes, signature: bytes, fingerprint: str, *, kind: str = PAYLOAD_TYPE) -> bytes:
    """Put a signed payload of some type into the file's format."""
    signed = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": fingerprint}, "tlogEntries": []}
    return json.dumps({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": signed}).encode()


def to_be_signed(payload: bytes, *, kind: str = PAYLOAD_TYPE) -> bytes:
    """Give DSSE's encoding of a payload with its type, which is what the key signs."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def fingerprint_of(key: ec.EllipticCurvePublicKey) -> str:
    """Name a public key by the SHA-256 of its PEM."""
    return hashlib.sha256(pem_of(key)).hexdigest()


def pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Write a public key as PEM."""
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def verify_signature(content: bytes, *, digests: Mapping[str, str], signers: Path, where: str) -> str:
    """Refuse a bundle that no trusted key has signed as it is; give the signer's fingerprint.

    Args:
        content: The bytes of `model.sig`.
        digests: SHA-256 of each of the bundle's files, the manifest among them.
        signers: The folder of trusted keys.
        where: The bundle, for the message.

    Raises:
        IntegrityBroken: The signature is none, by nobody that is trusted, by
            a revoked key, of other bytes, or of other files.
    """
    payload, hint = signed_payload(content, signers=signers, where=where)
    if not _covers(payload, digests):
        raise _refused(where, "its signature is of other files")
    return hint


def signed_payload(content: bytes, *, signers: Path, where: str, kind: str = PAYLOAD_TYPE) -> tuple[bytes, str]:
    """Give what a trusted key has signed, and the key's fingerprint.

    Raises:
        IntegrityBroken: It is not readable, of another type, by nobody that is
            trusted, by a revoked key, or of other bytes.
    """
    try:
        fields: dict[str, Any] = json.loads(content)
        signed = fields["dsseEnvelope"]
        hint = fields["verificationMaterial"]["publicKey"]["hint"]
        payload, signature = (
            base64.b64decode(each, validate=True) for each in (signed["payload"], signed["signatures"][0]["sig"])
        )
        kinds = (fields["mediaType"], signed["payloadType"], len(signed["signatures"]))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise _refused(where, f"its signature is not readable ({type(error).__name__})") from error
    if kinds != (MEDIA_TYPE, kind, 1):
        raise _refused(where, "its signature is of another kind than is read here")
    _verify(_trusted(hint, signers, where), signature, to_be_signed(payload, kind=kind), where)
    return payload, str(hint)


def unsigned_bundles(signers_folder: Path) -> frozenset[str] | None:
    """Read which bundles need no signature; None where nobody has ever signed here."""
    try:
        return frozenset(json.loads((signers_folder / UNSIGNED).read_bytes()))
    except FileNotFoundError:
        return frozenset() if signers_folder.exists() else None


def _trusted(hint: object, signers: Path, where: str) -> ec.EllipticCurvePublicKey:
    """Find the trusted key that a signature names."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    known = {path.stem: path for path in signers.glob("*.pem")}
    revoked = {path.stem for path in (signers / REVOKED).glob("*.pem")}
    shown = str(hint)[:SHOWN]
    if hint in revoked:
        raise _refused(where, f"the key that signed it, {shown}, is revoked", fix="seal the model again")
    if not isinstance(hint, str) or hint not in known:
        trusted = listed(sorted(name[:SHOWN] for name in known)) or "nobody"
        raise _refused(
            where,
            f"it is signed by {shown}, and trusted is {trusted}",
            fix=f"put the signer's public key into {signers}",
        )
    try:
        key = serialization.load_pem_public_key(known[hint].read_bytes())
    except (ValueError, OSError) as error:
        raise _refused(where, f"the trusted key {shown} is not readable", fix=f"mend {known[hint]}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or fingerprint_of(key) != hint:
        raise _refused(where, f"the trusted key {shown} is another one", fix=f"mend {known[hint]}")
    return key


def _verify(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes, where: str) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, content, algorithm_of(key))
    except InvalidSignature as error:
        raise _refused(where, "its signature does not fit") from error


def algorithm_of(key: ec.EllipticCurvePublicKey, *, deterministic: bool = False) -> ec.ECDSA:
    """Give the signature algorithm of a key's curve, as Sigstore pairs them."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    known: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
        "secp256r1": hashes.SHA256,
        "secp384r1": hashes.SHA384,
        "secp521r1": hashes.SHA512,
    }
    if key.curve.name not in known:
        raise IntegrityBroken(
            what="a signing key is refused",
            why=f"its curve is {key.curve.name}, expected {listed(known)}",
            fix="make a key with openssl ecparam -name prime256v1 -genkey",
        )
    return ec.ECDSA(known[key.curve.name](), deterministic_signing=deterministic)


def _covers(payload: bytes, digests: Mapping[str, str]) -> bool:
    """Say whether a statement is of these files, all of them and no others."""
    try:
        said: dict[str, Any] = json.loads(payload)
        resources = said["predicate"]["resources"]
        found = {each["name"]: each["digest"] for each in resources if each["algorithm"] == "sha256"}
        (subject,) = said["subject"]
        kinds = (said["_type"], said["predicateType"], said["predicate"]["serialization"]["method"])
        root = subject["digest"]["sha256"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    whole = len(resources) == len(found) == len(digests)
    return (
        whole
        and kinds == (STATEMENT_TYPE, PREDICATE_TYPE, "files")
        and found == dict(digests)
        and root == _root(digests)
    )


def _root(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digests[name]) for name in sorted(digests))).hexdigest()


def _refused(where: str, why: str, *, fix: str = "get the bundle from where it was sealed") -> IntegrityBroken:
    return IntegrityBroken(what=f"{where} is refused", why=why, fix=fix)
