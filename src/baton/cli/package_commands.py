"""Images of the prediction service: make one, make its base, and try a bundle in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baton.cli import output
from baton.cli.options import HERE, MOST_PORT, DryRun, Json, Project

packages = typer.Typer(help="Images of the prediction service.", no_args_is_help=True)


@packages.command("image")
def image(
    base: Annotated[str, typer.Option("--base", help="Image with Python 3.11, as name@sha256:<64 hex>.")],
    out: Annotated[Path, typer.Option("--out", help="Folder that the image is built from.")] = Path("build/image"),
    layout: Annotated[
        Path | None, typer.Option("--base-layout", help="OCI layout with the base: the image is written too, as one.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port; model.yaml's.", min=1024, max=MOST_PORT)] = None,
    source: Annotated[Path, typer.Option("--source", help="Baton's own folder, with uv.lock.")] = HERE,
    project: Project = HERE,
    dry_run: DryRun = False,
) -> None:
    """Write the Containerfile of a model's service with its locked wheels; with --base-layout the image itself."""
    from baton.core.spec import load_spec
    from baton.core.whole_file import replace_file
    from baton.packaging.image_recipe import containerfile, recipe_from
    from baton.packaging.serving_image import write_serving_image
    from baton.packaging.wheelhouse import gather

    spec = load_spec(project)
    recipe = recipe_from(base=base, model=spec.name, port=port or spec.serving.port)
    if dry_run:
        output.line(containerfile(recipe).rstrip())
        return
    gather(source, out)
    replace_file(out / "Containerfile", containerfile(recipe).encode())
    output.line(f"{out}/Containerfile and its wheels are written; buildah bud --network none {out} builds them")
    if layout:
        digest = write_serving_image(recipe, wheels=out, base=layout, out=out / "oci")
        output.line(f"{out}/oci is the image {digest}")


@packages.command("base")
def base_image(
    archive: Annotated[Path, typer.Argument(metavar="ROOTFS.tar", help="Root file system with Python 3.11.")],
    sha256: Annotated[str, typer.Option("--sha256", help="What its SHA-256 has to be.")],
    out: Annotated[Path, typer.Option("--out", help="OCI layout to write.")] = Path("build/base"),
) -> None:
    """Write a root file system as a base image, and print its digest."""
    from baton.packaging.serving_image import write_base_image

    output.line(write_base_image(archive, sha256=sha256, out=out))


@packages.command("check-image")
def check(
    image: Annotated[str, typer.Argument(help="Image on this machine.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder of the sealed bundle.")],
    p99_ms: Annotated[float, typer.Option("--p99-ms", help="Most milliseconds of one row's warm p99.", min=0.001)] = 20,
    memory: Annotated[str, typer.Option("--memory", help="Most memory, as 512m or 2g.")] = "512m",
    option: Annotated[list[str] | None, typer.Option("--runtime-option", help="More for podman run; repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Try a bundle inside an image, read-only and without rights; exit 1 where it is too slow, 5 where it differs."""
    from baton.serving.image_check import check_image

    found = check_image(image, bundle, most_ms=p99_ms, memory=memory, options=tuple(option or ()))
    if as_json:
        output.machine(found)
        return
    output.line(
        f"{found['golden']} golden requests agree; warm p99 of one row is {found['p99_ms']} ms, at most {p99_ms:g}"
    )
