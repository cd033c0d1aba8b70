"""Ask a service for predictions, from Python."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from baton.core.digest import plain
from baton.core.errors import DependencyDown, Misuse
from baton.serving.breaker import Breaker, BreakerOpen
from baton.serving.client_answers import Answer, Described, answer_of
from baton.serving.retry_budget import RetryBudget

if TYPE_CHECKING:
    import httpx

JSON = {"content-type": "application/json"}
ATTEMPTS = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S, JITTER_S = 0.1, 2.0, 0.1
# What a service says when it may answer a moment later.
WAIT_AND_ASK_AGAIN = frozenset({429, 503})
SERVER_ERROR = 500


class _Unanswered(Exception):
    """No answer: nobody there, or one who says later; `pause_s` is what was asked for."""

    def __init__(self, reason: str, *, pause_s: float | None = None, down: bool = True) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        self.down = down


class PredictionClient:
    """A connection to one model's service, kept open between requests.

    A request that met no service, or one that says "later", is sent again with
    growing, jittered pauses or after the pause that the service asks for: while
    its time lasts and the budget of retries has one left. One that was refused
    is not. After several failures in a row the service is left alone for some
    seconds; then one request finds out whether it is back.

    The service is told how long its answer is waited for, so that it computes
    nothing for nobody.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str | None = None,
        timeout_seconds: float = 10.0,
        authority: Path | None = None,
        budget: RetryBudget | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            url: Where the service listens.
            model: The model's name.
            key: An API key or token, where the service wants one.
            timeout_seconds: Longest to wait for an answer, retries included.
            authority: Certificates (PEM) that vouch for the service, where no public authority does.
            budget: Retries, shared with other clients.
            breaker: What knows that the service fails, shared with other clients.
        """
        import ssl

        import httpx

        self._model = model
        self._timeout = timeout_seconds
        self._budget = budget or RetryBudget()
        self._breaker = breaker or Breaker(url)
        verify = ssl.create_default_context(cafile=str(authority)) if authority else True
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # Whatever proxy the environment names, a service is asked directly.
        self._http = httpx.Client(
            base_url=url, timeout=timeout_seconds, trust_env=False, headers=headers, verify=verify
        )

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
        return answer_of(self._ask("POST", f"/v1/models/{self._model}/predict", body))

    def predict_entities(
        self,
        entities: Sequence[Mapping[str, str]],
        *,
        rows: Sequence[Mapping[str, float | str | None]] | None = None,
        moments: Sequence[datetime] | None = None,
    ) -> Answer:
        """Score what the service fetches the features of.

        Args:
            entities: The entity keys of each row, by name.
            rows: Features that are not in the service's store.
            moments: Each row's prediction moment (aware); now where left out.

        Raises:
            Misuse: The service refuses the request, or has no store.
            DependencyDown: The service does not answer, or its store fails.
        """
        body: dict[str, Any] = {"entities": [dict(each) for each in entities]}
        if rows is not None:
            body["rows"] = [dict(row) for row in rows]
        if moments is not None:
            body["moments"] = [plain(moment) for moment in moments]
        return answer_of(self._ask("POST", f"/v1/models/{self._model}/predict", body))

    def describe(self) -> Described:
        """Ask which version answers.

        Raises:
            DependencyDown: The service does not answer, or has no champion.
        """
        answer = self._ask("GET", f"/v1/models/{self._model}")
        named = {name: answer[name] for name in ("model", "version", "digest", "epoch", "task") if name in answer}
        return Described(**named, classes=tuple(answer.get("classes", ())))

    def feedback(self, labels: Mapping[str, str | float]) -> Mapping[str, str]:
        """Say what happened after predictions.

        Args:
            labels: The class or number of each prediction, by its id.

        Returns:
            What became of each: accepted, duplicate, corrected, unknown or refused.

        Raises:
            Misuse: The service refuses the request.
            DependencyDown: The service does not answer.
        """
        body = {"labels": [{"id": identity, "label": label} for identity, label in labels.items()]}
        return {each["id"]: each["outcome"] for each in self._ask("POST", "/v1/feedback", body)["results"]}

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
        import stamina

        # Once, however often it is sent; a NaN is a missing value, which JSON calls null.
        content = None if body is None else msgspec.json.encode(body, enc_hook=plain)
        until = time.monotonic() + self._timeout
        self._budget.earn()
        attempts = stamina.retry_context(
            on=lambda error: self._pause(error, until),
            attempts=ATTEMPTS,
            timeout=self._timeout,
            wait_initial=FIRST_PAUSE_S,
            wait_max=LONGEST_PAUSE_S,
            wait_jitter=JITTER_S,
        )
        try:
            for attempt in attempts:
                with attempt:
                    return self._once(method, path, content, until)
        except _Unanswered as error:
            raise self._down(str(error)) from error
        raise AssertionError("every attempt returns or raises")

    def _once(self, method: str, path: str, content: bytes | None, until: float) -> dict[str, Any]:
        import httpx

        left = max(until - time.monotonic(), 0.001)
        headers = {"x-request-timeout-ms": f"{left * 1e3:.0f}"} | (JSON if content else {})
        try:
            with self._breaker.guarding(_says_down):
                try:
                    response = self._http.request(method, path, content=content, timeout=left, headers=headers)
                except httpx.TransportError as error:
                    raise _Unanswered(str(error) or type(error).__name__) from error
                if response.status_code in WAIT_AND_ASK_AGAIN:
                    # It answers, so it is there.
                    raise _Unanswered(_detail(response), pause_s=_asked_pause(response), down=False)
                if response.status_code >= SERVER_ERROR:
                    raise self._down(_detail(response))
        except BreakerOpen as error:
            raise self._down(str(error)) from error
        return _checked(response)

    def _pause(self, error: Exception, until: float) -> bool | float:
        """Say whether to ask again, and after which pause if the service has named one."""
        if not isinstance(error, _Unanswered):
            return False
        if error.pause_s is not None and time.monotonic() + error.pause_s >= until:
            return False
        if not self._budget.spend():
            return False
        return True if error.pause_s is None else error.pause_s + random.uniform(0, JITTER_S)  # noqa: S311 - no secret

    def _down(self, why: str) -> DependencyDown:
        return DependencyDown(what=f"{self._http.base_url} does not answer", why=why, fix="start it with `baton serve`")


def _says_down(error: Exception) -> bool:
    return isinstance(error, DependencyDown) or (isinstance(error, _Unanswered) and error.down)


def _asked_pause(response: httpx.Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() else None


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        answer: dict[str, Any] = msgspec.json.decode(response.content)
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
