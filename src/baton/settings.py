"""Where this installation keeps its state, and which servers it uses, from `BATON_*` variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from baton.core.errors import Misuse, listed

PREFIX = "BATON_"

# No vendor calls home, none asks twice, and none takes more cores than it is given.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "BENTOML_DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "FEAST_USAGE": "False",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "Agg",
}
# A server that is down is said to be down within seconds, not minutes.
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    # After 2, 4, 8 and 16 seconds: a Prefect server that is started again is up by then.
    "PREFECT_CLIENT_MAX_RETRIES": "4",
}


class Settings(BaseSettings):
    """One installation: a home folder, and URLs where servers take the place of files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    environment: str = Field(
        "local",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$",
        description="What this installation is, such as production; a ledger of another environment is refused.",
    )
    home: Path = Field(Path(".baton"), description="Folder that holds all state.")
    mlflow_url: str | None = Field(
        None, description="MLflow server, or the URL of its database; a SQLite file under home where left out."
    )
    artifacts_url: str | None = Field(
        None,
        description="Where MLflow keeps artifacts, such as s3://bucket/folder; a folder under home where left out.",
    )
    ledger_url: str | None = Field(
        None, description="Ledger as postgresql+psycopg://...; a SQLite file under home where left out."
    )
    prefect_url: str | None = Field(None, description="Prefect API; an in-process one where left out.")
    online_url: str | None = Field(
        None, description="Redis that holds the online features; a SQLite file under home where left out."
    )
    signing_key: Path | None = Field(
        None, description="Private key that signs bundles, PEM on P-256; one made in the model's folder where left out."
    )
    fits: int = Field(2, ge=1, description="Models fitted at the same time, one thread each.")

    def __init__(self, **values: Any) -> None:
        """Read the settings; what is not given comes from the environment.

        Raises:
            Misuse: A value is impossible; all are listed.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [f"{PREFIX}{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
            raise Misuse(what="the settings are refused", why=listed(problems), fix="set these variables") from error

    def folder(self, model: str) -> Path:
        """The folder of one model's state."""
        return self.home.absolute() / model


def quiet_vendors(settings: Settings) -> None:
    """Set the environment that vendors read when they are imported; what a user has set stays."""
    prefect = {"PREFECT_HOME": str(settings.home.absolute() / "prefect")}
    if settings.prefect_url:
        prefect["PREFECT_API_URL"] = settings.prefect_url
    for name, value in (QUIET | IMPATIENT | prefect).items():
        os.environ.setdefault(name, value)
