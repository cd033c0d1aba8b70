"""The way to MLflow, on a server or in a database, and what its failures mean."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from baton.core.errors import BatonError, DependencyDown, Misuse
from baton.registry.mlflow_patience import bound_requests, within
from baton.registry.mlflow_words import one_line
from baton.settings import IMPATIENT, QUIET

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
DENIED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
# MLflow shows an experiment as one of models, not of prompts.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# A command's output is its own; MLflow prints links into it, and a line for each table that it makes.
SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
# A server says when to come back, an hour from now if it likes.
UNMOVED = {"MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false"}
# Whose exceptions MLflow lets through.
STORES = ("sqlalchemy", "psycopg", "botocore", "boto3", "requests", "urllib3", "google")
CONNECT_SECONDS = 5
# A step of a run, all of its requests together.
STEP_SECONDS = 120.0
# A look-up that somebody repeats all the time.
POLL_SECONDS = 2.0
# How long nobody is made to wait again after a look-up has failed.
REST_SECONDS = 3.0
CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")


class MlflowConnection:
    """A client of one tracking store, opened on first use.

    Everything that is asked through `asking` ends in bounded time, and what
    fails becomes an error that says what to do. A look-up that failed is
    answered with the same failure for a few seconds, whoever asks, so a server
    that hangs holds one caller at a time.
    """

    def __init__(self, *, tracking_uri: str, artifact_root: Path | str | None, experiment: str) -> None:
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._experiment = experiment
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None
        self._resting: tuple[float, DependencyDown] | None = None

    @property
    def _remote(self) -> bool:
        return self._uri.startswith(("http://", "https://"))

    def open(self) -> tuple[Any, str]:
        """Give the client and the experiment's id, made on the first call."""
        with self._lock:
            if self._opened is None:
                with self.asking("open the tracking store"):
                    from mlflow.tracking import MlflowClient

                    uri = self._uri if self._remote else _reachable(self._uri)
                    client = MlflowClient(uri, registry_uri=uri)
                    self._opened = client, self._experiment_id(client)
            return self._opened

    @contextmanager
    def asking(self, purpose: str, *, seconds: float = STEP_SECONDS) -> Iterator[None]:
        """Bound what is asked inside, and turn what MLflow raises into errors that say what to do."""
        _load(remote=self._remote)
        try:
            with within(seconds):
                yield
        except BatonError:
            raise
        except Exception as error:
            explained = self._explanation(error, purpose)
            if explained is None:
                raise
            raise explained from error

    @contextmanager
    def polling(self, purpose: str) -> Iterator[None]:
        """Bound a look-up that is repeated all the time; after a failure it rests for a while."""
        if self._resting is not None and time.monotonic() < self._resting[0]:
            # Raised again and again, it would gather a frame each time.
            raise self._resting[1].with_traceback(None)
        try:
            with self.asking(purpose, seconds=POLL_SECONDS if self._remote else STEP_SECONDS):
                yield
        except DependencyDown as error:
            # Without its cause and traceback, which would keep the answer in memory.
            rest = DependencyDown(what=error.what, why=error.why, fix=error.fix)
            self._resting = time.monotonic() + REST_SECONDS, rest
            raise
        self._resting = None

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                made = client.create_experiment(
                    self._experiment, artifact_location=_location(self._artifact_root), tags=EXPERIMENT_TAGS
                )
                return str(made)
            except MlflowException:
                # Another process made it between the two calls.
                found = client.get_experiment_by_name(self._experiment)
                if found is None:
                    raise
        if not found.experiment_id:
            raise OSError("the answer is not one of MLflow's")
        return str(found.experiment_id)

    def _explanation(self, error: Exception, purpose: str) -> BatonError | None:
        """Give what an error means, or None where it is a fault of ours."""
        from mlflow.exceptions import MlflowException, RestException

        code = getattr(error, "error_code", None)
        # A 404 that is no JSON of MLflow's comes from somebody else who listens there.
        if code in MISSING and (isinstance(error, RestException) or not self._remote):
            return Misuse(
                what=f"MLflow cannot {purpose}", why=_shown(str(error)), fix="check the name, the version and the tags"
            )
        theirs = isinstance(error, OSError | MlflowException) or type(error).__module__.startswith(STORES)
        if not theirs:
            return None
        fix = "start the server or make the file writable, then run the same command again"
        if code in DENIED:
            fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        why = _shown(str(error)) or type(error).__name__
        return DependencyDown(what=f"MLflow at {_shown(self._uri)} cannot {purpose}", why=why, fix=fix)


def _load(*, remote: bool) -> None:
    """Import MLflow, which takes seconds, before any time is counted."""
    for name, value in (QUIET | IMPATIENT | SILENT | UNMOVED).items():
        os.environ.setdefault(name, value)
    import mlflow.tracking

    if remote:
        # The first request would import it, within its time.
        import mlflow.tracking.request_header.registry  # noqa: F401 - for its side effect alone

        bound_requests()


def _location(root: Path | str | None) -> str | None:
    """Give the place of files as MLflow writes it: the server's own where left out, a folder, or a URI."""
    if root is None:
        return None
    text = str(root)
    return text if isinstance(root, str) and "://" in text else Path(text).absolute().as_uri()


def _reachable(uri: str) -> str:
    """Ask a database server once, since MLflow would ask ten times in two minutes; give the URI to go on with.

    Raises:
        Misuse: Its driver is not installed.
    """
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "sqlite":
        return uri
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    except ModuleNotFoundError as error:
        raise Misuse(
            what=f"MLflow cannot use {_shown(uri)}",
            why=f"{error.name} is not installed",
            fix="write postgresql+psycopg:// and install baton[postgres]",
        ) from error
    with engine.connect():
        return url.render_as_string(hide_password=False)


def _shown(text: str) -> str:
    """Give a text as one bounded line without the passwords of its URLs."""
    return CREDENTIALS.sub("", one_line(text.partition("\n")[0], longest=300))
