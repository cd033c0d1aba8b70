"""A serving image, made twice from one set of wheels: the seconds, the size, and whether the digests are the same.

The wheels are the lock file's; the base is a root file system of this
machine's making, an empty one where `ROOTFS` names none. `check_*` is what a
bundle does inside, where podman and `IMAGE` and `BUNDLE` are there.

    make bench-image             table
    make bench-image JSON=1      one JSON object a line
    ROOTFS=base.tar              root file system with Python 3.11
    IMAGE=name BUNDLE=folder     try a bundle in an image of this machine
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from printed import Line, print_parts

from baton.core.digest import digest_of_file
from baton.packaging.image_recipe import recipe_from
from baton.packaging.serving_image import write_base_image, write_serving_image
from baton.packaging.wheelhouse import check_wheels, gather
from baton.serving.image_check import check_image

SOURCE = Path(__file__).parents[1]
MEBIBYTE = 1 << 20


def made_twice() -> Iterator[Line]:
    """The same image, written twice."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        archive = Path(os.environ["ROOTFS"]) if os.environ.get("ROOTFS") else _empty(folder / "root.tar")
        base = write_base_image(archive, sha256=digest_of_file(archive), out=folder / "base")
        recipe = recipe_from(base=f"base@{base}", model="flights")
        started = time.perf_counter()
        wheels = gather(SOURCE, folder / "context")
        gathered = time.perf_counter() - started
        digests = []
        for name in ("first", "second"):
            started = time.perf_counter()
            out = folder / name
            digests.append(write_serving_image(recipe, wheels=wheels, base=folder / "base", out=out))
        yield {
            "bench": "image",
            "wheels": len(check_wheels(wheels)),
            "gather_s": round(gathered, 1),
            "write_s": round(time.perf_counter() - started, 1),
            "image_mb": round(sum(each.stat().st_size for each in out.rglob("*") if each.is_file()) / MEBIBYTE, 1),
            "same_digest": digests[0] == digests[1],
            "digest": digests[0],
        }


def tried_inside() -> Iterator[Line]:
    """A bundle inside an image, read-only and without rights."""
    started = time.perf_counter()
    found = check_image(os.environ["IMAGE"], Path(os.environ["BUNDLE"]), most_ms=20, memory="512m")
    names = ("golden", "load_ms", "p50_ms", "p99_ms", "passed")
    yield {"bench": "check", **{n: found[n] for n in names}, "whole_s": round(time.perf_counter() - started, 1)}


def _empty(path: Path) -> Path:
    with tarfile.open(path, "w"):
        pass
    return path


if __name__ == "__main__":
    print_parts([made_twice, *([tried_inside] if os.environ.get("IMAGE") else [])])
