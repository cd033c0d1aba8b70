"""The JSON Schemas of what is sent and answered; one place, since two protocols share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from baton.core.bundle import Bundle, Field
from baton.packaging.rows import NUMBER
from baton.serving.body_reader import LARGEST
from baton.serving.feedback_store import Outcome
from baton.serving.online_features import FALLBACK, ONLINE
from baton.serving.online_map import OnlineMap
from baton.serving.online_request import MOST_KEY
from baton.serving.open_inference_tensors import BYTES, DTYPES, LABELS, MOST_ID
from baton.serving.training_range import OUT_OF_RANGE

Schema = dict[str, Any]
CHANCE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TEXT: Schema = {"type": "string"}
# NUL ends a text in the runtime.
WORD: Schema = {"type": ["string", "null"], "pattern": "^[^\\u0000]*$"}
FLOAT: Schema = {"type": ["number", "null"], "minimum": -LARGEST, "maximum": LARGEST}
WHOLE: Schema = {"type": "integer"}
WARNINGS: Schema = {"type": "array", "items": {"const": OUT_OF_RANGE}, "description": "What is odd about the row."}
ROW_NUMBERS: Schema = {"type": "string", "description": "Rows with numbers beyond the training range, with commas."}
FETCHED: Schema = {
    "enum": [ONLINE, FALLBACK],
    "description": "Where the row's features are from, if it named entities.",
}
MISSING: Schema = {
    "type": "object",
    "additionalProperties": TEXT,
    "description": "Why values are missing, by view: unknown, stale or future.",
}
MOMENTS = "Each row's prediction moment, ISO 8601 with an offset."
STOOD_IN: Schema = {"type": "string", "description": "What stood in for the model: see degrade_to."}
# Printable, so that it can be a line of a log.
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "description": "A prediction's id."}


def obj(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """Describe an object of these members and no others; all are required unless said otherwise."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), "required": names, "additionalProperties": False}


def array(items: Schema, **limits: int) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items, **limits}


def problem_schema() -> Schema:
    """Describe a refusal (RFC 9457)."""
    members = {
        "type": {"const": "about:blank"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": TEXT,
        "request_id": {"type": "string", "description": "Name it to whoever runs the service."},
        "error": {"type": "string", "description": "The detail again, where clients of the v2 protocol look."},
        "errors": {
            **array(obj({"pointer": TEXT, "detail": TEXT}), maxItems=20),
            "description": "What is wrong, each with its place (RFC 6901).",
        },
        "more": {"type": "string", "description": "How many others there are."},
        "code": {"const": "model_error"},
    }
    return obj(members, ["type", "title", "status", "detail", "request_id", "error"])


def rows_schema(bundle: Bundle, most_rows: int, online: OnlineMap | None = None) -> Schema:
    """Describe a request for predictions: rows as objects, as columns or, where there is a store, entities alone."""
    required = [each.name for each in bundle.fields if each.required]
    row = obj({each.name: _field(each) for each in bundle.fields}, required)
    columns = {each.name: array(_field(each), minItems=1) for each in bundle.fields}
    labels = {"type": ["array", "null"], "items": TEXT}
    members = {
        "rows": array(row, minItems=1, maxItems=most_rows),
        "columns": {**obj(columns, required), "description": "Lists of one length."},
        "entities": {**labels, "description": "What each row is about, printable; for cohorts and the log."},
        "moments": {**labels, "description": MOMENTS},
    }
    whole = {**obj(members, []), "oneOf": [{"required": ["rows"]}, {"required": ["columns"]}]}
    return whole if online is None else {"anyOf": [whole, _entities_schema(bundle, most_rows, online)]}


def predictions_schema(bundle: Bundle) -> Schema:
    """Describe the answers to a request for predictions."""
    answer = {
        "id": NAME,
        **_answer(bundle),
        "version": TEXT,
        "digest": TEXT,
        "degraded": STOOD_IN,
        "warnings": WARNINGS,
        "features": FETCHED,
        "missing": MISSING,
    }
    required = ["id", *_answer(bundle)]
    members = {
        "degraded": STOOD_IN,
        "model": TEXT,
        "version": TEXT,
        "digest": TEXT,
        "epoch": WHOLE,
        "predictions": array(obj(answer, required), minItems=1),
    }
    return obj(members, [name for name in members if name != "degraded"])


def description_schema() -> Schema:
    """Describe what the service says of its model."""
    field = obj(
        {"name": TEXT, "kind": {"enum": ["number", "text"]}, "required": {"type": "boolean"}, "known": array(TEXT)}
    )
    members = {
        "model": TEXT,
        "version": TEXT,
        "digest": TEXT,
        "epoch": WHOLE,
        "task": {"enum": ["binary", "multiclass", "regression"]},
        "classes": array(TEXT),
        "fields": array(field),
    }
    return obj(members)


def feedback_schema(most_rows: int) -> Schema:
    """Describe late labels."""
    label = {"type": ["string", "number"], "description": "A class, or a number."}
    return obj({"labels": array(obj({"id": NAME, "label": label}), minItems=1, maxItems=most_rows)})


def outcomes_schema() -> Schema:
    """Describe what became of labels."""
    outcome = obj(
        {"id": NAME, "outcome": {"enum": [each.value for each in Outcome]}, "detail": TEXT}, ["id", "outcome"]
    )
    return obj({"results": array(outcome)})


def infer_schema(bundle: Bundle) -> Schema:
    """Describe a request of the Open Inference Protocol."""
    parameters: Schema = {"type": "object"}
    names = [each.name for each in bundle.fields]
    size = {"type": "integer", "minimum": 0}
    tensor = obj(
        {
            "name": {"enum": [*names, *(each for each in LABELS if each not in names)]},
            "shape": array({"type": "integer", "minimum": 1}, minItems=1, maxItems=2),
            "datatype": {"enum": [BYTES, *DTYPES]},
            "parameters": {"type": "object", "properties": {"binary_data_size": size}},
            "data": {"type": "array"},
        },
        ["name", "shape", "datatype"],
    )
    output = obj({"name": TEXT, "parameters": parameters}, ["name"])
    members = {
        "id": {"type": ["string", "null"], "maxLength": MOST_ID},
        "parameters": parameters,
        "inputs": array(tensor, minItems=1),
        "outputs": {"type": ["array", "null"], "items": output, "minItems": 1},
    }
    return obj(members, ["inputs"])


def inferred_schema() -> Schema:
    """Describe an answer of the Open Inference Protocol, as JSON."""
    output = obj(
        {
            "name": TEXT,
            "shape": array(WHOLE),
            "datatype": {"enum": ["FP64", BYTES]},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        ["name", "shape", "datatype"],
    )
    members = {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": obj(
            {"digest": TEXT, "epoch": WHOLE, "degraded": STOOD_IN, OUT_OF_RANGE: ROW_NUMBERS}, ["digest", "epoch"]
        ),
        "outputs": array(output),
    }
    return obj(members, ["model_name", "model_version", "parameters", "outputs"])


def metadata_schema() -> Schema:
    """Describe a model's tensors."""
    tensor = obj({"name": TEXT, "datatype": TEXT, "shape": array(WHOLE)})
    members = {
        "name": TEXT,
        "versions": array(TEXT),
        "platform": TEXT,
        "inputs": array(tensor),
        "outputs": array(tensor),
    }
    return obj(members)


def example_row(bundle: Bundle) -> dict[str, Any]:
    """Give a row that the model takes."""
    return {each.name: 0 if each.kind == NUMBER else next(iter(each.known), None) for each in bundle.fields}


def example_tensors(bundle: Bundle) -> list[dict[str, Any]]:
    """Give the same row as tensors."""
    kinds = {each.name: "FP64" if each.kind == NUMBER else BYTES for each in bundle.fields}
    return [
        {"name": name, "shape": [1, 1], "datatype": kinds[name], "data": [value]}
        for name, value in example_row(bundle).items()
    ]


def _entities_schema(bundle: Bundle, most_rows: int, online: OnlineMap) -> Schema:
    """Describe a request that leaves features to the online store."""
    key = {"type": "string", "minLength": 1, "maxLength": MOST_KEY}
    own = {each.name: _field(each) for each in bundle.fields if each.name not in online.names}
    required = [each.name for each in bundle.fields if each.name in own and each.required]
    members = {
        "entities": {
            **array(obj(dict.fromkeys(online.entities, key)), minItems=1, maxItems=most_rows),
            "description": "The entity keys of each row; its features are fetched.",
        },
        "rows": {
            **array(obj(own, required), minItems=1, maxItems=most_rows),
            "description": "What the store does not hold, one object for each of entities.",
        },
        "moments": {"type": ["array", "null"], "items": TEXT, "description": MOMENTS},
    }
    return obj(members, ["entities"])


def _field(field: Field) -> Schema:
    return FLOAT if field.kind == NUMBER else WORD


def _answer(bundle: Bundle) -> dict[str, Schema]:
    match bundle.task:
        case "binary":
            predicted = bundle.classes[1] if bundle.classes else "1"
            return {"score": {**CHANCE, "description": f"The chance of {predicted}."}}
        case "multiclass":
            chances = obj(dict.fromkeys(bundle.classes, CHANCE))
            return {
                "label": {"enum": list(bundle.classes), "description": "The likeliest class."},
                "scores": {**chances, "description": "The chance of each class; they sum to 1."},
            }
        case "regression":
            return {"value": {"type": "number", "description": "The predicted number."}}
