"""The oldest versions of what Baton runs with: below them are holes that are known and closed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from baton.packaging.locked import LOCK, locked_hashes

# With the advisories that the version closes.
FLOORS: Mapping[str, tuple[str, str]] = {
    "bentoml": ("1.4.39", "CVE-2026-44345, CVE-2026-33744, CVE-2026-27905"),
    "mlflow": ("3.13", "CVE-2026-0545, CVE-2026-2393, CVE-2026-8147"),
    "prefect": ("3.6.25", "CVE-2026-3514, CVE-2026-7722, CVE-2026-7723, CVE-2026-5366"),
    "onnx": ("1.21", "CVE-2026-27489, CVE-2026-34446, CVE-2026-34447"),
    "skops": ("0.13", "CVE-2025-54886"),
    "starlette": ("0.47.2", "CVE-2024-47874, CVE-2025-54121"),
    "python-multipart": ("0.0.18", "CVE-2024-53981"),
}


def running_versions() -> Mapping[str, str]:
    """Give the versions of the lock file, or where there is none the installed ones."""
    if LOCK.is_file():
        return dict(locked_hashes(LOCK.read_text(encoding="utf-8")).keys())
    found = {}
    for name in FLOORS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def below_floor(versions: Mapping[str, str]) -> tuple[str, ...]:
    """Say which packages are older than they may be, and what that leaves open."""
    from packaging.version import Version

    return tuple(
        f"{name} {versions[name]} is older than {floor} ({closed})"
        for name, (floor, closed) in FLOORS.items()
        if name in versions and Version(versions[name]) < Version(floor)
    )
