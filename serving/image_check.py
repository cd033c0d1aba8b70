"""Start a serving image as it will run, and try a sealed bundle in it: read-only, without rights, within its memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton.core.errors import BatonError, DependencyDown, IntegrityBroken, Misuse, NotPromotable, SourceMissing
from baton.packaging.reader import open_bundle
from baton.packaging.signature import SIGNERS

RUNTIMES = ("podman", "docker")
# An image by name and tag or digest, or a layout as oci:FOLDER; never an option.
IMAGE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/:@-]{0,254}")
MEMORY = re.compile(r"[1-9][0-9]{0,5}[mg]")
SECONDS = 300
# What the shell says of a process that the kernel ended for its memory.
OUT_OF_MEMORY = 137


def confined(*, memory: str, runtime: str, options: tuple[str, ...] = ()) -> list[str]:
    """Give the start of a command that runs an image without network, rights or a disk to write to."""
    limits = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", memory]
    return [runtime, "run", "--rm", "--pull", "never", "--network", "none", *limits, *options]


def check_image(
    image: str, bundle: Path, *, most_ms: float, memory: str, options: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Try a bundle inside an image.

    Args:
        image: An image that is on this machine.
        bundle: The bundle's folder.
        most_ms: Most milliseconds of the warm p99 of one row.
        memory: Most memory, such as `512m`.
        options: More options of the runtime, for machines that need them.

    Returns:
        What `bundle_check` says of it.

    Raises:
        Misuse: The image or the memory is written in no way that they can be.
        SourceMissing: There is neither podman nor docker.
        IntegrityBroken: The bundle is not whole, or answers otherwise in there.
        NotPromotable: It is too slow, or needs more memory.
    """
    for name, value, shape in (("image", image, IMAGE), ("memory", memory, MEMORY)):
        if not shape.fullmatch(value):
            fix = "name an image of this machine, and memory as 512m or 2g"
            raise Misuse(what=f"the {name} {value[:80]!r} is refused", why="it is written in no known way", fix=fix)
    opened = open_bundle(bundle)
    runtime = next((each for each in RUNTIMES if shutil.which(each)), None)
    if runtime is None:
        raise SourceMissing(
            what="there is neither podman nor docker", why="an image is run by one", fix="install podman"
        )
    inside = f"/model/bundles/{opened.digest}"
    # Whom to trust lies beside the folder of bundles, in there as out here.
    signers = bundle.resolve().parent.parent / SIGNERS
    trusted = ("--volume", f"{signers}:/model/{SIGNERS}:ro") if signers.is_dir() else ()
    mounted = ("--volume", f"{bundle.absolute()}:{inside}:ro", *trusted, "--entrypoint", "python3")
    asked = ["-m", "baton.serving.bundle_check", inside, "--p99-ms", str(most_ms)]
    command = [*confined(memory=memory, runtime=runtime, options=(*options, *mounted)), image, *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DependencyDown(what=f"{image} did not end", why=f"{SECONDS} s have passed", fix="try again") from error
    return _found(done, image=image, memory=memory)


def _found(done: subprocess.CompletedProcess[str], *, image: str, memory: str) -> Mapping[str, Any]:
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    raise _refusal(done, image=image, memory=memory)


def _refusal(done: subprocess.CompletedProcess[str], *, image: str, memory: str) -> BatonError:
    what, said = f"the bundle is refused in {image}", (done.stderr.strip().splitlines() or ["nothing"])[-1][:300]
    if done.returncode == OUT_OF_MEMORY:
        return NotPromotable(what=what, why=f"it needs more than {memory}", fix="allow more with --memory")
    if done.returncode == NotPromotable.exit_code and done.stdout.startswith("{"):
        found = json.loads(done.stdout)
        why = f"its warm p99 is {found['p99_ms']} ms, expected at most {found['most_ms']}"
        return NotPromotable(what=what, why=why, fix="train a smaller model, or allow more with --p99-ms")
    if done.returncode == IntegrityBroken.exit_code:
        return IntegrityBroken(what=what, why=said, fix="package the model again")
    return DependencyDown(what=f"{image} did not run", why=said, fix="run it by hand")
