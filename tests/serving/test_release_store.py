"""A release travels by a bucket, and is believed for its signature alone."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from baton.core.errors import IntegrityBroken, Misuse, SourceMissing
from baton.packaging.bundle_store import BundleStore, pull_bundle
from baton.serving.predictor import load_predictor
from baton.serving.release_file import read_release
from baton.serving.release_store import pull, push


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """Start an S3 server with an empty bucket and give its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=stream, stderr=stream
        )
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_EC2_METADATA_DISABLED": "true"}
    before = dict(os.environ)
    os.environ.update(keys)
    try:
        _make_bucket(f"http://127.0.0.1:{port}/models")
        yield f"s3://models/all?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        server.kill()
        server.wait()
        os.environ.clear()
        os.environ.update(before)


def _make_bucket(url):
    import httpx

    for _ in range(600):
        try:
            if httpx.put(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the S3 server did not start")


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    url = str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("bucket")
    return BundleStore(url, model=f"flights-{tmp_path.name}")


@pytest.fixture
def maker(sealed, state):
    """The state folder of the machine that makes models, with its key."""
    shutil.copy(sealed.folder / "signing.key", state / "signing.key")
    return state


@pytest.fixture
def elsewhere(maker, tmp_path):
    """An empty folder of another machine that trusts the maker."""
    shutil.copytree(maker / "signers", tmp_path / "elsewhere" / "signers")
    return tmp_path / "elsewhere"


def test_what_is_pushed_here_is_served_there(store, maker, release, elsewhere):
    pushed = release(0)
    assert push(store, maker) == pushed

    assert pull(store, elsewhere, model="flights") == (pushed, "")
    assert load_predictor(elsewhere, read_release(elsewhere), max_batch_rows=4).bundle.digest == pushed.champion
    assert pull(store, elsewhere, model="flights") == (pushed, "")
    assert not list(elsewhere.glob(".pulling-*"))


def test_a_store_that_is_down_takes_nothing_from_what_was_pulled(tmp_path, maker, release, elsewhere):
    """J5, law 3: the last known good one stays."""
    store = BundleStore(str(tmp_path / "store"), model="flights")
    pushed = release(0)
    push(store, maker)
    pull(store, elsewhere, model="flights")
    nobody = "s3://models/all?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

    served, why = pull(BundleStore(nobody, model="flights"), elsewhere, model="flights")

    assert served == pushed
    assert "does not answer" in why


def test_an_older_release_put_back_into_the_store_is_not_followed(tmp_path, maker, release, elsewhere):
    """I6: its signature is good, and its epoch is not."""
    store = BundleStore(str(tmp_path / "store"), model="flights")
    release(0)
    push(store, maker)
    older = (tmp_path / "store" / "flights" / "release.json").read_bytes()
    newer = release(1, epoch=2)
    push(store, maker)
    pull(store, elsewhere, model="flights")
    (tmp_path / "store" / "flights" / "release.json").write_bytes(older)

    served, why = pull(store, elsewhere, model="flights")

    assert served == newer
    assert "it is of epoch 1" in why


@pytest.mark.parametrize("change", ["release", "bundle", "manifest", "stranger", "other model"])
def test_what_was_changed_in_the_store_is_refused(tmp_path, maker, release, elsewhere, change):
    store = BundleStore(str(tmp_path / "store"), model="flights")
    pushed = release(0)
    push(store, maker)
    place = tmp_path / "store" / "flights"
    if change == "stranger":
        shutil.rmtree(elsewhere / "signers")
    name = {"release": "release.json", "manifest": f"bundles/{pushed.champion}/manifest.json"}.get(
        change, f"bundles/{pushed.champion}/model.onnx"
    )
    content = bytearray((place / name).read_bytes())
    content[len(content) // 2] ^= 1
    if change in {"release", "bundle", "manifest"}:
        (place / name).write_bytes(content)

    with pytest.raises(IntegrityBroken):
        pull(store, elsewhere, model="other" if change == "other model" else "flights")

    assert read_release(elsewhere) is None
    assert not list(elsewhere.glob("bundles/*"))
    assert not list(elsewhere.glob(".pulling-*"))


def test_an_unsigned_bundle_does_not_travel(tmp_path, maker, elsewhere):
    from pathlib import Path

    (old,) = (Path(__file__).parents[1] / "cases" / "bundle_format_2").iterdir()
    store = BundleStore(str(tmp_path / "store"), model="flights")
    shutil.copytree(old, tmp_path / "store" / "flights" / "bundles" / old.name)
    with pytest.raises(IntegrityBroken, match="has no signature"):
        pull_bundle(store, old.name, tmp_path / "nobody")


def test_nothing_to_push_and_nowhere_to_push_to_are_said(tmp_path):
    with pytest.raises(SourceMissing, match="no champion yet"):
        push(BundleStore(str(tmp_path), model="flights"), tmp_path / "none")
    with pytest.raises(SourceMissing, match="Push it with baton push"):
        pull(BundleStore(str(tmp_path), model="flights"), tmp_path / "none", model="flights")
    with pytest.raises(Misuse, match="Name a folder"):
        BundleStore("ftp://somewhere", model="flights")


def test_a_later_revision_is_followed(tmp_path, maker, release, elsewhere):
    store = BundleStore(str(tmp_path / "store"), model="flights")
    first = release(0)
    push(store, maker)
    pull(store, elsewhere, model="flights")
    second = release(0, revision=1)
    assert second == replace(first, revision=1)
    push(store, maker)
    assert pull(store, elsewhere, model="flights") == (second, "")
