"""Who calls, and what the paths ask of callers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from baton.serving.api_keys import ADMIN, FEEDBACK, PREDICT, SCOPES

# Exact paths, never a prefix or suffix: "/predict/health" is no health check.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
ADMIN_PATHS = frozenset({"/metrics", "/openapi.json"})
JSON = frozenset({"application/json"})
# Clients of the protocol name no type; what the body is follows from its lengths.
TENSORS = frozenset({"application/json", "application/octet-stream", ""})
_PREDICT = re.compile(r"/v1/models/[^/]+/predict")
_INFER = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who was admitted: a key's or token's id, or an address; `requests` and `rows` are quotas of its own."""

    id: str
    scopes: frozenset[str]
    until: float = math.inf
    requests: int | None = None
    rows: int | None = None


def anonymous(address: str) -> Caller:
    """Give the caller of an address where nobody needs a key."""
    return Caller(id=f"address-{address}", scopes=frozenset(SCOPES))


def needed(path: str) -> str | None:
    """Say which scope a path needs; None where everybody may."""
    if path in OPEN_PATHS:
        return None
    if path in ADMIN_PATHS:
        return ADMIN
    return FEEDBACK if path == "/v1/feedback" else PREDICT


def media_types(path: str) -> frozenset[str] | None:
    """Say which media types a path takes; None where it takes no body."""
    if _PREDICT.fullmatch(path) or path == "/v1/feedback":
        return JSON
    return TENSORS if _INFER.fullmatch(path) else None
