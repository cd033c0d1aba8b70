"""Who has sealed a bundle is checked before every load, the way OpenSSF model signing does."""

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.digest import digest_of_bytes
from baton.core.errors import IntegrityBroken, Misuse, SourceMissing
from baton.packaging.onnx_inspection import inspect_model
from baton.packaging.reader import open_bundle, open_contents
from baton.packaging.seal import seal
from baton.packaging.signature import SIGNATURE, fingerprint_of, pem_of, verify_signature
from baton.packaging.signing_key import revoke, sign, signers, trust
from baton.testing.tampering import bit_flips, copied, models, rehashed, signers_changed

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture(scope="module")
def material(linear, fields, holdout, reference):
    return {
        "model": "flights",
        "pipeline": linear,
        "model_digest": "ab" * 32,
        "fields": fields,
        "profile": reference,
        "holdout": holdout,
        "golden": holdout.iloc[:16],
        "facts": {"snapshot": "cd" * 32, "metrics": {"auc": 0.74}},
    }


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, material):
    return seal(tmp_path_factory.mktemp("state"), **material, epoch=4).path


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def digests_of(path):
    return {file.name: digest_of_bytes(file.read_bytes()) for file in path.iterdir() if file.name != SIGNATURE}


def refused(attack):
    try:
        open_contents(attack.path)
    except IntegrityBroken as error:
        return str(error)
    return ""


def test_single_flipped_bits_are_refused(sealed, tmp_path):
    """I1: anywhere in the folder, in the signature too."""
    assert [attack for attack in bit_flips(sealed, tmp_path, count=200, seed=1) if not refused(attack)] == []


def test_a_manifest_with_matching_hashes_is_refused(sealed, tmp_path):
    """I2: hashes are not who made them."""
    said = [refused(attack) for attack in rehashed(sealed, tmp_path)]
    assert len(said) == 11
    assert all("its signature is of other files" in each for each in said)


def test_whoever_else_has_signed_is_refused_with_the_reason(sealed, tmp_path):
    """I3: nobody, a stranger, a stranger in the signer's name, a revoked key, an old signature, an older format."""
    said = {attack.kind: refused(attack) for attack in signers_changed(sealed, tmp_path)}
    assert "it lacks model.sig" in said["signature missing"]
    assert "and trusted is" in said["signed by a stranger"]
    assert "its signature does not fit" in said["signed by a stranger in another's name"]
    assert "is revoked" in said["signed by a revoked key"]
    assert "its signature is of other files" in said["old signature on new files"]
    assert "its format 2 has no signature, and bundles are signed here" in said["written as an unsigned format"]


def test_what_is_no_graph_is_refused_before_a_runtime_sees_it(sealed, tmp_path):
    """I4, R2, R8: even where a trusted key has signed it."""
    said = {attack.kind: refused(attack) for attack in models(sealed, tmp_path)}
    assert len(said) == 11
    assert [kind for kind, why in said.items() if not why] == []
    assert "keeps tensors outside" in said["external tensors"]
    assert "operators of com.example" in said["a custom operator"]
    assert "more than 5000 nodes" in said["10,000 nodes"]
    assert "no ONNX model" in said["a pickle named .onnx"]


@settings(max_examples=300)
@given(st.data())
def test_bytes_of_any_kind_are_passed_or_refused_and_nothing_else(data):
    """I4: a file that was cut, grown or overwritten anywhere ends in one way."""
    (folder,) = (CASES / "bundle_format_2").iterdir()
    content = (folder / "model.onnx").read_bytes()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    with suppress(IntegrityBroken):
        inspect_model(content[:start] + data.draw(st.binary(max_size=40)) + content[stop:], where="m")


def test_what_baton_signs_is_verified_by_model_signing(sealed, tmp_path):
    """R16: with the project's own library, as anybody else would."""
    import model_signing

    (public,) = (sealed.parents[1] / "signers").glob("*.pem")
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(sealed, sealed / SIGNATURE)
    bundle = copied(sealed, tmp_path)
    (bundle / "card.md").write_bytes(b"other")
    with pytest.raises(ValueError, match="mismatch"):
        model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(bundle, bundle / SIGNATURE)


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_what_model_signing_signs_is_opened_here(sealed, tmp_path, curve):
    import model_signing

    key = ec.generate_private_key(curve())
    (tmp_path / "key.pem").write_bytes(pem(key))
    bundle = copied(sealed, tmp_path)
    (bundle / SIGNATURE).unlink()
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    config.set_hashing_config(hashing).sign(bundle, bundle / SIGNATURE)

    with pytest.raises(IntegrityBroken, match="trusted is"):
        open_bundle(bundle)
    assert trust(tmp_path, pem_of(key.public_key())) == fingerprint_of(key.public_key())
    assert open_bundle(bundle).digest == sealed.name


def test_the_same_bundle_has_the_same_signature(sealed, material):
    """Sealing twice changes no byte, the signature's among them."""
    before = {file.name: file.read_bytes() for file in sealed.iterdir()}

    assert seal(sealed.parents[1], **material, epoch=4).path == sealed
    assert {file.name: file.read_bytes() for file in sealed.iterdir()} == before


def test_a_key_from_elsewhere_signs_and_is_not_kept(material, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "offline.pem").write_bytes(pem(key))

    path = seal(tmp_path / "state", **material, signing_key=tmp_path / "offline.pem").path

    hint = json.loads((path / SIGNATURE).read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    assert hint == fingerprint_of(key.public_key())
    assert not (tmp_path / "state" / "signing.key").exists()


def test_after_a_revocation_the_next_seal_has_a_new_key(sealed, material, tmp_path):
    bundle = copied(sealed, tmp_path)
    shutil.copy(sealed.parents[1] / "signing.key", tmp_path / "signing.key")
    (own,) = signers(tmp_path)

    revoke(tmp_path, own.fingerprint[:8])
    with pytest.raises(IntegrityBroken, match="is revoked"):
        open_bundle(bundle)

    assert open_bundle(seal(tmp_path, **material, epoch=4).path).digest == sealed.name
    assert {each.revoked for each in signers(tmp_path)} == {True, False}
    with pytest.raises(Misuse, match="it is revoked here"):
        trust(tmp_path, (tmp_path / "signers" / "revoked" / f"{own.fingerprint}.pem").read_bytes())
    with pytest.raises(SourceMissing, match="0 trusted keys begin so"):
        revoke(tmp_path, "zz")


@pytest.mark.parametrize("content", [b"", b"no key", pem(ec.generate_private_key(ec.SECP256R1()))])
def test_what_is_no_public_key_is_not_trusted(tmp_path, content):
    with pytest.raises(Misuse, match="no elliptic curve public key"):
        trust(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no key", "is no private key"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "is no elliptic curve key"),
        (None, "there is no key"),
    ],
)
def test_a_key_that_cannot_sign_is_named(tmp_path, content, why):
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises((Misuse, SourceMissing), match=why):
        sign(tmp_path, "a" * 64, {"f": "b" * 64}, key=tmp_path / "key.pem")


def test_the_private_key_is_its_owners_alone(sealed):
    assert (sealed.parents[1] / "signing.key").stat().st_mode & 0o077 == 0


def test_bundles_of_the_format_before_signatures_stay_readable():
    (folder,) = (CASES / "bundle_format_2").iterdir()

    contents = open_contents(folder)

    assert (contents.bundle.model, contents.bundle.epoch) == ("parcels", 0)
    assert len(contents.golden.rows) == 16


def test_bundles_from_before_the_first_key_stay_readable_and_later_unsigned_ones_are_not(material, tmp_path):
    (folder,) = (CASES / "bundle_format_2").iterdir()
    old = shutil.copytree(folder, tmp_path / "bundles" / folder.name)
    seal(tmp_path, **material)

    assert open_bundle(Path(old)).model == "parcels"
    seal(tmp_path / "other", **material)
    late = shutil.copytree(folder, tmp_path / "other" / "bundles" / folder.name)
    with pytest.raises(IntegrityBroken, match="has no signature"):
        open_bundle(Path(late))


def test_a_release_from_before_the_bundle_was_sealed_is_refused(sealed):
    """I6: the epoch is under the signature."""
    from baton.core.release import Release
    from baton.serving.predictor import load_predictor

    release = Release(model="flights", epoch=4, version="5", champion=sealed.name)
    assert load_predictor(sealed.parents[1], release, max_batch_rows=4).bundle.epoch == 4
    with pytest.raises(IntegrityBroken, match="sealed in epoch 4, and the release says epoch 3"):
        load_predictor(sealed.parents[1], replace(release, epoch=3), max_batch_rows=4)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"dsseEnvelope": {"payload": "!", "signatures": []}}', b"[" * 100_000]
)
def test_a_signature_that_is_none_is_refused_in_one_line(sealed, content):
    with pytest.raises(IntegrityBroken, match="not readable"):
        verify_signature(content, digests=digests_of(sealed), signers=sealed.parents[1] / "signers", where="b")


def test_verifying_imports_no_more_than_cryptography(sealed):
    code = (
        "import sys; from pathlib import Path; from baton.packaging.reader import open_bundle; "
        f"open_bundle(Path({str(sealed)!r})); "
        "assert not {'numpy', 'onnx', 'onnxruntime', 'model_signing', 'sigstore', 'pandas'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
