"""A registry of aliases that processes share without a server: what MLflow promises of them, and no more."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from baton.core.registered_version import RegisteredVersion
from baton.core.run import Run


class FileRegistry:
    """Aliases as files in a folder, last write wins.

    `longest_trip` is the most seconds that a look or a move takes, as a
    request does: in that time, others act.
    """

    def __init__(self, folder: Path, *, longest_trip: float = 0.0) -> None:
        self._folder = folder
        self._longest_trip = longest_trip

    def prepare(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def aliases(self, model: str) -> Mapping[str, str]:
        """Give every alias with its version."""
        found = {}
        for file in self._folder.glob(f"{model}.*"):
            with suppress(FileNotFoundError):
                found[file.name.partition(".")[2]] = file.read_text()
        self._travel()
        return found

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version, atomically."""
        self._travel()
        draft = self._folder / f".{os.getpid()}"
        draft.write_text(version)
        draft.replace(self._folder / f"{model}.{alias}")

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias."""
        (self._folder / f"{model}.{alias}").unlink(missing_ok=True)

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version, for whoever looks."""
        with (self._folder / "tags.jsonl").open("a") as stream:
            stream.write(json.dumps([model, version, dict(tags)]) + "\n")

    def abandon_orphans(self, model: str) -> tuple[str, ...]:
        """Nothing is registered here."""
        del model
        return ()

    def read(self, model: str, version: str) -> RegisteredVersion | None:
        """Give a version without tags: what was champion is known to the ledger."""
        return RegisteredVersion(model=model, version=version, verdict_id=None, bundle=None)

    def find(self, model: str, *, key: str) -> str | None:
        """Nothing is registered here."""
        del model, key
        return None

    def register(self, model: str, run: Run) -> str:
        """Nothing is registered here."""
        raise NotImplementedError(model, run)

    def _travel(self) -> None:
        time.sleep(random.SystemRandom().random() * self._longest_trip)
