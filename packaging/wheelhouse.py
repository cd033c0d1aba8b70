"""The wheels of a serving image: exactly what the lock file's `serving` extra names, by their hashes, and Baton's own.

uv reads the lock file, pip fetches; both refuse bytes that the lock file does
not name. From then on nothing is fetched: both ways to an image install from
this folder alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from baton.core.digest import digest_of_file
from baton.core.errors import DependencyDown, IntegrityBroken, Misuse, SourceMissing, listed
from baton.core.whole_file import replace_file
from baton.packaging.image_recipe import OWN_REQUIREMENTS, REQUIREMENTS, WHEELS

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
LOCAL_UV = Path(".tools/uv/bin/uv")
# The one that fetches; uv has no such command.
PIP = "pip>=25,<27"
PYTHON = "3.11"
# Wheels are zip files, which know no time before.
ZIP_EPOCH = "315532800"
SECONDS = 900
# Of a wheel's own folders, what is imported; scripts would name a Python of this machine.
IMPORTED = ("purelib", "platlib")


def gather(source: Path, out: Path) -> Path:
    """Write requirements and wheels into a folder that a Containerfile can be built from.

    Args:
        source: Baton's own folder, with `pyproject.toml` and `uv.lock`.
        out: Where to; wheels that are there already and are none of these are refused.

    Returns:
        The folder.

    Raises:
        SourceMissing: There is no lock file, or no uv.
        DependencyDown: A wheel cannot be fetched.
    """
    if not (source / "uv.lock").is_file():
        raise SourceMissing(
            what=f"no uv.lock in {source}", why="wheels are installed by its hashes", fix="name --source"
        )
    uv = _uv(source)
    chosen = ["--locked", "--no-dev", "--no-emit-project", "--extra", "serving", "--no-annotate", "--no-header"]
    locked = _run([uv, "export", "--quiet", *chosen, "--format", "requirements-txt"], cwd=source)
    replace_file(out / REQUIREMENTS, locked)
    wheels = (out / WHEELS).absolute()
    wheels.mkdir(parents=True, exist_ok=True)
    pip = [uv, "tool", "run", "--quiet", "--python", PYTHON, "--from", PIP, "pip", "download", "--quiet"]
    exactly = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    _run([*pip, *exactly, "--dest", str(wheels), "-r", str((out / REQUIREMENTS).absolute())], cwd=source)
    for old in wheels.glob("baton-*.whl"):
        old.unlink()
    _run([uv, "build", "--quiet", "--wheel", "--out-dir", str(wheels)], cwd=source, SOURCE_DATE_EPOCH=ZIP_EPOCH)
    # uv keeps what it builds out of version control, and an image is none.
    (wheels / ".gitignore").unlink(missing_ok=True)
    (own,) = wheels.glob("baton-*.whl")
    pinned = f"baton=={own.name.split('-')[1]} --hash=sha256:{digest_of_file(own)}\n"
    replace_file(out / OWN_REQUIREMENTS, pinned.encode())
    check_wheels(out)
    return out


def check_wheels(folder: Path) -> tuple[Path, ...]:
    """Give the wheels of a folder, each of them one that its requirements name by hash.

    Raises:
        IntegrityBroken: A wheel has other bytes than the lock file says, or is none of its own.
    """
    text = "\n".join((folder / name).read_text() for name in (REQUIREMENTS, OWN_REQUIREMENTS))
    known = frozenset(HASH.findall(text))
    wheels = tuple(sorted((folder / WHEELS).iterdir()))
    strange = [path.name for path in wheels if path.suffix != ".whl" or digest_of_file(path) not in known]
    if strange:
        raise IntegrityBroken(
            what=f"the wheels in {folder / WHEELS} are refused",
            why=f"no locked requirement has the hash of {listed(strange)}",
            fix="remove the folder and gather them again",
        )
    return wheels


def unpack(folder: Path, into: Path) -> None:
    """Install checked wheels by unpacking them: the same files on every machine, no script and no byte of its Python.

    Raises:
        IntegrityBroken: A wheel is not the lock file's, or names a file outside of its folder.
    """
    for wheel in check_wheels(folder):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                place = _place(entry.filename, wheel)
                if place is None or entry.is_dir():
                    continue
                target = into / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                # Programs that a package brings along keep that they are programs.
                target.chmod(0o755 if entry.external_attr >> 16 & 0o100 else 0o644)


def _place(name: str, wheel: Path) -> PurePosixPath | None:
    """Say where a wheel's file goes; None for what no import needs."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise IntegrityBroken(
            what=f"{wheel.name} is refused", why=f"it names {name!r}", fix="lock another version of it"
        )
    if not path.parts[0].endswith(".data"):
        return path
    return PurePosixPath(*path.parts[2:]) if path.parts[1] in IMPORTED and len(path.parts) > 2 else None  # noqa: PLR2004 - its folder, its kind, then names


def _uv(source: Path) -> str:
    local = source.absolute() / LOCAL_UV
    found = str(local) if local.exists() else shutil.which("uv")
    if found is None:
        raise SourceMissing(
            what="there is no uv", why="it reads the lock file", fix="run make setup, or put uv on PATH"
        )
    return found


def _run(command: list[str], *, cwd: Path, **variables: str) -> bytes:
    environment: Mapping[str, str] = os.environ | variables
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DependencyDown(
            what=f"{Path(command[0]).name} {command[1]} did not end", why=f"{SECONDS} s have passed", fix="try again"
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        bad = Misuse if "--locked" in done.stderr.decode(errors="replace") else DependencyDown
        raise bad(
            what=f"{Path(command[0]).name} {command[1]} failed", why=said[-1][:300], fix="see whether the index answers"
        )
    return done.stdout
