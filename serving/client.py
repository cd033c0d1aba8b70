"""Ask a service for predictions, from Python."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from baton.core.digest import plain
from baton.core.errors import DependencyDown, Misuse

if TYPE_CHECKING:
    import httpx

    from baton.core.policy import Task

RETRIES = 4
FIRST_PAUSE_S = 0.1
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answers to a request's rows, in order, and the version that gave them.

    A model of two classes gives `scores`, the chance of the second; one of
    several gives `labels`, the likeliest, and `class_scores`, the chance of
    each by its name; a regression gives `values`. The others are empty.
    """

    model: str
    version: str
    digest: str
    epoch: int
    ids: tuple[str, ...]
    scores: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    class_scores: tuple[Mapping[str, float], ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The version that a service answers with, and what it predicts."""

    model: str
    version: str
    digest: str
    epoch: int
    task: Task = "binary"
    classes: tuple[str, ...] = ()


class PredictionClient:
    """A connection to one model's service, kept open between requests.

    A request that met no service, or one without a champion, is sent again a
    few times with growing pauses. One that was refused is not.
    """

    def __init__(self, url: str, *, model: str, timeout_seconds: float = 10.0) -> None:
        import httpx

        self._model = model
        # Whatever proxy the environment names, a service is asked directly.
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)

    def predict(
        self,
        rows: Sequence[Mapping[str, float | str | None]],
        *,
        entities: Sequence[str] | None = None,
        moments: Sequence[datetime] | None = None,
    ) -> Answer:
        """Score rows.

        Args:
            rows: The model's features by name; None where a value is missing.
            entities: What each row is about, for the prediction log.
            moments: Each row's prediction moment (aware), for the log.

        Raises:
            Misuse: The service refuses the request; says every field.
            DependencyDown: The service does not answer, or has no champion.
        """
        body: dict[str, Any] = {"rows": [dict(row) for row in rows]}
        if entities is not None:
            body["entities"] = list(entities)
        if moments is not None:
            body["moments"] = [plain(moment) for moment in moments]
        answer = self._ask("POST", f"/v1/models/{self._model}/predict", body)
        predictions = answer.pop("predictions")
        return Answer(
            ids=tuple(each["id"] for each in predictions),
            scores=tuple(each["score"] for each in predictions if "score" in each),
            labels=tuple(each["label"] for each in predictions if "label" in each),
            class_scores=tuple(each["scores"] for each in predictions if "scores" in each),
            values=tuple(each["value"] for each in predictions if "value" in each),
            **answer,
        )

    def describe(self) -> Described:
        """Ask which version answers.

        Raises:
            DependencyDown: The service does not answer, or has no champion.
        """
        answer = self._ask("GET", f"/v1/models/{self._model}")
        named = {name: answer[name] for name in ("model", "version", "digest", "epoch", "task") if name in answer}
        return Described(**named, classes=tuple(answer.get("classes", ())))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        import httpx

        reason = ""
        for attempt in range(RETRIES + 1):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                response = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                continue
            if response.status_code != UNAVAILABLE:
                return _checked(response)
            reason = _detail(response)
        raise DependencyDown(
            what=f"{self._http.base_url} does not answer", why=reason, fix="start it with `baton serve`"
        )


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        answer: dict[str, Any] = response.json()
        return answer
    raise Misuse(
        what=f"the service refuses the request with {response.status_code}",
        why=_detail(response),
        fix="GET the model to see its fields",
    )


def _detail(response: httpx.Response) -> str:
    try:
        content = response.json()
        errors = [f"{each['pointer']} {each['detail']}" for each in content.get("errors", ())]
        return "; ".join(errors) or str(content["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:200] or response.reason_phrase
