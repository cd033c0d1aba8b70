"""JSON Web Tokens: who somebody else says the caller is.

The algorithm is one of the service's list, never the token's choice, and each
key is used with its own kind alone; `iss`, `aud`, `exp` and `sub` are required.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.core.errors import IntegrityBroken, Misuse, SourceMissing, listed
from baton.serving.api_keys import SCOPES

# Tokens of identity providers have one or two kilobytes.
MOST_TOKEN_BYTES = 8_192
MOST_REMEMBERED = 4_096
LEEWAY_S = 5
SYMMETRIC = ("HS256", "HS384", "HS512")
SUBJECT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHolder:
    """Whom a token names: a digest of its subject, what it may do, and from and until when, in seconds since 1970."""

    id: str
    scopes: frozenset[str]
    since: float
    until: float


class TokenReader:
    """Checks tokens against a file of public keys, and remembers those that it has checked."""

    def __init__(self, path: Path, *, algorithms: str, issuer: str, audience: str) -> None:
        self._path = path
        self._algorithms = _allowed(algorithms)
        self._claims: dict[str, Any] = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": audience},
            "exp": {"essential": True},
            "sub": {"essential": True},
        }
        self._known: OrderedDict[bytes, TokenHolder] = OrderedDict()
        self._keys: Any = None

    def read(self) -> None:
        """Read the file of keys, again where it has changed.

        Raises:
            SourceMissing: There is none.
            IntegrityBroken: It holds no usable public keys.
        """
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(json.loads(self._path.read_bytes()))
        except FileNotFoundError as error:
            raise SourceMissing(what=f"no token keys at {self._path}", why="it is not there", fix="write it") from error
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            raise IntegrityBroken(
                what=f"{self._path} is refused", why="it is no JSON Web Key Set", fix="take the issuer's own file"
            ) from error
        if any(key.key_type == "oct" or key.is_private for key in keys):
            raise IntegrityBroken(
                what=f"{self._path} is refused", why="it holds a secret", fix="give the service public keys alone"
            )
        self._keys = keys
        # A key that was taken out has signed what is remembered.
        self._known.clear()

    def holder(self, token: bytes, now: float) -> TokenHolder | None:
        """Say whom a token names, or None for a token that is not believed.

        Args:
            token: What the caller showed.
            now: Seconds since 1970.
        """
        if len(token) > MOST_TOKEN_BYTES:
            return None
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._checked(token, now)
            if known is None:
                return None
            self._known[digest] = known
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return known if known.since - LEEWAY_S <= now < known.until + LEEWAY_S else None

    def _checked(self, token: bytes, now: float) -> TokenHolder | None:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            claims = jwt.decode(token, self._keys, algorithms=self._algorithms).claims
            jwt.JWTClaimsRegistry(now=int(now), leeway=LEEWAY_S, **self._claims).validate(claims)
            return _holder(claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            return None


def _allowed(algorithms: str) -> list[str]:
    names = [each.strip() for each in algorithms.split(",") if each.strip()]
    wrong = [name for name in names if name in SYMMETRIC or name.lower() == "none"]
    if wrong or not names:
        raise Misuse(
            what="the token algorithms are refused",
            why=f"{listed(wrong)} lets whoever checks a token write one" if wrong else "there are none",
            fix="name asymmetric ones, such as ES256,RS256",
        )
    return names


def _holder(claims: dict[str, Any]) -> TokenHolder:
    subject = hashlib.blake2b(str(claims["sub"]).encode(), digest_size=SUBJECT_BYTES).hexdigest()
    return TokenHolder(
        # Subjects are often e-mail addresses, which belong in no log.
        id=f"token-{subject}",
        scopes=frozenset(_words(claims.get("scope", ()))) & frozenset(SCOPES),
        since=float(claims.get("nbf", 0)),
        until=float(claims["exp"]),
    )


def _words(scope: str | Sequence[str]) -> list[str]:
    """Read `scope` as RFC 8693 writes it, words with spaces, or as a list."""
    return scope.split() if isinstance(scope, str) else [str(each) for each in scope]
