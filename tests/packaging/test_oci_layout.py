"""An image is the same bytes for the same inputs, and holds nothing that its digests do not name."""

import gzip
import hashlib
import json
import os
import tarfile
import zipfile

import pytest

from baton.core.errors import IntegrityBroken, Misuse, SourceMissing
from baton.packaging.image_recipe import recipe_from
from baton.packaging.oci_layout import read_base
from baton.packaging.serving_image import write_base_image, write_serving_image
from baton.packaging.wheelhouse import unpack


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blob(layout, digest):
    path = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    assert sha256(path) == path.name
    return path


def manifest_of(layout, digest):
    return json.loads(blob(layout, digest).read_bytes())


def wheel(folder, name, files):
    path = folder / "wheels" / f"{name}-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
    return path


@pytest.fixture
def wheels(tmp_path):
    """A build folder with one locked wheel and Baton's own."""
    folder = tmp_path / "context"
    locked = wheel(
        folder,
        "tiny",
        {"tiny/__init__.py": "A = 1\n", "tiny-1.0.data/platlib/deep/x.so": "ELF", "tiny-1.0.data/scripts/run": "#!"},
    )
    own = wheel(folder, "baton", {"baton/__init__.py": "", "baton-1.0.dist-info/METADATA": "Name: baton"})
    (folder / "requirements.txt").write_text(
        f"tiny==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{sha256(locked)}\n"
    )
    (folder / "baton.txt").write_text(f"baton==1.0 --hash=sha256:{sha256(own)}\n")
    return folder


@pytest.fixture
def base(tmp_path):
    """A base image of one file, as a layout, with its digest."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python3").write_text("not really")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(root / "bin", "bin")
    layout = tmp_path / "base"
    return layout, write_base_image(tmp_path / "root.tar", sha256=sha256(tmp_path / "root.tar"), out=layout)


@pytest.fixture
def recipe(base):
    return recipe_from(base=f"base@{base[1]}", model="flights")


def test_the_same_inputs_give_the_same_digest_whenever_and_however_they_lie_there(wheels, base, recipe, tmp_path):
    first = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "first")
    for path in wheels.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "second")
    finally:
        os.umask(before)

    assert first == second
    assert {p.name for p in (tmp_path / "first").rglob("*")} == {p.name for p in (tmp_path / "second").rglob("*")}


def test_another_byte_gives_another_digest(wheels, base, recipe, tmp_path):
    first = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "first")
    own = wheel(wheels, "baton", {"baton/__init__.py": "#"})
    (wheels / "baton.txt").write_text(f"baton==1.0 --hash=sha256:{sha256(own)}\n")
    second = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "second")

    layers = [manifest_of(tmp_path / n, d)["layers"] for n, d in (("first", first), ("second", second))]
    # The layers of the base and of the locked wheels stay as they are.
    assert layers[0][:2] == layers[1][:2]
    assert layers[0][2] != layers[1][2]


def test_every_blob_is_named_by_its_bytes_and_every_layer_by_what_it_unpacks_to(wheels, base, recipe, tmp_path):
    digest = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "out")

    (named,) = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    assert named["digest"] == digest
    manifest = manifest_of(tmp_path / "out", digest)
    config = manifest_of(tmp_path / "out", manifest["config"]["digest"])
    plain = [gzip.decompress(blob(tmp_path / "out", each["digest"]).read_bytes()) for each in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in plain]
    assert [each["size"] for each in manifest["layers"]] == [
        blob(tmp_path / "out", each["digest"]).stat().st_size for each in manifest["layers"]
    ]
    assert config["config"]["User"] == "10001:10001"
    assert "BATON_SERVING_MODEL=flights" in config["config"]["Env"]
    assert any(each.startswith("PATH=") for each in config["config"]["Env"])


def test_what_is_in_the_layers_is_roots_of_1970_and_has_no_scripts(wheels, base, recipe, tmp_path):
    digest = write_serving_image(recipe, wheels=wheels, base=base[0], out=tmp_path / "out")
    held = {}
    for each in manifest_of(tmp_path / "out", digest)["layers"][1:]:
        with tarfile.open(blob(tmp_path / "out", each["digest"])) as archive:
            held |= {entry.name: entry for entry in archive}

    assert {name for name, entry in held.items() if entry.isfile()} == {
        "opt/baton/tiny/__init__.py", "opt/baton/deep/x.so",
        "opt/baton/baton/__init__.py", "opt/baton/baton-1.0.dist-info/METADATA",
    }  # fmt: skip
    assert {(entry.uid, entry.gid, entry.mtime) for entry in held.values()} == {(0, 0, 0)}


def test_a_tampered_wheel_is_refused(wheels, tmp_path):
    """R16: what is not the lock file's is not installed."""
    with (wheels / "wheels" / "tiny-1.0-py3-none-any.whl").open("ab") as stream:
        stream.write(b"\0")

    with pytest.raises(IntegrityBroken, match=r"tiny-1\.0"):
        unpack(wheels, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_wheel_that_nobody_locked_is_refused(wheels, tmp_path):
    wheel(wheels, "stranger", {"stranger.py": ""})

    with pytest.raises(IntegrityBroken, match="stranger"):
        unpack(wheels, tmp_path / "into")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "tiny/../../x", "tiny-1.0.data/purelib/../../../x"])
def test_a_wheel_that_names_files_elsewhere_is_refused(wheels, tmp_path, name):
    own = wheel(wheels, "baton", {name: ""})
    (wheels / "baton.txt").write_text(f"baton==1.0 --hash=sha256:{sha256(own)}\n")

    with pytest.raises(IntegrityBroken, match="names"):
        unpack(wheels, tmp_path / "into")


def test_a_base_with_another_byte_is_refused(base, wheels, recipe, tmp_path):
    """R16: images are known by their digest."""
    layout, digest = base
    layer = blob(layout, manifest_of(layout, digest)["layers"][0]["digest"])
    content = bytearray(layer.read_bytes())
    content[-1] ^= 1
    layer.write_bytes(content)

    with pytest.raises(IntegrityBroken, match="SHA-256"):
        write_serving_image(recipe, wheels=wheels, base=layout, out=tmp_path / "out")


def test_a_base_that_is_not_there_is_said_to_be_missing(base, tmp_path):
    with pytest.raises(SourceMissing, match="no image"):
        read_base(base[0], digest="sha256:" + "00" * 32)


def test_a_root_file_system_of_other_bytes_is_refused(base, tmp_path):
    with pytest.raises(Misuse, match="refused"):
        write_base_image(tmp_path / "root.tar", sha256="00" * 32, out=tmp_path / "out")
