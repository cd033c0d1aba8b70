"""A bundle that is not byte for byte what was sealed is not opened."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from baton.core.digest import canonical_json, digest_of_bytes
from baton.core.errors import IntegrityBroken, SourceMissing
from baton.packaging.manifest import FILES
from baton.packaging.reader import open_bundle
from baton.packaging.seal import seal


@pytest.fixture(scope="session")
def sealed(tmp_path_factory, linear, fields, holdout, reference):
    return seal(
        tmp_path_factory.mktemp("state"),
        model="flights",
        pipeline=linear,
        model_digest="ab" * 32,
        fields=fields,
        profile=reference,
        holdout=holdout,
        golden=holdout.iloc[:16],
        facts={},
    )


@pytest.fixture
def bundle(sealed, tmp_path):
    shutil.copytree(sealed.path.parents[1] / "signers", tmp_path / "signers")
    return shutil.copytree(sealed.path, tmp_path / "bundles" / sealed.digest)


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_changed_bit_is_found_and_the_file_named(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)

    with pytest.raises(IntegrityBroken, match=name):
        open_bundle(bundle)


def test_a_file_that_grew_is_refused_by_its_size(bundle):
    with (bundle / "model.onnx").open("ab") as stream:
        stream.write(b"\0")

    with pytest.raises(IntegrityBroken, match=r"model\.onnx is refused: it has"):
        open_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "parity.json").unlink()

    with pytest.raises(IntegrityBroken, match=r"lacks parity\.json"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["model.pkl", "golden.json.bak", ".hidden", "extra.onnx"])
def test_a_file_that_no_bundle_has_is_refused(bundle, name):
    (bundle / name).write_bytes(b"x")

    with pytest.raises(IntegrityBroken, match=name):
        open_bundle(bundle)


def test_a_symbolic_link_is_refused(bundle, tmp_path):
    (bundle / "model.onnx").rename(tmp_path / "elsewhere")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IntegrityBroken, match=r"model\.onnx is refused.*links"):
        open_bundle(bundle)


def test_a_hard_link_is_refused(bundle, tmp_path):
    os.link(bundle / "model.onnx", tmp_path / "second-name")

    with pytest.raises(IntegrityBroken, match="is a link"):
        open_bundle(bundle)


def test_a_pipe_in_place_of_a_file_does_not_block(bundle):
    (bundle / "facts.json").unlink()
    os.mkfifo(bundle / "facts.json")

    with pytest.raises(IntegrityBroken, match=r"facts\.json is refused"):
        open_bundle(bundle)


def test_a_changed_manifest_no_longer_fits_the_folders_name(bundle):
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["model"] = "other"
    (bundle / "manifest.json").write_bytes(canonical_json(manifest))

    with pytest.raises(IntegrityBroken, match=r"manifest\.json is refused"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 4}, "its format is 4"),
        ({"format": 2}, "an epoch is in it where none belongs"),
        ({"epoch": -1}, "its epoch is -1"),
        ({"files": {}}, "other files than a bundle has"),
        ({"files": None}, "not readable"),
        ({"strange": 1}, "not readable"),
    ],
    ids=[
        "of another format",
        "of an older format",
        "of no epoch",
        "without files",
        "with no list of files",
        "with an unknown key",
    ],
)
def test_a_manifest_that_is_well_named_but_wrong_is_refused(bundle, change, reason):
    content = canonical_json(json.loads((bundle / "manifest.json").read_bytes()) | change)
    (bundle / "manifest.json").write_bytes(content)

    with pytest.raises(IntegrityBroken, match=reason):
        open_bundle(bundle.rename(bundle.with_name(digest_of_bytes(content))))


def test_a_bundle_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(SourceMissing):
        open_bundle(tmp_path / "none")


def test_the_reader_imports_no_vendor():
    heavy = "{'numpy', 'pandas', 'onnx', 'onnxruntime', 'sklearn'}"
    code = f"import sys, baton.packaging.reader; sys.exit(bool({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
