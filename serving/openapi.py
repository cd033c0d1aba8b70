"""The interface as an OpenAPI 3.1 document: the champion's own fields, and the answers of its task."""

from __future__ import annotations

from typing import Any

from baton.core.bundle import Bundle, Field
from baton.core.release import Release
from baton.packaging.rows import NUMBER

CHANCE = {"type": "number", "minimum": 0, "maximum": 1}
TEXT = {"type": "string"}


def openapi(bundle: Bundle, release: Release, *, most_rows: int) -> dict[str, Any]:
    """Describe how to ask this model and what it answers.

    Args:
        bundle: The champion's bundle.
        release: The release that is served.
        most_rows: Most rows of one request.
    """
    request = {"required": True, "content": {"application/json": {"schema": _request(bundle, most_rows)}}}
    problem = {"description": "A problem document (RFC 9457).", "content": {"application/problem+json": {}}}
    predict = {
        "operationId": "predict",
        "summary": "Score rows",
        "requestBody": request,
        "responses": {"200": _json("The answers, in the order of the rows.", _response(bundle)), "default": problem},
    }
    describe = {
        "operationId": "describe",
        "summary": "Say what is served and which fields it takes",
        "responses": {"200": _json("The champion.", {"type": "object"}), "default": problem},
    }
    path = f"/v1/models/{release.model}"
    return {
        "openapi": "3.1.0",
        "info": {"title": release.model, "version": release.version},
        "paths": {f"{path}/predict": {"post": predict}, path: {"get": describe}},
    }


def _request(bundle: Bundle, most_rows: int) -> dict[str, Any]:
    row = _object(
        {field.name: _field(field) for field in bundle.fields}, [each.name for each in bundle.fields if each.required]
    )
    columns = {field.name: {"type": "array", "items": _field(field)} for field in bundle.fields}
    texts = {"type": "array", "items": TEXT}
    return {
        **_object(
            {
                "rows": {"type": "array", "items": row, "minItems": 1, "maxItems": most_rows},
                "columns": _object(columns, [each.name for each in bundle.fields if each.required]),
                "entities": {**texts, "description": "What each row is about, for the prediction log."},
                "moments": {**texts, "description": "Each row's prediction moment, ISO 8601 with an offset."},
            },
            [],
        ),
        "oneOf": [{"required": ["rows"]}, {"required": ["columns"]}],
    }


def _field(field: Field) -> dict[str, Any]:
    return {"type": ["number" if field.kind == NUMBER else "string", "null"]}


def _response(bundle: Bundle) -> dict[str, Any]:
    answer = _object(answer_fields := {"id": TEXT, **_answer(bundle)}, list(answer_fields))
    members = {
        "model": TEXT,
        "version": TEXT,
        "digest": TEXT,
        "epoch": {"type": "integer"},
        "predictions": {"type": "array", "items": answer},
    }
    return _object(members, list(members))


def _answer(bundle: Bundle) -> dict[str, Any]:
    match bundle.task:
        case "binary":
            predicted = bundle.classes[1] if bundle.classes else "1"
            return {"score": {**CHANCE, "description": f"The chance of {predicted}."}}
        case "multiclass":
            return {
                "label": {"enum": list(bundle.classes), "description": "The likeliest class."},
                "scores": {
                    **_object(dict.fromkeys(bundle.classes, CHANCE), list(bundle.classes)),
                    "description": "The chance of each class; they sum to 1.",
                },
            }
        case "regression":
            return {"value": {"type": "number", "description": "The predicted number."}}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
