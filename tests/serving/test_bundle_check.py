"""What is tried inside an image: the bundle's bytes, its golden answers, and its pace."""

import json
import subprocess
import sys

import pytest

from baton.core.errors import Misuse
from baton.packaging.image_recipe import recipe_from
from baton.serving.bundle_check import check_bundle
from baton.serving.health import lives
from baton.serving.image_check import check_image
from baton.serving.process import serve_environment


def checked(bundle, most):
    command = [sys.executable, "-m", "baton.serving.bundle_check", bundle, "--p99-ms", str(most)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_sound_bundle_passes_and_says_what_it_did(sealed):
    done = checked(sealed.bundles[0].path, 10_000)

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["digest"], found["passed"], found["requests"]) == (sealed.bundles[0].digest, True, 1_000)
    assert found["golden"] >= 16
    assert 0 < found["p50_ms"] <= found["p99_ms"]


def test_one_that_is_too_slow_does_not(sealed):
    found = check_bundle(sealed.bundles[0].path, most_ms=1e-9, requests=10)

    assert not found.passed


def test_one_byte_ends_it_with_the_code_of_integrity(sealed, state):
    folder = state / "bundles" / sealed.bundles[0].digest
    assert checked(folder, 10_000).returncode == 0
    model = next(folder.glob("*.onnx"))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)

    done = checked(folder, 10_000)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)


@pytest.mark.parametrize(
    ("image", "memory"),
    [("--privileged", "512m"), ("a b", "512m"), ("image\n", "512m"), ("image", "-1"), ("image", "512m --privileged")],
)
def test_what_could_be_an_option_is_refused(sealed, image, memory):
    """R10: neither an image nor a limit is written so that a runtime takes it for something else."""
    with pytest.raises(Misuse, match="refused"):
        check_image(image, sealed.bundles[0].path, most_ms=20, memory=memory)


def test_nobody_there_is_not_alive(port):
    assert not lives(port, path="/livez", tls=False)


def test_the_image_and_the_service_keep_the_runtime_from_calling_home(tmp_path):
    """R17: ONNX Runtime sends what it runs on unless it is told not to."""
    recipe = recipe_from(base="base@sha256:" + "ab" * 32, model="flights")

    assert recipe.environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert serve_environment(tmp_path, model="flights")["ORT_DISABLE_TELEMETRY"] == "1"
