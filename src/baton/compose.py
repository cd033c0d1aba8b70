"""The composition root: settings in, a platform of adapters out.

Adapters are built when first asked for, since each imports its vendor and a
command that only reads the ledger should not wait for Feast.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.spec import ModelSpec, load_spec
from baton.settings import Settings, quiet_vendors

if TYPE_CHECKING:
    from baton.core.ports import FeatureStore, Registry
    from baton.features.landing import Landing
    from baton.features.quarantine import Quarantine
    from baton.features.source import Definitions
    from baton.registry.ledger import SqlLedger
    from baton.validation.great_expectations_suite import DataTests


class Platform:
    """One project on one installation: its specification, its folders and its adapters."""

    def __init__(self, spec: ModelSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        self.folder = settings.folder(spec.name)

    @property
    def snapshots(self) -> Path:
        """Folder of frozen training tables, by digest."""
        return self.folder / "snapshots"

    @property
    def bundles(self) -> Path:
        """Folder of sealed bundles, champions and their twins, by digest."""
        return self.folder / "bundles"

    @property
    def evidence(self) -> Path:
        """Folder of the rows and scores behind each verdict, by digest."""
        return self.folder / "evidence"

    @property
    def predictions(self) -> Path:
        """Folder of the prediction log."""
        return self.folder / "predictions"

    @property
    def release_file(self) -> Path:
        """The pointer that serving watches."""
        return self.folder / "release.json"

    @property
    def reports(self) -> Path:
        """Folder of what people look at."""
        return self.folder / "reports"

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps runs and versions."""
        return self.settings.mlflow_url or f"sqlite:///{self.folder / 'mlflow' / 'mlflow.db'}"

    @property
    def landing_folder(self) -> Path:
        """Folder of landed rows, of those set aside and of what is known of the inputs."""
        return self.folder / "landing"

    @cached_property
    def landing(self) -> Landing:
        """Landed rows by day of known time."""
        from baton.features.landing import Landing

        return Landing(self.landing_folder, self.spec)

    @cached_property
    def quarantine(self) -> Quarantine:
        """Rows that were set aside, and their releases."""
        from baton.features.quarantine import Quarantine

        return Quarantine(self.folder / "landing", self.spec, self.landing)

    @cached_property
    def definitions(self) -> Definitions:
        """The project's own feature functions."""
        from baton.features.source import load_definitions

        return load_definitions(self.spec)

    @cached_property
    def store(self) -> FeatureStore:
        """Feast, with values by the moment at which they became known."""
        from baton.features.feast_store import FeastFeatureStore

        return FeastFeatureStore(self.folder / "feast", self.spec, online_url=self.settings.online_url)

    @cached_property
    def data_tests(self) -> DataTests:
        """Great Expectations, with one suite a table."""
        from baton.validation.great_expectations_suite import DataTests

        return DataTests(self.folder / "validation", self.spec)

    @cached_property
    def registry(self) -> Registry:
        """MLflow, for people to look at."""
        from baton.registry.mlflow_registry import MlflowRegistry

        (self.folder / "mlflow").mkdir(parents=True, exist_ok=True)
        # A server keeps artifacts where it was told to; a database has to be told.
        served = (self.settings.mlflow_url or "").startswith(("http://", "https://"))
        local = None if served else self.folder / "mlflow" / "artifacts"
        root = self.settings.artifacts_url or local
        return MlflowRegistry(tracking_uri=self.mlflow_uri, artifact_root=root, experiment=self.spec.name)

    @cached_property
    def ledger(self) -> SqlLedger:
        """The truth of who is champion."""
        from baton.registry.ledger import SqlLedger

        self.folder.mkdir(parents=True, exist_ok=True)
        return SqlLedger(self.settings.ledger_url or self.folder / "ledger.db", environment=self.settings.environment)


def platform(project: Path, *, home: Path | None = None) -> Platform:
    """Compose the platform of a project folder; `home` overrides `BATON_HOME`.

    Raises:
        SpecInvalid: The project file is missing or refused.
    """
    settings = Settings() if home is None else Settings(home=home)
    return _composed(project.resolve(), settings.home.absolute())


@lru_cache(maxsize=8)
def _composed(project: Path, home: Path) -> Platform:
    settings = Settings(home=home)
    quiet_vendors(settings)
    return Platform(load_spec(project), settings)
