"""The serving image, made in both ways from the locked wheels with no network, and started as it will run.

It installs buildah, podman, runc and mmdebstrap where they are missing, makes
a base of Debian's packages, and skips with a loud word where it cannot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from baton.core.digest import digest_of_file
from baton.core.errors import IntegrityBroken, NotPromotable
from baton.packaging.image_recipe import containerfile, recipe_from
from baton.packaging.serving_image import write_base_image, write_serving_image
from baton.packaging.wheelhouse import gather
from baton.serving.image_check import check_image

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_000)]

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
# runc: crun refuses the control groups of older kernels. Both limits: podman's own are above what a container may set.
OPTIONS = ("--runtime", "runc", "--cgroup-manager", "cgroupfs", *LIMITS)
BUILT, WRITTEN = "localhost/baton-test:built", "localhost/baton-test:written"


def run(*command, seconds=1_500):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2_000:]}"
    return done.stdout.strip()


def tools():
    if all(shutil.which(name) for name in TOOLS):
        return
    try:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *TOOLS)
    except (AssertionError, OSError) as error:
        pytest.skip(f"THE SERVING IMAGE IS NOT TESTED: {', '.join(TOOLS)} cannot be installed here ({error})")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Both images in a storage of their own; gives the digests of the written one, made twice."""
    tools()
    folder = tmp_path_factory.mktemp("images")
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
        archive = Path(os.environ.get("ROOTFS") or ROOT / ".cache" / "rootfs.tar")
        if not archive.exists():
            archive.parent.mkdir(exist_ok=True)
            part = archive.with_suffix(".part.tar")
            wanted = "--include=python3,python3-venv,ca-certificates"
            run("mmdebstrap", "--variant=minbase", wanted, "bookworm", part)
            part.rename(archive)
        base = write_base_image(archive, sha256=digest_of_file(archive), out=folder / "base")
        run("podman", "pull", "--quiet", f"oci:{folder}/base")
        run("podman", "tag", run("podman", "images", "--quiet"), "localhost/baton-base:1")
        recipe = recipe_from(base=f"localhost/baton-base@{base}", model="flights")
        context = gather(ROOT, folder / "context")
        (context / "Containerfile").write_text(containerfile(recipe))
        hermetic = ("--isolation", "oci", "--runtime", "runc", "--network", "none", "--cgroup-parent", "/bt")
        how = ("--format", "docker", "--pull-never", "--timestamp", "0", *LIMITS)
        run("buildah", "bud", "--quiet", *hermetic, *how, "-t", BUILT, "-f", context / "Containerfile", context)
        digests = [
            write_serving_image(recipe, wheels=context, base=folder / "base", out=folder / name)
            for name in ("first", "second")
        ]
        run("podman", "tag", run("podman", "pull", "--quiet", f"oci:{folder}/first"), WRITTEN)
        yield digests
        subprocess.run(["podman", "rm", "--all", "--force"], capture_output=True, timeout=120, check=False)
        subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True, timeout=120, check=False)


@pytest.fixture
def released(state, release):
    """A state folder with a champion, the image's user's."""
    release(0)
    for path in (state, *state.rglob("*")):
        os.chown(path, 10001, 10001)
    return state


def test_the_written_image_has_one_digest(images):
    assert images[0] == images[1]
    assert run("podman", "image", "inspect", "--format", "{{.Digest}}", WRITTEN) == images[0]


@pytest.mark.parametrize("image", [BUILT, WRITTEN])
class TestInside:
    def test_a_sealed_bundle_loads_answers_as_sealed_and_is_quick(self, images, sealed, image):
        found = check_image(image, sealed.bundles[0].path, most_ms=200, memory="512m", options=OPTIONS)

        assert found["passed"]
        assert found["golden"] >= 16
        assert found["digest"] == sealed.bundles[0].digest

    def test_one_that_is_too_slow_or_too_large_is_not_promoted(self, images, sealed, image):
        with pytest.raises(NotPromotable, match="p99"):
            check_image(image, sealed.bundles[0].path, most_ms=1e-6, memory="512m", options=OPTIONS)
        with pytest.raises(NotPromotable, match="16m"):
            check_image(image, sealed.bundles[0].path, most_ms=200, memory="16m", options=OPTIONS)

    def test_a_flipped_bit_is_refused_before_anything_runs(self, images, sealed, image, state):
        folder = state / "bundles" / sealed.bundles[0].digest
        model = next(folder.glob("*.onnx"))
        model.write_bytes(model.read_bytes()[:-1] + b"\0")
        with pytest.raises(IntegrityBroken):
            check_image(image, folder, most_ms=200, memory="512m", options=OPTIONS)

    def test_it_serves_read_only_without_rights_and_within_its_memory(self, images, released, sealed, port, image):
        name = f"baton-test-{port}"
        confined = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        where = (
            "--network",
            "host",
            "--memory",
            "400m",
            "--volume",
            f"{released}:/var/lib/baton/flights",
            "--name",
            name,
        )
        # Said once more, the address and the port are these; on loopback it serves without keys.
        served = ("--host", "127.0.0.1", "--port", port)
        run("podman", "run", "--detach", "--pull", "never", *OPTIONS, *confined, *where, image, *served)
        try:
            url = f"http://127.0.0.1:{port}/v1/models/flights/predict"
            answer = _answered(url, {"rows": sealed.requests[:8]}, name)
            scores = [each["score"] for each in answer["predictions"]]
            np.testing.assert_allclose(scores, sealed.scores[sealed.bundles[0].digest][:8], atol=1e-5)
            run("podman", "exec", name, "python3", "-m", "baton.serving.health", "--port", port, "--ready")
            facts = json.loads(run("podman", "inspect", name))[0]
            assert facts["Config"]["User"] == "10001:10001"
            assert facts["HostConfig"]["ReadonlyRootfs"]
            assert not facts["EffectiveCaps"]
        finally:
            subprocess.run(
                ["podman", "rm", "--force", "--time", "10", name], capture_output=True, timeout=60, check=False
            )


def _answered(url, body, name):
    deadline = time.monotonic() + 240
    while True:
        try:
            answer = httpx.post(url, json=body, timeout=30)
            if answer.status_code == 200:
                return answer.json()
            said = answer.text
        except httpx.TransportError as error:
            said = str(error)
        if time.monotonic() > deadline:
            logs = subprocess.run(["podman", "logs", name], capture_output=True, text=True, timeout=60, check=False)
            raise AssertionError(f"{said}\n{logs.stdout[-2_000:]}{logs.stderr[-2_000:]}")
        time.sleep(0.5)
