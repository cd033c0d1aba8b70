"""What the sealing machine serves with: the serving extra's packages at their versions, with the lock file's hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGE = "baton"
EXTRA = "serving"
# Beside the source; a wheel has none, and its packages are pinned without hashes.
LOCK = Path(__file__).resolve().parents[1] / "uv.lock"
HASH = re.compile(r'hash = "(sha256:[0-9a-f]{64})"')
NAME = re.compile(r'name = "([^"]+)"\nversion = "([^"]+)"')


@lru_cache(maxsize=1)
def serving_packages() -> Mapping[str, str]:
    """Give the installed packages that the serving extra needs, with those that they need: name to version, sorted."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    asked: set[tuple[str, str]] = set()
    pending = [(PACKAGE, ""), (PACKAGE, EXTRA)]
    while pending:
        name, extra = pending.pop()
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = installed.version
        for line in installed.requires or ():
            each = Requirement(line)
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                wanted = {(canonical(each.name), more) for more in ("", *each.extras)} - asked
                asked |= wanted
                pending += sorted(wanted)
    del found[PACKAGE]
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def requirements() -> bytes:
    """Write the packages as `pip install --require-hashes -r` reads them."""
    hashes = locked_hashes(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    lines = []
    for name, version in serving_packages().items():
        pinned = [f"{name}=={version}", *(f"    --hash={each}" for each in hashes.get((name, version), ()))]
        lines.append(" \\\n".join(pinned))
    return ("\n".join(lines) + "\n").encode()


def locked_hashes(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Read each package's hashes, by name and version, from the text of a uv.lock."""
    found = {}
    for part in text.split("[[package]]\n")[1:]:
        named = NAME.match(part)
        if named:
            found[named[1], named[2]] = tuple(sorted(set(HASH.findall(part))))
    return found


def canonical(name: str) -> str:
    """Write a package's name as indexes do."""
    return re.sub(r"[-_.]+", "-", name).lower()
