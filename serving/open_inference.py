"""The Open Inference Protocol (version 2) over HTTP, as Triton and KServe speak it.

GET  /v2                                            the server and its extensions
GET  /v2/health/live, /v2/health/ready              for supervisors
GET  /v2/models/{name}[/versions/{v}]               inputs and outputs
GET  /v2/models/{name}[/versions/{v}]/ready         whether it answers
POST /v2/models/{name}[/versions/{v}]/infer         score rows; JSON, or JSON and binary data

Rows, answers and refusals are those of `/v1/models/{name}/predict`, in other clothes.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from baton.core.bundle import Bundle
from baton.packaging.rows import NUMBER
from baton.serving.answers import likeliest
from baton.serving.arms import AnsweredRows, answered_by_arms
from baton.serving.endpoint import endpoint, read_request, take_rows_of
from baton.serving.open_inference_tensors import BYTES, InferRequest, as_tensors, read_tensors
from baton.serving.request_body import parse_request, read_body
from baton.serving.request_schema import Problem, RequestRefused, pointer_to
from baton.serving.served_model import served
from baton.serving.training_range import OUT_OF_RANGE

if TYPE_CHECKING:
    from baton.serving.engine import Engine
    from baton.serving.engines import Engines

HEADER_LENGTH = "inference-header-content-length"
PLATFORM = "onnx_onnxruntime"
PREFIXES = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")


def open_inference_routes() -> list[Route]:
    """Give the protocol's routes; the engine is the app's own."""
    routes = [
        Route("/v2", endpoint(_server), methods=["GET"]),
        Route("/v2/health/live", endpoint(_live), methods=["GET"]),
        Route("/v2/health/ready", endpoint(_ready), methods=["GET"]),
    ]
    for prefix in PREFIXES:
        routes += [
            Route(prefix, endpoint(_model), methods=["GET"]),
            Route(f"{prefix}/ready", endpoint(_model_ready), methods=["GET"]),
            Route(f"{prefix}/infer", endpoint(_infer), methods=["POST"]),
        ]
    return routes


def outputs_of(bundle: Bundle) -> list[dict[str, Any]]:
    """Describe a model's output tensors; -1 stands for the number of rows."""
    match bundle.task:
        case "binary":
            named = [("score", "FP64", 1)]
        case "multiclass":
            named = [("label", BYTES, 1), ("scores", "FP64", len(bundle.classes))]
        case "regression":
            named = [("value", "FP64", 1)]
    return [
        {"name": name, "datatype": kind, "shape": [-1, wide]}
        for name, kind, wide in [*named, ("id", BYTES, 1), ("version", BYTES, 1)]
    ]


def inputs_of(bundle: Bundle) -> list[dict[str, Any]]:
    """Describe a model's input tensors, one for each field."""
    return [
        {"name": field.name, "datatype": "FP64" if field.kind == NUMBER else BYTES, "shape": [-1, 1]}
        for field in bundle.fields
    ]


async def _server(_: Request, __: Engine) -> Response:
    return JSONResponse({"name": "baton", "version": version("baton"), "extensions": ["binary_tensor_data"]})


async def _live(_: Request, __: Engine) -> Response:
    return JSONResponse({"live": True})


async def _ready(request: Request, _: Engine) -> Response:
    engines: Engines = request.app.state.engines
    engines.ready()
    return JSONResponse({"ready": True})


async def _model(request: Request, engine: Engine) -> Response:
    predictor = served(engine, request.path_params["name"], request.path_params.get("version"))
    return JSONResponse(
        {
            "name": predictor.release.model,
            "versions": [predictor.release.version],
            "platform": PLATFORM,
            "inputs": inputs_of(predictor.bundle),
            "outputs": outputs_of(predictor.bundle),
        }
    )


async def _model_ready(request: Request, engine: Engine) -> Response:
    predictor = served(engine, request.path_params["name"], request.path_params.get("version"))
    return JSONResponse({"name": predictor.release.model, "ready": True})


async def _infer(request: Request, engine: Engine) -> Response:
    started = time.perf_counter()
    predictor = served(engine, request.path_params["name"], request.path_params.get("version"))
    content = await read_request(request, engine)
    head, raw = _split(content, request.headers.get(HEADER_LENGTH))
    asked = read_tensors(read_body(head), raw, predictor.bundle.fields)
    names = _asked_outputs(asked, predictor.bundle)
    try:
        checked = parse_request(asked.body, predictor.bundle.fields, most_rows=engine.settings.max_request_rows)
    except RequestRefused as refused:
        raise as_tensors(refused, asked.places) from refused
    outside = take_rows_of(request, engine, predictor, checked.rows)
    answered = await answered_by_arms(engine, checked)
    release = predictor.release
    members = {
        "model_name": release.model,
        "model_version": release.version,
        **({"id": asked.id} if asked.id else {}),
        "parameters": {
            "digest": release.champion,
            "epoch": release.epoch,
            **({"degraded": answered.degraded} if answered.degraded else {}),
            # A parameter is one value, so the rows are named in it.
            **({OUT_OF_RANGE: ",".join(map(str, outside))} if outside else {}),
        },
    }
    tensors = _tensors(predictor.bundle, answered)
    headers = {"model-version": release.version, "model-digest": release.champion}
    response = _rendered(members, {name: tensors[name] for name in names}, names, headers)
    for gave, scored in answered.given:
        engine.sent(gave, scored, started=started)
    return response


def _split(content: bytes, declared: str | None) -> tuple[bytes, bytes]:
    """Part the JSON from the binary data behind it."""
    if declared is None:
        return content, b""
    if not (declared.isascii() and declared.isdigit()) or int(declared) > len(content):
        raise RequestRefused([Problem(pointer="", detail=f"{HEADER_LENGTH} is not the length of the JSON")])
    return content[: int(declared)], content[int(declared) :]


def _asked_outputs(asked: InferRequest, bundle: Bundle) -> Mapping[str, bool]:
    """Say which outputs are wanted, and whether each in binary."""
    offered = [output["name"] for output in outputs_of(bundle)]
    if asked.outputs is None:
        return dict.fromkeys(offered, asked.binary)
    unknown = [name for name in asked.outputs if name not in offered]
    if unknown:
        raise RequestRefused([Problem(pointer=pointer_to("outputs"), detail=f"the outputs are {', '.join(offered)}")])
    return {name: binary or asked.binary for name, binary in asked.outputs.items()}


def _tensors(bundle: Bundle, answered: AnsweredRows) -> dict[str, Any]:
    scores = answered.scores
    named: dict[str, Any] = {"id": answered.ids, "version": answered.versions}
    match bundle.task:
        case "binary":
            named["score"] = scores
        case "multiclass":
            named |= {"label": likeliest(bundle, scores), "scores": scores}
        case "regression":
            named["value"] = scores
    return named


def _rendered(
    members: Mapping[str, Any], tensors: Mapping[str, Any], binary: Mapping[str, bool], headers: dict[str, str]
) -> Response:
    outputs, pieces = [], []
    for name, values in tensors.items():
        numbers = isinstance(values, np.ndarray)
        shape = [len(values), values.shape[1] if numbers and values.ndim > 1 else 1]
        output: dict[str, Any] = {"name": name, "datatype": "FP64" if numbers else BYTES, "shape": shape}
        if binary[name]:
            piece = values.astype("<f8").tobytes() if numbers else b"".join(map(_length_first, values))
            output["parameters"] = {"binary_data_size": len(piece)}
            pieces.append(piece)
        else:
            output["data"] = values.ravel().tolist() if numbers else values
        outputs.append(output)
    if not pieces:
        return JSONResponse({**members, "outputs": outputs}, headers=headers)
    head = json.dumps({**members, "outputs": outputs}, separators=(",", ":")).encode()
    return Response(
        head + b"".join(pieces),
        media_type="application/octet-stream",
        headers={**headers, HEADER_LENGTH: str(len(head))},
    )


def _length_first(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<I", len(content)) + content
