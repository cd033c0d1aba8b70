"""Which broker a stream consumer listens to, and how patient it is, from `BATON_STREAM_*` variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from baton.serving.serving_settings import checked

PREFIX = "BATON_STREAM_"
NATS = ("nats://", "tls://")
KAFKA = ("kafka://",)
REDIS = ("redis://", "rediss://", "unix://")
SUBJECT = r"^[A-Za-z0-9_:-]+(\.[A-Za-z0-9_:-]+)*$"


class StreamSettings(BaseSettings):
    """One consumer: rows come in on one subject, answers go out on another."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    url: str = Field(
        description="nats://HOST:PORT (JetStream), redis://HOST:PORT/DB (Streams) or kafka://HOST:PORT,HOST:PORT."
    )
    source: str = Field(pattern=SUBJECT, description="Subject, or Redis stream, of rows.")
    target: str = Field(pattern=SUBJECT, description="Subject, or Redis stream, of answers.")
    dead: str = Field("", description="Subject of what cannot be answered, with the reason; SOURCE.dead where unset.")
    group: str = Field("baton", pattern=r"^[A-Za-z0-9_-]+$", description="Consumers of one group share the work.")
    at_once: int = Field(64, ge=1, le=1_024, description="Messages that are worked on at the same time.")
    ack_seconds: float = Field(30.0, gt=0, description="After so long without an answer a message is given out again.")
    most_deliveries: int = Field(5, ge=1, description="A message given out more often goes to the dead letters.")
    window_seconds: float = Field(3_600.0, gt=0, description="How long the id of an answered message is remembered.")
    keep_messages: int = Field(1_000_000, ge=1, description="Most answers, and dead letters, that a stream keeps.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if not self.url.startswith(NATS + REDIS + KAFKA):
            raise ValueError("url begins with none of " + ", ".join(NATS + REDIS + KAFKA))
        if len({self.source, self.target, self.dead_letters}) < 3:  # noqa: PLR2004 - one each
            raise ValueError("source, target and dead are three subjects")
        return self

    @property
    def dead_letters(self) -> str:
        """Where messages go that cannot be answered."""
        return self.dead or f"{self.source}.dead"

    @property
    def is_redis(self) -> bool:
        """Whether the broker is Redis."""
        return self.url.startswith(REDIS)

    @property
    def is_kafka(self) -> bool:
        """Whether the broker is Kafka; where it is neither it is NATS."""
        return self.url.startswith(KAFKA)


def stream_settings(values: Mapping[str, Any]) -> StreamSettings:
    """Check settings; what is not given is read from the environment.

    Raises:
        SpecInvalid: A value is missing or impossible; all are listed.
    """
    fix = "set these variables or the options of baton stream"
    return checked(StreamSettings, values, what="the stream cannot start", fix=fix)
