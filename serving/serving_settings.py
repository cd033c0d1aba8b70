"""What one service serves, and its limits, from `BATON_SERVING_*` variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from baton.core.errors import SpecInvalid, listed

PREFIX = "BATON_SERVING_"


class ServingSettings(BaseSettings):
    """One model's service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    folder: Path = Field(description="The model's state folder: release.json, bundles/ and predictions/.")
    model: str = Field(description="The model's name.")
    max_batch_rows: int = Field(512, ge=1, description="Most rows that are scored together.")
    max_request_rows: int = Field(1_024, ge=1, description="Most rows of one request.")
    max_body_bytes: int = Field(8 << 20, ge=1, description="Largest body of a request.")
    max_wait_ms: float = Field(2.0, ge=0, description="Longest that a row waits for others.")
    timeout_seconds: float = Field(10.0, gt=0, description="Longest that a request waits for its answer.")
    poll_seconds: float = Field(0.5, gt=0, description="How often the release pointer is read.")
    log_seconds: float = Field(1.0, gt=0, description="How often the prediction log is written.")


def settings_from_environment() -> ServingSettings:
    """Read the settings from the environment; see `settings_from`."""
    return settings_from({})


def settings_from(values: Mapping[str, Any]) -> ServingSettings:
    """Check settings; what is not given is read from the environment.

    Raises:
        SpecInvalid: A value is missing or impossible; all are listed.
    """
    try:
        return ServingSettings(**values)
    except ValidationError as error:
        problems = [f"{PREFIX}{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise SpecInvalid(
            what="the service cannot start", why=listed(problems), fix="set these variables, or use `baton serve`"
        ) from error
