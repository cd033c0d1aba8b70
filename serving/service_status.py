"""What each serving process says of itself: what it serves, and what it was told to serve and cannot.

One small file a process, written when something changes and touched at every
look at the pointer, so that a silent one shows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from baton.core.digest import canonical_json
from baton.core.release import Release
from baton.core.whole_file import replace_file

STATUS = "status"
# A process that has not looked at the pointer for so long is paused, hung or gone.
SILENT_SECONDS = 10.0
# Processes may disagree for as long as loading takes.
PATIENCE_SECONDS = 30.0
# What a process that is gone has left is cleared away by the next one.
FORGOTTEN_SECONDS = 3600.0
REJECTED = "rejected-by-serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What one process serves since when; `refused` says why the release in force is not, or not wholly, served."""

    pid: int
    since: datetime
    version: str = ""
    digest: str = ""
    epoch: int = 0
    revision: int = 0
    mode: str = "champion"
    challenger: str = ""
    weight: float = 0.0
    refused: str = ""
    refused_digest: str = ""
    refused_epoch: int = 0
    state: str = "waiting"


class StatusFile:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATUS / f"{os.getpid()}.json"

    def write(self, status: ServiceStatus) -> None:
        """Say what is served now; a full disk is no reason to stop serving."""
        with suppress(OSError):
            replace_file(self._path, canonical_json(status))

    def touch(self) -> None:
        """Say that this process is well."""
        with suppress(OSError):
            os.utime(self._path)

    def remove(self) -> None:
        """Say that this process serves no more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def clear_others(self, now: datetime) -> None:
        """Remove what processes that are long gone have left."""
        for path in self._path.parent.glob("*.json"):
            with suppress(OSError):
                if now.timestamp() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()


def read_statuses(folder: Path, now: datetime) -> tuple[ServiceStatus, ...]:
    """Give what every process that is not silent says, by process number."""
    found = []
    for path in sorted((folder / STATUS).glob("*.json")):
        try:
            fields = json.loads(path.read_bytes())
            if abs(now.timestamp() - path.stat().st_mtime) <= SILENT_SECONDS:
                found.append(ServiceStatus(**fields | {"since": datetime.fromisoformat(fields["since"])}))
        except (OSError, ValueError, TypeError, KeyError):
            # Written this moment by another version, or removed.
            continue
    return tuple(found)


def rejected(statuses: Sequence[ServiceStatus], digest: str) -> str:
    """Say why a bundle is rejected by serving, or give nothing where it is not."""
    return next((status.refused for status in statuses if status.refused_digest == digest), "")


def assessed(release: Release | None, statuses: Sequence[ServiceStatus], now: datetime) -> tuple[bool, str]:
    """Say whether every process serves the release in force; whoever needs longer than loading takes is degraded.

    Returns:
        Whether all is well, and a line for people.
    """
    if not statuses:
        return True, "no service is running"
    for status in statuses:
        if status.refused:
            return False, f"degraded: process {status.pid} serves version {status.version or 'none'}; {status.refused}"
    behind = [status for status in statuses if release and (status.epoch, status.revision) != release.order]
    late = [status for status in behind if (now - status.since).total_seconds() > PATIENCE_SECONDS]
    if release and late:
        pids = ", ".join(str(status.pid) for status in late)
        return False, f"degraded: process {pids} has not come to epoch {release.epoch}, revision {release.revision}"
    versions = sorted({status.version for status in statuses})
    return True, f"{len(statuses)} process{'es' if len(statuses) > 1 else ''} on version {', '.join(versions)}"


def now_utc() -> datetime:
    """Give the moment, for the one place that stamps a status."""
    return datetime.now(timezone.utc)
