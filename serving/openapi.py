"""The interface as an OpenAPI 3.1 document: every route, every status, the champion's own fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from baton.core.bundle import Bundle
from baton.core.release import Release
from baton.serving.online_map import OnlineMap
from baton.serving.openapi_schemas import (
    TEXT,
    description_schema,
    example_row,
    example_tensors,
    feedback_schema,
    infer_schema,
    inferred_schema,
    metadata_schema,
    obj,
    outcomes_schema,
    predictions_schema,
    problem_schema,
    rows_schema,
)
from baton.serving.problem import MEDIA_TYPE

Part = dict[str, Any]
PROBLEM = {"$ref": "#/components/schemas/Problem"}
# What the edge says before a route is reached, and what any route may say.
EDGE = (400, 401, 403, 404, 413, 415, 429, 431)
BODY = (408, 422, 500, 503, 504)
WAIT = (429, 503)
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token where the service takes any.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
TIMEOUT_HEADER = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "How long the caller waits; rows that are not begun by then are not scored.",
    "schema": {"type": "number", "minimum": 0.001},
}
BOOLEAN: Part = {"type": "boolean"}


def openapi(
    bundle: Bundle, release: Release, *, most_rows: int, secured: bool = False, online: OnlineMap | None = None
) -> dict[str, Any]:
    """Describe how to ask this model and what it answers.

    Args:
        bundle: The champion's bundle.
        release: The release that is served.
        most_rows: Most rows of one request.
        secured: Whether callers need a key.
        online: What the online store holds, where there is one.
    """
    security: Part = {"security": SECURITY} if secured else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": release.model, "version": release.version},
        "paths": {
            **_predictions(bundle, release, most_rows, online),
            **_inference(bundle, release),
            **_feedback(most_rows),
            **_operations(),
        },
        "components": {"schemas": {"Problem": problem_schema()}, "securitySchemes": SCHEMES},
        **security,
    }


def together(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the document of one service whose models have these: the first's, and of the others what it has not."""
    whole, *others = documents
    for other in others:
        name = other["info"]["title"]
        for path, operations in other["paths"].items():
            if path not in whole["paths"]:
                for operation in operations.values():
                    operation["operationId"] += f"Of{name}"
                whole["paths"][path] = operations
    return whole


def _predictions(bundle: Bundle, release: Release, most_rows: int, online: OnlineMap | None) -> Part:
    predict = _operation(
        "predict",
        "Score rows",
        {"application/json": predictions_schema(bundle)},
        sends={"application/json": rows_schema(bundle, most_rows, online)},
        example={"rows": [example_row(bundle)]},
        answered=_versioned(),
        parameters=[TIMEOUT_HEADER],
    )
    describe = _operation(
        "describe", "Say what is served and which fields it takes", {"application/json": description_schema()}
    )
    path = f"/v1/models/{release.model}"
    return {f"{path}/predict": {"post": predict}, path: {"get": describe}}


def _inference(bundle: Bundle, release: Release) -> Part:
    server = obj({"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}})
    paths: Part = {
        "/v2": {"get": _operation("server", "Name the server and its extensions", {"application/json": server})},
        "/v2/health/live": {
            "get": _operation("live", "Say that it lives", {"application/json": obj({"live": BOOLEAN})})
        },
        "/v2/health/ready": {
            "get": _operation("ready", "Say whether it answers", {"application/json": obj({"ready": BOOLEAN})})
        },
    }
    for prefix, suffix in (("", ""), (f"/versions/{release.version}", "Version")):
        path = f"/v2/models/{release.model}{prefix}"
        ready = obj({"name": TEXT, "ready": BOOLEAN})
        infer = _operation(
            f"infer{suffix}",
            "Score rows, given as tensors",
            {"application/json": inferred_schema(), "application/octet-stream": {}},
            sends={"application/json": infer_schema(bundle)},
            example={"inputs": example_tensors(bundle)},
            answered=_versioned() | {"inference-header-content-length": _header(TEXT, required=False)},
        )
        paths |= {
            path: {
                "get": _operation(f"model{suffix}", "Name inputs and outputs", {"application/json": metadata_schema()})
            },
            f"{path}/ready": {
                "get": _operation(f"modelReady{suffix}", "Say whether it answers", {"application/json": ready})
            },
            f"{path}/infer": {"post": infer},
        }
    return paths


def _feedback(most_rows: int) -> Part:
    take = _operation(
        "feedback",
        "Say what happened after predictions",
        {"application/json": outcomes_schema()},
        sends={"application/json": feedback_schema(most_rows)},
        example={"labels": [{"id": "01926b4c7f3a7b0c8d1e2f3a4b5c6d7e", "label": 1}]},
    )
    return {"/v1/feedback": {"post": take}}


def _operations() -> Part:
    text = {"text/plain": {"type": "string"}}
    return {
        "/livez": {"get": _operation("livez", "Say that the event loop turns", text)},
        "/readyz": {"get": _operation("readyz", "Say whether there is a champion to answer with", text)},
        "/metrics": {"get": _operation("metrics", "Give the Prometheus metrics", text)},
        "/openapi.json": {
            "get": _operation("document", "Give this document", {"application/json": {"type": "object"}})
        },
    }


def _operation(
    name: str,
    summary: str,
    gives: Mapping[str, Part],
    *,
    sends: Mapping[str, Part] | None = None,
    example: Part | None = None,
    answered: Part | None = None,
    parameters: Sequence[Part] = (),
) -> Part:
    good = {"description": "The answer.", "headers": answered or {}, "content": _content(gives)}
    refused = sorted({*EDGE, *(BODY if sends else (503,))})
    content = {kind: {"schema": schema, "example": example} for kind, schema in (sends or {}).items()}
    body = {"requestBody": {"required": True, "content": content}} if content else {}
    given = {"parameters": list(parameters)} if parameters else {}
    return {
        "operationId": name,
        "summary": summary,
        **given,
        **body,
        "responses": {"200": good, **{str(status): _refusal(status) for status in refused}},
    }


def _refusal(status: int) -> Part:
    headers = {"x-request-id": _header(TEXT)}
    if status in WAIT:
        headers["retry-after"] = _header({"type": "integer", "minimum": 1})
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = _header(TEXT)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        for name in ("limit", "remaining", "reset", "policy"):
            headers[f"ratelimit-{name}"] = _header(TEXT, required=False)
    content = {MEDIA_TYPE: {"schema": PROBLEM}}
    return {"description": f"{HTTPStatus(status).phrase} (RFC 9457).", "headers": headers, "content": content}


def _versioned() -> Part:
    return {"model-version": _header(TEXT), "model-digest": _header(TEXT)}


def _header(schema: Part, *, required: bool = True) -> Part:
    return {"required": required, "schema": schema}


def _content(schemas: Mapping[str, Part]) -> Part:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}
