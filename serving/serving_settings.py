"""What one service serves, to whom and within what limits, from `BATON_SERVING_*` variables."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from baton.core.errors import SpecInvalid, listed

PREFIX = "BATON_SERVING_"
LOOPBACK = "127.0.0.1"
KEY_FILE = "keys.json"
MOST_PORT = 65535
# Symmetric ones are left out: who may check such a token may also write one.
ALGORITHMS = "ES256,RS256,PS256,EdDSA"
# What each model of a service has for itself; the rest is the service's.
OWN = frozenset({
    "folder", "max_batch_rows", "max_request_rows", "max_wait_ms", "timeout_seconds", "poll_seconds", "log_seconds",
    "degrade_to", "log_fields", "out_of_range", "online_url", "online_ms", "online_fallback", "online_unknown",
    "score_decimals",
})  # fmt: skip
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
S = TypeVar("S", bound=BaseSettings)


class ServingSettings(BaseSettings):
    """One model's service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    folder: Path = Field(description="The model's state folder: release.json, bundles/ and predictions/.")
    model: str = Field(description="The model's name.")
    beside: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Other models of this service: a JSON object of their names, each with its folder and limits.",
    )
    host: str = Field(LOOPBACK, description="Address that the service listens on.")
    max_batch_rows: int = Field(512, ge=1, description="Most rows that are scored together.")
    max_request_rows: int = Field(1_024, ge=1, description="Most rows of one request.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="Largest body of a request.")
    max_headers: int = Field(100, ge=1, description="Most headers of a request.")
    max_header_bytes: int = Field(16 << 10, ge=1, description="Most bytes of all headers and the path together.")
    header_seconds: float = Field(10.0, gt=0, description="Longest that a caller may take to send the headers.")
    body_seconds: float = Field(10.0, gt=0, description="Longest that a caller may take to send the body.")
    max_wait_ms: float = Field(2.0, ge=0, description="Longest that a row waits for others.")
    timeout_seconds: float = Field(10.0, gt=0, description="Longest that a request waits for its answer.")
    poll_seconds: float = Field(0.5, gt=0, description="How often the release pointer is read.")
    log_seconds: float = Field(1.0, gt=0, description="How often the prediction log is written.")
    degrade_to: Literal["nothing", "previous", "cached", "constant"] = Field(
        "cached", description="What may answer where the model fails; each with those before it."
    )
    log_fields: str | None = Field(
        None, description="Features that the prediction log may hold, with commas; all where unset."
    )
    out_of_range: Literal["warn", "refuse"] = Field(
        "warn", description="What becomes of rows with numbers beyond the training range: a warning, or 422."
    )
    online_url: str | None = Field(
        None, description="Redis that holds the online features, where they are not in a SQLite file."
    )
    online_ms: float = Field(20.0, gt=0, description="Longest that features of entities are waited for.")
    online_fallback: Literal["defaults", "refuse"] = Field(
        "defaults", description="What becomes of entities while their features cannot be fetched."
    )
    online_unknown: Literal["missing", "defaults"] = Field(
        "missing", description="What an entity that the store does not know has for features."
    )
    score_decimals: int | None = Field(None, ge=1, le=17, description="Decimals of the scores; all where unset.")

    keys: Path | None = Field(None, description="File of API keys; keys.json in the folder where unset.")
    keys_seconds: float = Field(1.0, gt=0, le=5, description="How often the key file is looked at.")
    anonymous: bool = Field(False, description="Whether callers without a key are served on any address.")
    plain_http: bool = Field(False, description="Whether HTTP without TLS is served on any address.")
    tls_certificate: Path | None = Field(None, description="Certificate chain (PEM); HTTPS where set.")
    tls_key: Path | None = Field(None, description="Private key of the certificate (PEM).")
    admin_port: int | None = Field(
        None, ge=1, le=MOST_PORT, description="Port of /metrics and /openapi.json; the service's own where unset."
    )
    trusted_proxies: str = Field("", description="Addresses whose X-Forwarded-For is believed, with commas.")

    jwt_keys: Path | None = Field(None, description="Public keys of tokens (JWKS file); no tokens where unset.")
    jwt_algorithms: str = Field(ALGORITHMS, description="Algorithms that a token may be signed with, with commas.")
    jwt_issuer: str | None = Field(None, description="What a token's iss must be.")
    jwt_audience: str | None = Field(None, description="What a token's aud must hold.")

    request_quota: int | None = Field(None, ge=1, description="Requests of one caller in a window; no limit if unset.")
    row_quota: int | None = Field(None, ge=1, description="Rows of one caller in a window; no limit if unset.")
    quota_seconds: float = Field(60.0, gt=0, description="Length of the sliding window.")
    daily_rows: int | None = Field(None, ge=1, description="Rows of one caller in a day; no limit if unset.")
    quota_url: str | None = Field(None, description="Redis that services share their quotas in; each its own if unset.")
    quota_share: float = Field(0.5, gt=0, le=1, description="Share of the quotas that one service gives without Redis.")

    @field_validator("beside", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        """Read what was handed on as a variable's text."""
        return json.loads(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        folders = [str(each.get("folder", "")) for each in self.beside.values()]
        if self.model in self.beside or len({str(self.folder), *folders}) <= len(folders):
            raise ValueError("each model of a service has a name and a folder of its own")
        for name, given in self.beside.items():
            if not NAME.fullmatch(name) or "folder" not in given or not given.keys() <= OWN:
                raise ValueError(f"{name!r} needs a name of a model, a folder, and of the limits only its own")
        try:
            # Their limits are checked with the service's.
            _ = self.others
        except ValidationError as error:
            raise ValueError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None
        return self

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are given together or not at all")
        if self.jwt_keys and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwt_keys needs jwt_issuer and jwt_audience")
        return self

    @property
    def others(self) -> tuple[ServingSettings, ...]:
        """The settings of the other models: the service's, and each model's own limits, or the usual ones."""
        common = self.model_dump(exclude={*OWN, "beside", "model"})
        usual = {name: field.default for name, field in type(self).model_fields.items() if name in OWN}
        return tuple(_Other(**common | usual | given, model=name) for name, given in self.beside.items())

    @property
    def names(self) -> tuple[str, ...]:
        """The models of the service."""
        return (self.model, *self.beside)

    @property
    def key_file(self) -> Path:
        """The file of API keys."""
        return self.keys or self.folder / KEY_FILE

    @property
    def loggable(self) -> frozenset[str] | None:
        """The features that may be logged; None for all."""
        if self.log_fields is None:
            return None
        return frozenset(each.strip() for each in self.log_fields.split(",") if each.strip())

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class _Other(ServingSettings):
    """Another model's settings: the environment is the first one's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given, and nothing else."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def settings_from_environment() -> ServingSettings:
    """Read the settings from the environment; see `settings_from`."""
    return settings_from({})


def settings_from(values: Mapping[str, Any]) -> ServingSettings:
    """Check settings; what is not given is read from the environment.

    Raises:
        SpecInvalid: A value is missing or impossible; all are listed.
    """
    fix = "set these variables, or use `baton serve`"
    return checked(ServingSettings, values, what="the service cannot start", fix=fix)


def checked(kind: type[S], values: Mapping[str, Any], *, what: str, fix: str) -> S:
    """Read settings of a kind; what is not given is read from the environment.

    Raises:
        SpecInvalid: A value is missing or impossible; all are listed, by their variables.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        prefix = kind.model_config["env_prefix"]
        problems = [f"{prefix}{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise SpecInvalid(what=what, why=listed(problems), fix=fix) from error
