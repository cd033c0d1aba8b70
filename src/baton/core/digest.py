"""Equal content is equal identity: one way to turn values, files and frames into SHA-256."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, timezone
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CHUNK_BYTES = 1 << 20


def canonical_json(value: object) -> bytes:
    """Render a value as JSON that is the same on every run: sorted keys, UTC times, no NaN, one final newline.

    Raises:
        ValueError: A number is NaN or infinite; say `None` where there is no number.
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def plain(value: object) -> Any:
    """Turn dataclasses, enums, times, paths and numpy scalars into what JSON knows."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | PurePath):
        return str(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return plain(value.item())
    return value


def digest_of(value: object) -> str:
    """Give the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """Give the SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of_frame(frame: pd.DataFrame) -> str:
    """Give the SHA-256 of a frame's columns, types and values, in its row order; the index does not count."""
    import pandas as pd

    digest = hashlib.sha256(canonical_json([[str(c), str(t)] for c, t in frame.dtypes.items()]))
    # Hashing a column by its values, not its buffers, is what makes equal
    # frames equal whatever blocks or string storage pandas chose.
    digest.update(pd.util.hash_pandas_object(frame, index=False, categorize=True).to_numpy().tobytes())
    digest.update(str(len(frame)).encode())
    return digest.hexdigest()


def finite(number: float) -> float | None:
    """Give the number, or None where it is NaN or infinite and JSON could not carry it."""
    return float(number) if math.isfinite(number) else None
