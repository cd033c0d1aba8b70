"""Look into an ONNX file before any runtime does, and refuse what a bundle's graph never has.

Files are Protocol Buffers, walked here field by field with the standard
library: serving has no onnx, and a parser that builds the graph would already
be what a bomb is made for. Numbers are those of the fields in onnx.proto.
Refused are external tensors, operators beyond the standard domains, functions,
loops, too many nodes, tensors that say another size than they have, and
constants that would make one of the sizes grow beyond measure.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

from baton.core.errors import IntegrityBroken

DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})
# Nothing that Baton or its converters write repeats, branches or draws by chance.
REFUSED = frozenset(
    {b"Loop", b"Scan", b"If", b"SequenceMap", b"RandomNormal", b"RandomUniform", b"RandomNormalLike"}
    | {b"RandomUniformLike", b"Multinomial", b"Bernoulli", b"Range", b"EyeLike"}
)
GROWING = frozenset({b"ConstantOfShape", b"Expand", b"Tile", b"Pad", b"Resize", b"Upsample"})
# A pipeline with a hundred text columns has some five hundred nodes.
MOST_NODES = 5_000
# As many cells as a shape that is written into a graph may have.
MOST_CELLS = 1 << 26
MOST_DEPTH = 4
# The wire types: a number, eight bytes, a length with as many bytes, four bytes.
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
INT64, STRING = 7, 8
# Bytes of the longest tensor that is read as a shape, and the bits of the longest varint.
LONGEST, MOST_BITS = 128, 70
MORE = 0x80
# Bytes of one element by TensorProto's data types; those below a byte are not written.
SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
# Long lists of an attribute, each item with its tag: float32 numbers, and integers.
RUNS = {0x3D: re.compile(rb"(?:\x3d.{4})+", re.DOTALL), 0x40: re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])+")}


class _Odd(ValueError):
    """What is wrong with a file."""


@dataclasses.dataclass(slots=True)
class _Tensor:
    """What a tensor says of itself, and how many lists of values it has beside raw bytes."""

    dims: list[int] = dataclasses.field(default_factory=list)
    kind: int = 0
    name: bytes = b""
    raw: bytes = b""
    strings: int = 0
    listed: int = 0


def inspect_model(content: bytes, *, where: str) -> None:
    """Refuse an ONNX file that holds what no bundle's graph does.

    Raises:
        IntegrityBroken: It is no ONNX file, or holds something that is refused.
    """
    try:
        _model(content)
    except _Odd as odd:
        raise IntegrityBroken(what=f"{where} is refused", why=str(odd), fix="seal the model again") from odd


def _model(content: bytes) -> None:
    graphs = 0
    for field, value in _fields(content):
        match field, value:
            case 7, bytes():
                graphs += 1
                _graph(value, depth=0)
            case 8, bytes():
                _check_domain(_one(value, 1))
            case 25, _:
                raise _Odd("it defines operators of its own")
    if graphs != 1:
        raise _Odd("it is no ONNX model")


def _graph(content: bytes, *, depth: int) -> None:
    if depth > MOST_DEPTH:
        raise _Odd("its graphs lie too deep in each other")
    shapes: dict[bytes, int] = {}
    nodes: list[tuple[bytes, list[bytes]]] = []
    for field, value in _parts(content):
        match field:
            case 1:
                nodes.append(_node(value, depth=depth))
            case 5:
                name, size = _shape(value)
                shapes[name] = size
            case 15:
                raise _Odd("it has sparse tensors")
        if len(nodes) > MOST_NODES:
            raise _Odd(f"it has more than {MOST_NODES} nodes")
    for kind, inputs in nodes:
        cells = max((shapes.get(name, 0) for name in inputs), default=0)
        if kind in GROWING and cells > MOST_CELLS:
            raise _Odd(f"a {kind.decode()} of it makes {cells} cells")


def _node(content: bytes, *, depth: int) -> tuple[bytes, list[bytes]]:
    kind, inputs = b"", []
    for field, value in _parts(content):
        match field:
            case 1:
                inputs.append(value)
            case 4:
                kind = value
            case 5:
                _attribute(value, depth=depth)
            case 7:
                _check_domain(value)
    if kind in REFUSED:
        raise _Odd(f"it has the operator {kind.decode()}")
    return kind, inputs


def _attribute(content: bytes, *, depth: int) -> None:
    for field, value in _parts(content):
        match field:
            case 5 | 10:
                _shape(value)
            case 6 | 11:
                _graph(value, depth=depth + 1)
            case 22 | 23:
                raise _Odd("it has sparse tensors")


def _shape(content: bytes) -> tuple[bytes, int]:
    """Check that a tensor is here and as large as it says; give its name, and how many cells it makes as a shape."""
    tensor = _read_tensor(content)
    if any(not 0 <= each <= MOST_CELLS for each in tensor.dims) or math.prod(tensor.dims) > MOST_CELLS:
        raise _Odd("a tensor of it says a size beyond measure")
    cells, raw = math.prod(tensor.dims), tensor.raw
    sizes = {STRING: tensor.strings == cells}
    here = len(raw) == cells * SIZES.get(tensor.kind, -1) if raw else not cells or tensor.listed > 0
    if not sizes.get(tensor.kind, here):
        raise _Odd("a tensor of it has another size than it says")
    if tensor.kind != INT64 or not raw or len(tensor.dims) > 1:
        return tensor.name, 0
    numbers = (int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, min(len(raw), LONGEST), 8))
    return tensor.name, math.prod(abs(each) for each in numbers if each not in (0, -1))


def _read_tensor(content: bytes) -> _Tensor:
    tensor = _Tensor()
    for field, value in _fields(content):
        match field, value:
            case 1, int():
                tensor.dims.append(value)
            case 1, bytes():
                tensor.dims += _varints(value)
            case 2, int():
                tensor.kind = value
            case 6, _:
                tensor.strings += 1
            case 8, bytes():
                tensor.name = value
            case 9, bytes():
                tensor.raw = value
            case (13, _) | (14, 1):
                raise _Odd("it keeps tensors outside of itself")
            case ((4 | 5 | 7 | 10 | 11), _):
                tensor.listed += 1
    return tensor


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the fields of a message that are messages or text."""
    return ((field, value) for field, value in _fields(content) if isinstance(value, bytes))


def _check_domain(domain: bytes) -> None:
    if domain not in DOMAINS:
        shown = domain[:40].decode("utf-8", "replace")
        raise _Odd(f"it uses operators of {shown}, which no runtime of ours has")


def _one(content: bytes, wanted: int) -> bytes:
    return next((value for field, value in _fields(content) if field == wanted and isinstance(value, bytes)), b"")


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Walk a message's fields; long runs of numbers are passed over at once."""
    at, end = 0, len(content)
    while at < end:
        run = RUNS.get(content[at])
        if run is not None:
            found = run.match(content, at)
            if found is not None:
                at = found.end()
                continue
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == VARINT:
            number, at = _varint(content, at)
            yield tag >> 3, number
            continue
        if kind == BYTES:
            size, at = _varint(content, at)
        else:
            size = {EIGHT: 8, FOUR: 4}.get(kind, end)
        if at + size > end or not tag >> 3:
            raise _Odd("it is no ONNX model")
        yield tag >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(content) and shift < MOST_BITS:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < MORE:
            # Negative numbers are written as their complement of 64 bits.
            return number - (1 << 64) if number >> 63 else number, at
        shift += 7
    raise _Odd("it is no ONNX model")


def _varints(content: bytes) -> list[int]:
    found, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        found.append(number)
    return found
