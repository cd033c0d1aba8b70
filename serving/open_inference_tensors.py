"""Tensors of the Open Inference Protocol, as the columns that a prediction request has.

One tensor for each field, of shape [rows] or [rows, 1]: text is BYTES, numbers
are of any numeric type. Missing is null in JSON; in binary data it is NaN and,
for text, no bytes at all. What the columns may hold is checked where those of
our own protocol are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baton.core.bundle import Field
from baton.packaging.rows import TEXT
from baton.serving.request_schema import Problem, Problems, RequestRefused, kind_of, pointer_to

BYTES = "BYTES"
DTYPES: Mapping[str, str] = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "|i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "|u1",
}
INPUT_KEYS = ("name", "shape", "datatype", "parameters", "data")
# Beside the features, what each row is about and its moment of prediction.
LABELS = ("entities", "moments")
MOST_ID = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A request in our own protocol's form, and how its answer is to look; `places` are the inputs by column."""

    body: dict[str, Any]
    places: Mapping[str, int]
    outputs: Mapping[str, bool] | None
    binary: bool
    id: str | None


def read_tensors(body: Any, raw: bytes, fields: Sequence[Field]) -> InferRequest:
    """Turn an inference request into columns.

    Args:
        body: The decoded JSON.
        raw: The binary data behind it.
        fields: The model's.

    Raises:
        RequestRefused: It is no inference request of this model's columns.
    """
    if not isinstance(body, dict):
        raise RequestRefused([Problem(pointer="", detail=f"expected an object, found {kind_of(body)}")])
    problems = Problems()
    problems.unknown(body, ("id", "parameters", "inputs", "outputs"), pointer_to)
    identity = body.get("id")
    if identity is not None and not (isinstance(identity, str) and len(identity) <= MOST_ID and identity.isprintable()):
        problems.add("/id", f"expected printable text of at most {MOST_ID} characters")
    parameters = _object_at(body, "parameters", "", problems)
    columns, places = _columns(body.get("inputs"), raw, fields, problems)
    outputs = _outputs(body.get("outputs"), problems)
    if problems:
        problems.refuse()
    names = {field.name for field in fields}
    labels = {name: columns.pop(name) for name in LABELS if name in columns and name not in names}
    return InferRequest(
        body={"columns": columns, **labels},
        places=places,
        outputs=outputs,
        binary=parameters.get("binary_data_output") is True,
        id=identity,
    )


def as_tensors(refused: RequestRefused, places: Mapping[str, int]) -> RequestRefused:
    """Say of each problem in which tensor it is, where it was found in a column."""
    told = RequestRefused([_in_tensor(each, places) for each in refused.problems])
    told.more, told.ended_early = refused.more, refused.ended_early
    return told


def _in_tensor(problem: Problem, places: Mapping[str, int]) -> Problem:
    for name, at in places.items():
        for place in (pointer_to("columns", name), pointer_to(name)):
            if problem.pointer == place or problem.pointer.startswith(place + "/"):
                rest = problem.pointer[len(place) :]
                return Problem(pointer=pointer_to("inputs", at, "data") + rest, detail=problem.detail)
    pointer = problem.pointer.replace("/columns", "/inputs", 1)
    return Problem(pointer=pointer, detail=problem.detail)


def _columns(
    inputs: Any, raw: bytes, fields: Sequence[Field], problems: Problems
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    columns: dict[str, list[Any]] = {}
    places: dict[str, int] = {}
    if not isinstance(inputs, list) or not inputs:
        problems.add("/inputs", f"expected a list of tensors, found {kind_of(inputs)}")
        return columns, places
    texts = {field.name for field in fields if field.kind == TEXT} | set(LABELS) - {field.name for field in fields}
    offset = 0
    for at, tensor in enumerate(inputs):
        place = pointer_to("inputs", at)
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str):
            problems.add(place, "expected a tensor with a name")
            continue
        if name in columns:
            problems.add(place + "/name", "this tensor is given twice")
            continue
        size = _binary_size(tensor, place, len(raw) - offset, problems)
        piece = None if size is None else raw[offset : offset + size]
        offset += size or 0
        columns[name] = _values(tensor, piece, place, problems, text=name in texts)
        places[name] = at
    if offset != len(raw):
        problems.add("/inputs", f"{len(raw) - offset} bytes of binary data belong to none")
    return columns, places


def _binary_size(tensor: Mapping[str, Any], place: str, left: int, problems: Problems) -> int | None:
    parameters = _object_at(tensor, "parameters", place, problems)
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left or "data" in tensor:
        detail = "expected the number of this tensor's bytes behind the JSON, and no data"
        problems.add(place + "/parameters/binary_data_size", detail)
        return 0
    return size


def _values(tensor: Mapping[str, Any], piece: bytes | None, place: str, problems: Problems, *, text: bool) -> list[Any]:
    before = len(problems)
    problems.unknown(tensor, INPUT_KEYS, lambda key: place + pointer_to(key))
    rows = _rows(tensor.get("shape"))
    if rows is None:
        problems.add(place + "/shape", "expected [rows] or [rows, 1], at least one row")
    kind = tensor.get("datatype")
    if (kind != BYTES) if text else (not isinstance(kind, str) or kind not in DTYPES):
        expected = BYTES if text else "a numeric type such as FP64"
        problems.add(place + "/datatype", f"expected {expected}")
    if len(problems) > before or rows is None:
        return []
    kind = str(kind)
    try:
        values = _from_json(tensor.get("data"), kind) if piece is None else _from_binary(piece, kind)
    except ValueError as error:
        problems.add(place + "/data", str(error))
        return []
    if len(values) != rows:
        problems.add(place + "/data", f"has {len(values)} values, its shape says {rows}")
        return []
    return values


def _rows(shape: Any) -> int | None:
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or any(type(each) is not int for each in shape):  # noqa: PLR2004 - rows, or rows and one
        return None
    return shape[0] if shape[0] > 0 and shape[1:] in ([], [1]) else None


def _from_json(data: Any, kind: str) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError(f"expected a list, found {kind_of(data)}")  # noqa: TRY004 - a caller's mistake, told as a problem
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in data]
    if kind.startswith(("INT", "UINT")):
        limits = np.iinfo(DTYPES[kind])
        least, most = int(limits.min), int(limits.max)
        if any(value is not None and (type(value) is not int or not least <= value <= most) for value in values):
            raise ValueError(f"expected whole numbers of {kind}")
    return values


def _from_binary(piece: bytes, kind: str) -> list[Any]:
    if kind == BYTES:
        return _texts(piece)
    dtype = np.dtype(DTYPES[kind])
    if len(piece) % dtype.itemsize:
        raise ValueError(f"{len(piece)} bytes are no {kind} values")
    # A tensor has no null, so numbers that are none say "missing".
    return [None if math.isnan(value) else value for value in np.frombuffer(piece, dtype).tolist()]


def _texts(piece: bytes) -> list[str | None]:
    texts: list[str | None] = []
    offset = 0
    while offset < len(piece):
        if offset + 4 > len(piece):
            raise ValueError("a text's length is cut short")
        (length,) = struct.unpack_from("<I", piece, offset)
        offset += 4
        if offset + length > len(piece):
            raise ValueError("a text is cut short")
        texts.append(piece[offset : offset + length].decode("utf-8") or None)
        offset += length
    return texts


def _outputs(outputs: Any, problems: Problems) -> dict[str, bool] | None:
    if outputs is None:
        return None
    if not isinstance(outputs, list) or not outputs:
        problems.add("/outputs", f"expected a list of outputs, found {kind_of(outputs)}")
        return None
    asked: dict[str, bool] = {}
    for at, output in enumerate(outputs):
        place = pointer_to("outputs", at)
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or set(output) - {"name", "parameters"}:
            problems.add(place, "expected a name, and perhaps parameters")
            continue
        parameters = _object_at(output, "parameters", place, problems)
        if parameters.get("classification"):
            problems.add(place + "/parameters", "classification is not offered")
        asked[name] = parameters.get("binary_data") is True
    return asked


def _object_at(holder: Mapping[str, Any], key: str, place: str, problems: Problems) -> Mapping[str, Any]:
    value = holder.get(key, {})
    if isinstance(value, dict):
        return value
    problems.add(place + pointer_to(key), f"expected an object, found {kind_of(value)}")
    return {}
