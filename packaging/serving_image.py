"""A serving image without a daemon: a base by its digest, the locked wheels, and Baton, as an OCI layout."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from baton.core.digest import digest_of_file
from baton.core.errors import Misuse
from baton.packaging.image_recipe import CODE, ImageRecipe
from baton.packaging.oci_layout import layer_of_folder, layer_of_rootfs, read_base, write_image
from baton.packaging.wheelhouse import unpack

NANOSECONDS = 1_000_000_000


def write_serving_image(recipe: ImageRecipe, *, wheels: Path, base: Path, out: Path) -> str:
    """Write the image of a recipe; the same recipe, wheels and base give the same digest on every machine.

    Two layers come on top of the base's: the locked wheels, which seldom
    change, then Baton itself.

    Args:
        recipe: What the image is; its base names an image of `base`.
        wheels: Folder from `wheelhouse.gather`.
        base: OCI layout with the base.
        out: Where the layout is written.

    Returns:
        The image's digest, as `sha256:<64 hex>`.
    """
    beneath = read_base(base, digest=recipe.base_digest)
    with tempfile.TemporaryDirectory(prefix="baton-image-") as scratch:
        # Baton's own files are moved out of the wheels', so that a change of them changes one small layer.
        locked, own = Path(scratch) / "locked", Path(scratch) / "own"
        unpack(wheels, locked)
        own.mkdir()
        for part in sorted(locked.glob("baton*")):
            part.rename(own / part.name)
        layers = [layer_of_folder(out, each, at=CODE) for each in (locked, own)]
    return write_image(out, layers=layers, config=image_config(recipe), base=beneath)


def write_base_image(archive: Path, *, sha256: str, out: Path) -> str:
    """Write a root file system's tar as an image that others can be built on.

    Raises:
        Misuse: The tar has other bytes than asked for.
    """
    actual = digest_of_file(archive)
    if actual != sha256:
        raise Misuse(what=f"{archive} is refused", why=f"its SHA-256 is {actual}", fix="say what it should be")
    layer = layer_of_rootfs(out, archive)
    return write_image(out, layers=[layer], config={"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})


def image_config(recipe: ImageRecipe) -> dict[str, Any]:
    """Give the image's config: what the Containerfile's instructions say, for the OCI writer."""
    return {
        "Entrypoint": recipe.entrypoint,
        "Env": [f"{name}={value}" for name, value in recipe.environment.items()],
        "ExposedPorts": {f"{recipe.port}/tcp": {}},
        # Docker's own field, which podman knows and Kubernetes' probes take the place of.
        "Healthcheck": {
            "Test": ["CMD", *recipe.health],
            "Interval": 10 * NANOSECONDS,
            "Timeout": 5 * NANOSECONDS,
            "StartPeriod": 60 * NANOSECONDS,
        },
        "User": f"{recipe.user}:{recipe.user}",
        "WorkingDir": CODE,
    }
