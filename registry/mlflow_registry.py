"""Runs, versions and aliases in MLflow, for people to look at."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from baton.core.registered_version import RegisteredVersion
from baton.core.run import Run
from baton.registry import mlflow_run
from baton.registry.mlflow_connection import MISSING, MlflowConnection
from baton.registry.mlflow_run import ABANDONED, KEY_TAG, LOGGING, REGISTERED, STATUS_TAG
from baton.registry.mlflow_words import NAME, VERSION, check_key, check_name, check_tag, check_version, one_line
from baton.registry.model_card import model_card, model_description

# What MLflow takes at once.
BATCH = 100
PAGE = 1_000


class MlflowRegistry:
    """MLflow behind the `Registry` port, on a server or on a database of its own.

    Nothing is imported or opened before the first call. The first call on a
    new database makes MLflow's tables, which takes seconds: call `prepare`
    from a thread while there is other work.

    Names that are none are refused, and what MLflow holds that Baton would not
    have written is passed over: people and other programs write there too.

    Args:
        tracking_uri: URL of a server, or of a database: `sqlite:///...`, `postgresql+psycopg://...`.
        artifact_root: Folder of the files or a URI such as `s3://bucket/folder`; the server's own where left out.
        experiment: Name under which the runs are listed.
    """

    def __init__(self, *, tracking_uri: str, artifact_root: Path | str | None, experiment: str) -> None:
        self._connection = MlflowConnection(
            tracking_uri=tracking_uri, artifact_root=artifact_root, experiment=experiment
        )

    def prepare(self) -> None:
        """Make the store and the experiment if they are not there; safe to call from several threads."""
        self._open()

    def find(self, model: str, *, key: str) -> str | None:
        """Give the version registered under a run key, or None; the oldest if there were several."""
        client, _ = self._open()
        with self._explained(f"look for a version of {check_name('model', model)}"):
            found = self._versions(client, model, key=key)
        # SQLite gives numbers, a server text.
        return str(found[0].version) if found else None

    def register(self, model: str, run: Run) -> str:
        """Log a run with what it carries and give its version; the same key makes no second version.

        A run that died before it became a version is tagged as abandoned, and
        logged anew.
        """
        client, experiment = self._open()
        with self._explained(f"register {one_line(run.name)}"):
            found = self._versions(client, check_name("model", model), key=check_key(run.key))
            if found:
                # The process that made it may have died before it closed its run.
                self._close(client, found[0].run_id, REGISTERED)
                return str(found[0].version)
            self._abandon(client, experiment, key=run.key)
            run_id = self._log(client, experiment, run)
            created = self._create_version(client, experiment, model, run, run_id=run_id)
        return self._settle(model, run, version=created, run_id=run_id)

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version, each value as one bounded line."""
        client, _ = self._open()
        with self._explained(f"tag version {check_version(version)} of {check_name('model', model)}"):
            for name, value in tags.items():
                client.set_model_version_tag(model, version, check_tag(name), one_line(value))

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        client, _ = self._open()
        check_name("alias", alias)
        with self._explained(f"point {alias} at version {check_version(version)} of {check_name('model', model)}"):
            client.set_registered_model_alias(model, alias, version)

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias; one that is not there is no error."""
        client, _ = self._open()
        with self._explained(f"remove {check_name('alias', alias)} of {check_name('model', model)}"):
            client.delete_registered_model_alias(model, alias)

    def aliases(self, model: str) -> Mapping[str, str]:
        """Give every alias of a model with its version; none where the model is unknown."""
        with self._connection.polling(f"read the aliases of {check_name('model', model)}"):
            client, _ = self._open()
            found = client.search_registered_models(f"name = '{model}'")
        held = [(alias, str(version)) for entry in found for alias, version in entry.aliases.items()]
        return {alias: version for alias, version in held if NAME.fullmatch(alias) and VERSION.fullmatch(version)}

    def read(self, model: str, version: str) -> RegisteredVersion | None:
        """Give what the registry knows of a version, or None where it is not there.

        Verdict and bundle are named on the page of its run; a tag of the same
        name on the version goes first.
        """
        purpose = f"read version {check_version(version)} of {check_name('model', model)}"
        with self._connection.polling(purpose):
            client, _ = self._open()
            found = client.search_model_versions(f"name = '{model}' and version_number = {int(version)}")
            if not found:
                return None
            tags = {**self._run_tags(client, found[0].run_id), **found[0].tags}
        return RegisteredVersion(
            model=model,
            version=version,
            verdict_id=tags.get(mlflow_run.VERDICT_TAG),
            bundle=tags.get(mlflow_run.BUNDLE_TAG),
            tags={name: str(value) for name, value in found[0].tags.items()},
        )

    def _run_tags(self, client: Any, run_id: str | None) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        if not run_id:
            return {}
        try:
            return dict(client.get_run(run_id).data.tags)
        except MlflowException as error:
            if error.error_code in MISSING:
                # A run may be deleted for good while its version stays.
                return {}
            raise

    def abandon_orphans(self, model: str, *, known_keys: Collection[str] = ()) -> tuple[str, ...]:
        """Tag what crashes left half-done as abandoned, and give the keys of those runs.

        A run that had become a version is closed as registered instead. Of two
        versions of one key the older stays, as in `register`.

        Args:
            model: Name of the model.
            known_keys: Keys of runs that still go on; they are left alone.
        """
        client, experiment = self._open()
        abandoned = set[str]()
        with self._explained(f"look for half-done runs of {check_name('model', model)}"):
            versions = [v for v in self._versions(client, model) if v.tags[KEY_TAG] not in known_keys]
            oldest = {version.tags[KEY_TAG]: version for version in reversed(versions)}
            kept = {version.run_id for version in oldest.values()}
            for run in client.search_runs([experiment], f"tags.`{STATUS_TAG}` = '{LOGGING}'", max_results=PAGE):
                if run.info.run_id in kept:
                    self._close(client, run.info.run_id, REGISTERED)
                elif run.data.tags.get(KEY_TAG) not in known_keys:
                    self._abandon_run(client, experiment, run)
                    abandoned.add(str(run.data.tags.get(KEY_TAG, "")))
            for version in versions:
                if version.run_id not in kept and version.tags.get(STATUS_TAG) != ABANDONED:
                    client.set_model_version_tag(model, version.version, STATUS_TAG, ABANDONED)
                    abandoned.add(version.tags[KEY_TAG])
        return tuple(sorted(abandoned))

    def _open(self) -> tuple[Any, str]:
        return self._connection.open()

    def _explained(self, purpose: str) -> AbstractContextManager[None]:
        return self._connection.asking(purpose)

    def _versions(self, client: Any, model: str, *, key: str | None = None) -> list[Any]:
        """Give the versions that Baton made, or those of one key, oldest first."""
        which = f" and tag.`{KEY_TAG}` = '{check_key(key)}'" if key is not None else ""
        found = client.search_model_versions(f"name = '{model}'{which}", max_results=PAGE)
        return sorted((v for v in found if KEY_TAG in v.tags), key=lambda version: int(version.version))

    def _abandon(self, client: Any, experiment: str, *, key: str) -> None:
        for orphan in client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'"):
            self._abandon_run(client, experiment, orphan)

    def _abandon_run(self, client: Any, experiment: str, run: Any) -> None:
        run_id = run.info.run_id
        for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
            client.set_logged_model_tags(model.model_id, {STATUS_TAG: ABANDONED})
        client.set_tag(run_id, STATUS_TAG, ABANDONED)
        if run.info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")

    def _close(self, client: Any, run_id: str, status: str) -> None:
        run = client.get_run(run_id)
        # Also of a run that was taken for a dead one while it was paused.
        if run.data.tags.get(STATUS_TAG) != status:
            client.set_tag(run_id, STATUS_TAG, status)
        if run.info.status == "RUNNING" or (status == REGISTERED and run.info.status == "KILLED"):
            client.set_terminated(run_id)

    def _log(self, client: Any, experiment: str, run: Run) -> str:
        from mlflow.entities import Metric, Param

        started = client.create_run(experiment, run_name=mlflow_run.run_name(run), tags=mlflow_run.run_tags(run))
        run_id, moment = str(started.info.run_id), started.info.start_time
        metrics = [Metric(name, value, moment, 0) for name, value in mlflow_run.metrics(run).items()]
        params = [Param(name, value) for name, value in mlflow_run.parameters(run).items()]
        for start in range(0, max(len(metrics), len(params)), BATCH):
            part = slice(start, start + BATCH)
            client.log_batch(run_id, metrics=metrics[part], params=params[part])
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
            self._close(client, run_id, REGISTERED if first == version else ABANDONED)
        return first
