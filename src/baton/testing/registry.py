"""A model registry in memory, with the manners of the real one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from baton.core.errors import Misuse
from baton.core.registered_version import RegisteredVersion
from baton.core.run import Run


class MemoryRegistry:
    """A registry that lasts as long as the process; `runs` and `tags` are there to be looked at."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}
        self.tags: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._aliases: dict[str, dict[str, str]] = defaultdict(dict)

    def prepare(self) -> None:
        """Nothing to make ready."""

    def find(self, model: str, *, key: str) -> str | None:
        """Give the version registered under a run key, or None."""
        return next((version for (name, version), run in self.runs.items() if (name, run.key) == (model, key)), None)

    def register(self, model: str, run: Run) -> str:
        """Keep a run and give its version; the same key makes no second version."""
        version = self.find(model, key=run.key)
        if version is None:
            version = str(1 + sum(name == model for name, _ in self.runs))
            self.runs[model, version] = run
        return version

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        self._check(model, version)
        self.tags[model, version].update(tags)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._check(model, version)
        self._aliases[model][alias] = version

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias."""
        self._aliases[model].pop(alias, None)

    def aliases(self, model: str) -> Mapping[str, str]:
        """Give every alias of a model with its version."""
        return dict(self._aliases[model])

    def abandon_orphans(self, model: str) -> tuple[str, ...]:
        """Nothing is ever half-done here."""
        del model
        return ()

    def read(self, model: str, version: str) -> RegisteredVersion | None:
        """Give what the registry knows of a version, or None where it is not there."""
        run = self.runs.get((model, version))
        if run is None:
            return None
        return RegisteredVersion(
            model=model,
            version=version,
            verdict_id=run.verdict.id,
            bundle=run.bundle.digest,
            tags=dict(self.tags[model, version]),
        )

    def delete(self, model: str, version: str) -> None:
        """Remove a version with the aliases that name it, as a person may on its page."""
        self.runs.pop((model, version), None)
        kept = {alias: named for alias, named in self._aliases[model].items() if named != version}
        self._aliases[model] = kept

    def _check(self, model: str, version: str) -> None:
        if (model, version) not in self.runs:
            raise Misuse(
                what=f"{model} has no version {version}", why="it was never registered", fix="register the run first"
            )
