"""POST /v1/feedback: what happened after a prediction, told by the prediction's id.

    {"labels": [{"id": "...", "label": 1}, ...]}

A label is a class or, of a regression, a number; a class of two may be 0 or 1.
Each is answered for itself: `accepted`, `duplicate` (known already),
`corrected` (another one was known; the last counts), `unknown` (no such
prediction in the log, or not yet) or `refused` (no class of that model).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from baton.core.bundle import Bundle
from baton.core.errors import BatonError
from baton.packaging.reader import open_bundle
from baton.serving.endpoint import caller_of, endpoint, read_request
from baton.serving.feedback_store import FeedbackStore, Label, Outcome
from baton.serving.logged_predictions import LoggedPredictions
from baton.serving.request_body import TooManyRows, read_body
from baton.serving.request_schema import Problem, Problems, RequestRefused, kind_of, pointer_to

if TYPE_CHECKING:
    from baton.serving.engine import Engine
    from baton.serving.engines import Engines

log = logging.getLogger(__name__)

MOST_ID = 64
WRITE_SECONDS = 1.0
UNKNOWN = "no such prediction in the log, or not yet"


class Feedback:
    """The labels of one model's folder, with the predictions and bundles that they belong to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FeedbackStore(folder)
        self._predictions = LoggedPredictions(folder)
        self._bundles: dict[str, Bundle | None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Write what has come in into files, about once a second."""
        self._writing = asyncio.get_running_loop().create_task(self._write_for_ever())

    async def stop(self) -> None:
        """Write what is left, and stop."""
        if self._writing:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    def take(self, items: Sequence[tuple[str, Any]], *, caller: str, now: datetime) -> list[tuple[Outcome, str]]:
        """Judge and keep labels; gives for each what became of it, and why it was not kept.

        Raises:
            DependencyDown: The disk does not take them.
        """
        digests = self._predictions.digests({identity for identity, _ in items})
        results: list[tuple[Outcome, str]] = []
        kept: list[tuple[int, Label]] = []
        for at, (identity, given) in enumerate(items):
            outcome, detail, label = self._judged(identity, given, digests.get(identity))
            results.append((outcome, detail))
            if label:
                kept.append((at, label))
        outcomes = self._store.add([label for _, label in kept], caller=caller, now=now) if kept else []
        for (at, _), outcome in zip(kept, outcomes, strict=True):
            results[at] = outcome, ""
        return results

    def _judged(self, identity: str, given: Any, digest: str | None) -> tuple[Outcome, str, Label | None]:
        if digest is None:
            return Outcome.UNKNOWN, UNKNOWN, None
        bundle = self._bundle(digest)
        if bundle is None:
            return Outcome.UNKNOWN, "the bundle that answered is no longer there", None
        meant = label_of(bundle, given)
        if meant is None:
            return Outcome.REFUSED, expected_of(bundle), None
        text, number = meant
        return Outcome.ACCEPTED, "", Label(id=identity, text=text, number=number, digest=digest)

    def _bundle(self, digest: str) -> Bundle | None:
        if digest not in self._bundles:
            try:
                self._bundles[digest] = open_bundle(self._folder / "bundles" / digest)
            except BatonError:
                self._bundles[digest] = None
        return self._bundles[digest]

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        try:
            await asyncio.to_thread(self._store.write)
            self._said = ""
        except BatonError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.error("feedback_not_written", extra={"reason": str(error)})  # noqa: TRY400 - the reason says it all


def feedback_routes() -> list[Route]:
    """Give the route; the engine, and in it the `Feedback`, is the app's own."""
    return [Route("/v1/feedback", endpoint(_take), methods=["POST"])]


def label_of(bundle: Bundle, given: Any) -> tuple[str, float | None] | None:
    """Read a label as a model means it: its class's name and number, or the number alone; None where it is none."""
    number = given if type(given) in {int, float} else None
    if bundle.task == "regression":
        # Integers beyond a double's range are no number of any model.
        with suppress(OverflowError):
            if number is not None and math.isfinite(number):
                return repr(float(number)), float(number)
        return None
    if bundle.task == "multiclass":
        return (given, None) if isinstance(given, str) and given in bundle.classes else None
    names = bundle.classes or ("0", "1")
    if number in (0, 1):
        return names[int(number)], float(number)
    return (given, float(names.index(given))) if isinstance(given, str) and given in names else None


def expected_of(bundle: Bundle) -> str:
    """Say which labels a model has."""
    if bundle.task == "regression":
        return "expected a finite number"
    names = bundle.classes[:20] if bundle.task == "multiclass" else ("0", "1", *bundle.classes)
    return f"expected one of {', '.join(names)}"


async def _take(request: Request, engine: Engine) -> Response:
    engines: Engines = request.app.state.engines
    items = _items(read_body(await read_request(request, engine)), most=engine.settings.max_request_rows)
    caller = caller_of(request)
    engine.edge.charge(caller, len(items))
    now = datetime.now(timezone.utc)
    results = [(Outcome.UNKNOWN, UNKNOWN)] * len(items)
    # Whose predictions they are, their ids do not say: each model looks for those that no other has.
    for each in engines.by_name.values():
        left = [at for at, (outcome, _) in enumerate(results) if outcome is Outcome.UNKNOWN]
        taken = [items[at] for at in left]
        found = await asyncio.to_thread(each.feedback.take, taken, caller=caller.id, now=now) if left else []
        for at, result in zip(left, found, strict=True):
            results[at] = result
    told = [
        {"id": identity, "outcome": outcome.value, **({"detail": detail} if detail else {})}
        for (identity, _), (outcome, detail) in zip(items, results, strict=True)
    ]
    return JSONResponse({"results": told})


def _items(body: Any, *, most: int) -> list[tuple[str, Any]]:
    """Check the form of a body and give its ids and labels.

    Raises:
        RequestRefused: It has another form.
        TooManyRows: It has too many labels.
    """
    if not isinstance(body, dict):
        raise RequestRefused([Problem(pointer="", detail=f"expected an object, found {kind_of(body)}")])
    problems = Problems()
    problems.unknown(body, ("labels",), pointer_to)
    labels = body.get("labels")
    if not isinstance(labels, list) or not labels:
        problems.add("/labels", f"expected a list of at least one label, found {kind_of(labels)}")
        problems.refuse()
    if len(labels) > most:
        raise TooManyRows(what=f"{len(labels)} labels are too many", why=f"the limit is {most}", fix="send several")
    for at, item in enumerate(labels):
        _check_item(item, at, problems)
    if problems:
        problems.refuse()
    return [(item["id"], item["label"]) for item in labels]


def _check_item(item: Any, at: int, problems: Problems) -> None:
    if not isinstance(item, dict):
        problems.add(pointer_to("labels", at), f"expected an object, found {kind_of(item)}")
        return
    problems.unknown(item, ("id", "label"), lambda key: pointer_to("labels", at, key))
    identity = item.get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= MOST_ID or not identity.isprintable():
        problems.add(pointer_to("labels", at, "id"), f"expected a prediction's id, found {kind_of(identity)}")
    if "label" not in item or type(item["label"]) not in {str, int, float}:
        detail = f"expected a class or a number, found {kind_of(item.get('label'))}"
        problems.add(pointer_to("labels", at, "label"), detail)
