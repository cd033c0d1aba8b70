"""The Open Inference Protocol, spoken by Triton's own client to a real service, and by hand in process."""

import asyncio
import json
import struct

import httpx
import numpy as np
import pytest

from baton.serving.app import create_app
from baton.serving.process import start
from baton.serving.serving_settings import ServingSettings

INFER = "/v2/models/flights/infer"
NAMES = {"carrier": "BYTES", "distance": "FP64", "delay": "FP64"}


@pytest.fixture
def client(state, port, release):
    from tritonclient.http import InferenceServerClient

    release(0)
    service = start(state, model="flights", port=port)
    with InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client
    assert service.stop() == 0


def inputs(rows, *, binary, shape=(-1, 1), kinds=NAMES):
    from tritonclient.http import InferInput
    from tritonclient.utils import triton_to_np_dtype

    made = []
    for name, kind in kinds.items():
        values = [row[name] for row in rows]
        if kind == "BYTES":
            array = np.array([value or "" for value in values], dtype=object)
        else:
            array = np.array([np.nan if value is None else value for value in values], triton_to_np_dtype(kind))
        tensor = InferInput(name, [len(rows), *shape[1:]], kind)
        tensor.set_data_from_numpy(array.reshape([len(rows), *shape[1:]]), binary_data=binary)
        made.append(tensor)
    return made


def test_tritons_client_finds_everything_that_it_asks_for(client, sealed):
    """One service for the whole conversation, since a start takes seconds."""
    from tritonclient.http import InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    digest = sealed.bundles[0].digest
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert client.is_model_ready("flights", "1")
    assert not client.is_model_ready("flights", "7")
    assert not client.is_model_ready("taxis")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("flights")
    assert {each["name"]: each["datatype"] for each in metadata["inputs"]} == NAMES
    assert [each["name"] for each in metadata["outputs"]] == ["score", "id", "version"]

    # Binary, and as JSON where nothing is missing; columns of rows and of rows by one.
    rows = sealed.requests[:50]
    full = [(at, row) for at, row in enumerate(sealed.requests) if row["delay"] is not None][:20]
    expected = sealed.scores[digest]
    for shape in ((-1,), (-1, 1)):
        found = client.infer("flights", inputs(rows, binary=True, shape=shape), request_id="mine")
        assert found.as_numpy("score").shape == (50, 1)
        assert found.as_numpy("score")[:, 0] == pytest.approx(expected[:50], abs=1e-6)
        assert found.get_response()["id"] == "mine"
        assert len({*found.as_numpy("id")[:, 0]}) == 50
        found = client.infer("flights", inputs([row for _, row in full], binary=False, shape=shape))
        assert found.as_numpy("score")[:, 0] == pytest.approx([expected[at] for at, _ in full], abs=1e-6)

    # Smaller types mean the same, and outputs come as they are asked for.
    small = inputs(
        [row for _, row in full], binary=True, kinds={"carrier": "BYTES", "distance": "INT16", "delay": "FP32"}
    )
    for binary in (True, False):
        wanted = [InferRequestedOutput("score", binary_data=binary)]
        found = client.infer("flights", small, model_version="1", outputs=wanted)
        assert [each["name"] for each in found.get_response()["outputs"]] == ["score"]
        assert found.as_numpy("score")[:, 0] == pytest.approx([expected[at] for at, _ in full], abs=1e-6)

    # What is refused says why in the member that the client reads.
    with pytest.raises(InferenceServerException, match="field is missing"):
        client.infer("flights", inputs(rows, binary=True)[:2])
    with pytest.raises(InferenceServerException, match="the outputs are score, id, version"):
        client.infer("flights", inputs(rows, binary=True), outputs=[InferRequestedOutput("nonsense")])
    with pytest.raises(InferenceServerException, match="uncompressed"):
        client.infer("flights", inputs(rows, binary=True), request_compression_algorithm="gzip")
    with pytest.raises(InferenceServerException, match="version 1 is"):
        client.infer("flights", inputs(rows, binary=True), model_version="7")


@pytest.fixture
def ask(state, release):
    """Send requests to a fresh app in process, and give the answers."""
    release(0)

    def ask(*bodies, **limits):
        async def story():
            app = create_app(lambda: ServingSettings(folder=state, model="flights", **limits))
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
            ):
                return [await client.post(path, **body) for path, body in bodies]

        answers = asyncio.run(story())
        return answers[0] if len(answers) == 1 else answers

    return ask


def tensors(rows, **changes):
    made = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, kind in NAMES.items()
    ]
    return {"inputs": [tensor | changes.get(tensor["name"], {}) for tensor in made]}


def test_all_ways_in_give_the_same_bytes_of_score(ask, sealed):
    """REST by rows, REST by columns and v2: one function."""
    rows = sealed.requests
    columns = {name: [row[name] for row in rows] for name in NAMES}
    v1 = "/v1/models/flights/predict"

    by_rows, by_columns, v2 = ask(
        (v1, {"json": {"rows": rows}}), (v1, {"json": {"columns": columns}}), (INFER, {"json": tensors(rows)})
    )

    scores = [each["score"] for each in by_rows.json()["predictions"]]
    assert [each["score"] for each in by_columns.json()["predictions"]] == scores
    assert v2.json()["outputs"][0] == {"name": "score", "datatype": "FP64", "shape": [len(rows), 1], "data": scores}
    assert v2.headers["model-digest"] == v2.json()["parameters"]["digest"]


ROW = {"carrier": "AA", "distance": 100, "delay": 3}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/inputs"),
        ({"inputs": []}, "/inputs"),
        ({"inputs": [3]}, "/inputs/0"),
        (tensors([ROW]) | {"id": "a\nb"}, "/id"),
        (tensors([ROW]) | {"more": 1}, "/more"),
        (tensors([ROW]) | {"parameters": 1}, "/parameters"),
        (tensors([ROW]) | {"outputs": []}, "/outputs"),
        (
            tensors([ROW]) | {"outputs": [{"name": "score", "parameters": {"classification": 2}}]},
            "/outputs/0/parameters",
        ),
        (tensors([ROW], delay={"shape": [0]}), "/inputs/2/shape"),
        (tensors([ROW], delay={"shape": [1, 2]}), "/inputs/2/shape"),
        (tensors([ROW], delay={"shape": [True]}), "/inputs/2/shape"),
        (tensors([ROW], delay={"shape": [2]}), "/inputs/2/data"),
        (tensors([ROW], delay={"datatype": "BOOL"}), "/inputs/2/datatype"),
        (tensors([ROW], delay={"datatype": []}), "/inputs/2/datatype"),
        (tensors([ROW], carrier={"datatype": "FP64"}), "/inputs/0/datatype"),
        (tensors([ROW], delay={"data": ["3"]}), "/inputs/2/data/0"),
        (tensors([ROW], delay={"data": [True]}), "/inputs/2/data/0"),
        (tensors([ROW], delay={"data": [1e39]}), "/inputs/2/data/0"),
        (tensors([ROW], delay={"datatype": "INT8", "data": [300]}), "/inputs/2/data"),
        (tensors([ROW], delay={"datatype": "INT64", "data": [1.5]}), "/inputs/2/data"),
        (tensors([ROW], delay={"data": 3}), "/inputs/2/data"),
        (tensors([ROW], delay={"name": "dely"}), "/inputs/2/data/0"),
        (tensors([ROW], delay={"name": "distance"}), "/inputs/2/name"),
        (tensors([ROW], delay={"parameters": {"binary_data_size": 8}}), "/inputs/2/parameters/binary_data_size"),
        (tensors([ROW], carrier={"data": ["a\0b"]}), "/inputs/0/data/0"),
        (tensors([ROW], delay={"extra": 1}), "/inputs/2/extra"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(ask, body, pointer):
    """G2, G6: wrong type, shape, name or range; a problem document with the place."""
    response = ask((INFER, {"json": body}))

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert any(each["pointer"].startswith(pointer) for each in response.json()["errors"]), response.json()["errors"]
    assert response.json()["error"]


@pytest.mark.parametrize(
    ("tail", "declared"),
    [
        (b"\x00" * 7, None),
        (b"\x00" * 9, None),
        (b"\xff\xff\xff\xff", None),
        (struct.pack("<d", np.inf), None),
        (b"", "-1"),
        (b"", "9" * 30),
        (b"", "x"),
    ],
    ids=["too short", "too long", "cut text", "infinite", "negative", "huge", "no number"],
)
def test_binary_data_that_does_not_fit_is_refused(ask, tail, declared):
    """G6: lengths are never believed."""
    body = tensors([ROW])
    if declared is None:
        del body["inputs"][2]["data"]
        body["inputs"][2]["parameters"] = {"binary_data_size": 8}
    head = json.dumps(body).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": declared or str(len(head)),
    }

    response = ask((INFER, {"content": head + tail, "headers": headers}))

    assert response.status_code == 422


def test_missing_is_null_or_nan_or_no_text(ask, sealed):
    row = ROW | {"delay": None, "carrier": None}
    body = tensors([row])
    for at, piece in ((0, struct.pack("<I", 0)), (2, struct.pack("<d", np.nan))):
        del body["inputs"][at]["data"]
        body["inputs"][at]["parameters"] = {"binary_data_size": len(piece)}
    head = json.dumps(body).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    binary = head + struct.pack("<I", 0) + struct.pack("<d", np.nan)

    first, second = ask((INFER, {"json": tensors([row])}), (INFER, {"content": binary, "headers": headers}))

    assert first.json()["outputs"][0] == second.json()["outputs"][0]
    assert first.status_code == 200


def test_too_many_rows_are_refused_by_their_number(ask):
    """A6: with the limit, and never split."""
    response = ask((INFER, {"json": tensors([ROW] * 5)}), max_request_rows=4)

    assert response.status_code == 413
    assert "the limit is 4" in response.json()["detail"]
