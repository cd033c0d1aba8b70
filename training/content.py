"""What decides an estimator's scores, as bytes: for trainers that do not say it themselves.

Every attribute of the fitted pipeline is walked by value, in a fixed order and
without pickle, whose bytes depend on memory: on which strings are shared, and
on the padding inside records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

# How a model is made or told of, not what it answers.
RECIPE = frozenset(
    {"n_jobs", "nthread", "num_threads", "n_threads", "verbose", "memory", "warm_start", "copy_X", "copy"}
)


def default_content(pipeline: Any) -> bytes:
    """Give the SHA-256 of each attribute of a fitted pipeline, in canonical order.

    Attributes that time or count the work, as a search's `mean_fit_time_`,
    differ from run to run: such a trainer has to define `content` itself.
    """
    return b"".join(_digest(part) for part in _walk(pipeline, ()))


def _digest(part: bytes) -> bytes:
    return hashlib.sha256(part).digest()


def _walk(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """Give the parts of a value, each opened by its kind, so that no two values have the same parts."""
    if value is None or isinstance(value, bool | int | float | complex | str):
        yield f"{type(value).__name__} {value!r}".encode()
    elif isinstance(value, bytes | bytearray | memoryview):
        yield b"bytes " + bytes(value)
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        yield f"name {value.__module__}.{value.__qualname__}".encode()
    elif id(value) in above:
        yield f"above {len(above) - above.index(id(value))}".encode()
    else:
        yield f"open {type(value).__module__}.{type(value).__qualname__}".encode()
        yield from _inside(value, (*above, id(value)))
        yield b"close"


def _inside(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield from _array(value, above)
    elif isinstance(value, np.generic):
        yield repr(value.item()).encode()
    elif isinstance(value, np.dtype):
        yield value.str.encode()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _walk(key, above)
            yield from _walk(value[key], above)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from _walk(item, above)
    elif hasattr(value, "detach") and hasattr(value, "numpy"):
        yield from _array(value.detach().cpu().numpy(), above)
    else:
        yield from _walk(_state(value), above)


def _array(array: np.ndarray[Any, Any], above: tuple[int, ...]) -> Iterator[bytes]:
    yield f"{array.dtype.str} {array.shape}".encode()
    if array.dtype.names:
        # Records have gaps between their fields, and what is in a gap is chance.
        for name in array.dtype.names:
            yield name.encode()
            yield from _array(array[name], above)
    elif array.dtype.hasobject:
        yield from _walk(array.tolist(), above)
    else:
        yield np.ascontiguousarray(array).tobytes()


def _state(value: Any) -> Any:
    """Give an object's attributes, or what it would be rebuilt from where it has none."""
    plain = getattr(type(value), "__reduce__", None) == object.__reduce__
    if plain and hasattr(value, "__dict__"):
        return {name: item for name, item in vars(value).items() if name not in RECIPE}
    made = value.__reduce_ex__(2)
    return made if isinstance(made, str) else [part for part in made if not isinstance(part, Iterator)]
