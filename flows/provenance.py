"""Where a run's code comes from: the commit and the lock file, as a person would look them up."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

from baton.core.digest import digest_of, digest_of_file

LOCKS = ("uv.lock", "poetry.lock", "requirements.txt")
GIT_SECONDS = 5


@lru_cache(maxsize=8)
def provenance(project: Path) -> dict[str, str]:
    """Give the tags `baton.commit` and `baton.lock` of a project folder.

    The commit ends in `+changes` where the folder differs from it; a folder
    outside any repository has none. Without a lock file above the project the
    lock is the digest of what is installed.
    """
    commit = _commit(project)
    return {"baton.lock": _lock(project)} | ({"baton.commit": commit} if commit else {})


def _commit(project: Path) -> str | None:
    commit = _git(project, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}+changes" if _git(project, "status", "--porcelain", "--", ".") else commit


def _git(project: Path, *words: str) -> str | None:
    command = ["git", "-C", str(project), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        # No git here, or one that hangs on a network folder: the run goes on without.
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _lock(project: Path) -> str:
    for folder in (project, *project.parents):
        for name in LOCKS:
            if (folder / name).is_file():
                return digest_of_file(folder / name)
    return digest_of(sorted({f"{found.name}=={found.version}" for found in distributions()}))
