"""Runs, versions and aliases in MLflow, for people to look at."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from baton.core.errors import DependencyDown, Misuse
from baton.core.run import Run
from baton.registry import mlflow_run
from baton.registry.mlflow_run import KEY_TAG, STATUS_TAG
from baton.registry.model_card import model_card, model_description
from baton.settings import IMPATIENT, QUIET

ABANDONED = "abandoned"
REGISTERED = "registered"
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# MLflow shows an experiment as one of models, not of prompts.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# A command's output is its own; MLflow prints links into it, and a line for each table that it makes.
SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}


class MlflowRegistry:
    """MLflow behind the `Registry` port, on a server or on a SQLite file.

    Nothing is imported or opened before the first call. The first call on a
    new SQLite file makes MLflow's tables, which takes seconds: call `prepare`
    from a thread while there is other work.
    """

    def __init__(self, *, tracking_uri: str, artifact_root: Path | None, experiment: str) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self.experiment = experiment
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def prepare(self) -> None:
        """Make the store and the experiment if they are not there; safe to call from several threads."""
        self._open()

    def find(self, model: str, *, key: str) -> str | None:
        """Give the version registered under a run key, or None; the oldest if there were several."""
        client, _ = self._open()
        with self._explained(f"look for a version of {model}"):
            found = client.search_model_versions(f"name = '{model}' and tag.`{KEY_TAG}` = '{key}'")
        # SQLite gives numbers, a server text.
        return min((str(version.version) for version in found), key=int, default=None)

    def register(self, model: str, run: Run) -> str:
        """Log a run with what it carries and give its version; the same key makes no second version.

        A run that died before it became a version is tagged as abandoned, and
        logged anew.
        """
        version = self.find(model, key=run.key)
        if version is not None:
            return version
        client, experiment = self._open()
        with self._explained(f"register {run.name}"):
            self._abandon(client, experiment, key=run.key)
            run_id = self._log(client, experiment, run)
            created = self._create_version(client, experiment, model, run, run_id=run_id)
        return self._settle(model, run, version=created, run_id=run_id)

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""
        client, _ = self._open()
        with self._explained(f"tag version {version} of {model}"):
            for name, value in tags.items():
                client.set_model_version_tag(model, version, name, value)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        client, _ = self._open()
        with self._explained(f"point {alias} at version {version} of {model}"):
            client.set_registered_model_alias(model, alias, version)

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias; one that is not there is no error."""
        client, _ = self._open()
        with self._explained(f"remove {alias} of {model}"):
            client.delete_registered_model_alias(model, alias)

    def aliases(self, model: str) -> Mapping[str, str]:
        """Give every alias of a model with its version; none where the model is unknown."""
        client, _ = self._open()
        with self._explained(f"read the aliases of {model}"):
            found = client.search_registered_models(f"name = '{model}'")
        return {alias: str(version) for entry in found for alias, version in entry.aliases.items()}

    def _open(self) -> tuple[Any, str]:
        """Give the client and the experiment's id, made on the first call."""
        with self._lock:
            if self._opened is None:
                for name, value in (QUIET | IMPATIENT | SILENT).items():
                    os.environ.setdefault(name, value)
                from mlflow.tracking import MlflowClient

                with self._explained("open the tracking store"):
                    client = MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)
                    self._opened = client, self._experiment_id(client)
            return self._opened

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            location = self.artifact_root.absolute().as_uri() if self.artifact_root else None
            try:
                return str(client.create_experiment(self.experiment, artifact_location=location, tags=EXPERIMENT_TAGS))
            except MlflowException:
                # Another process made it between the two calls.
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _abandon(self, client: Any, experiment: str, *, key: str) -> None:
        for orphan in client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'"):
            client.set_tag(orphan.info.run_id, STATUS_TAG, ABANDONED)
            if orphan.info.status == "RUNNING":
                client.set_terminated(orphan.info.run_id, status="KILLED")

    def _log(self, client: Any, experiment: str, run: Run) -> str:
        from mlflow.entities import Metric, Param

        started = client.create_run(experiment, run_name=run.name, tags=mlflow_run.run_tags(run))
        run_id, moment = str(started.info.run_id), started.info.start_time
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, moment, 0) for name, value in mlflow_run.metrics(run).items()],
            params=[Param(name, value) for name, value in mlflow_run.parameters(run).items()],
        )
        client.log_inputs(run_id, [mlflow_run.dataset_input(run)])
        with tempfile.TemporaryDirectory() as folder:
            mlflow_run.write_files(run, Path(folder))
            client.log_artifacts(run_id, folder)
        return run_id

    def _create_version(self, client: Any, experiment: str, model: str, run: Run, *, run_id: str) -> str:
        """Log the bundle as a model of the run and make a version of it; the version comes last, complete."""
        from mlflow.entities import LoggedModelOutput

        logged = client.create_logged_model(
            experiment, name=model, source_run_id=run_id, params=mlflow_run.parameters(run), model_type="baton"
        )
        with tempfile.TemporaryDirectory() as folder:
            mlflow_run.write_model(run, Path(folder), run_id=run_id, model_id=logged.model_id)
            client.log_model_artifacts(logged.model_id, folder)
        client.log_model_artifacts(logged.model_id, str(run.bundle.path), artifact_path="bundle")
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model_id=logged.model_id, step=0)])
        self._ensure_model(client, model, run)
        version = client.create_model_version(
            model,
            source=logged.artifact_location,
            run_id=run_id,
            tags=mlflow_run.version_tags(run),
            description=model_card(run),
            model_id=logged.model_id,
            # The version is ready when the call returns; waiting only logs a line.
            await_creation_for=0,
        )
        return str(version.version)

    def _ensure_model(self, client: Any, model: str, run: Run) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(model, description=model_description(run))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _settle(self, model: str, run: Run, *, version: str, run_id: str) -> str:
        """Close the run; of two processes that registered one key at once, the older version stays."""
        first = self.find(model, key=run.key) or version
        client, _ = self._open()
        with self._explained(f"close the run of {run.name}"):
            if first != version:
                client.delete_model_version(model, version)
            client.set_tag(run_id, STATUS_TAG, REGISTERED if first == version else ABANDONED)
            client.set_terminated(run_id)
        return first

    @contextmanager
    def _explained(self, purpose: str) -> Iterator[None]:
        """Turn what MLflow raises into errors that say what to do."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in MISSING:
                raise Misuse(
                    what=f"MLflow cannot {purpose}", why=_first_line(error), fix="check the model and the version"
                ) from error
            raise self._down(purpose, error) from error
        except Exception as error:
            # SQLAlchemy's and the operating system's own, which MLflow lets
            # through; anything else is a fault of ours and stays as it is.
            if isinstance(error, OSError) or type(error).__module__.startswith("sqlalchemy"):
                raise self._down(purpose, error) from error
            raise

    def _down(self, purpose: str, error: Exception) -> DependencyDown:
        return DependencyDown(
            what=f"MLflow at {self.tracking_uri} cannot {purpose}",
            why=_first_line(error),
            fix="start the server or make the file writable, then run the same command again",
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
