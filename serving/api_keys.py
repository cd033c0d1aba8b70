"""API keys: what a caller shows, and the file that knows whom to believe.

A key is `baton_<id>_<secret>`: the id finds its line in the file, the secret
has 256 random bits and is shown once. The file holds an Argon2id hash of each
whole key, so that whoever reads a backup of it can call nobody.

Format version 1: canonical JSON, replaced as a whole and readable by its owner
alone.
"""

from __future__ import annotations

import fcntl
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from baton.core.digest import canonical_json
from baton.core.errors import IntegrityBroken, Misuse, SourceMissing, listed
from baton.core.whole_file import replace_file

FORMAT = 1
PREDICT, FEEDBACK, ADMIN = "predict", "feedback", "admin"
SCOPES = (PREDICT, FEEDBACK, ADMIN)
KEY = re.compile(r"baton_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}", re.ASCII)
# OWASP's least for Argon2id. A key is random, so a guess is hopeless at any cost; more would only slow the first call.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One caller's key as the file knows it; `requests` and `rows` are its own quotas, or the service's."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    requests: int | None = None
    rows: int | None = None

    def lives(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def hasher() -> Any:
    """Give the hasher of keys: Argon2id with the parameters above."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    return PasswordHash([Argon2Hasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)])


def key_id(text: str) -> str | None:
    """Give the id in a key, or None for what is no key."""
    found = KEY.fullmatch(text)
    return found.group(1) if found else None


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read every key of a file, revoked ones too.

    Raises:
        SourceMissing: There is no such file.
        IntegrityBroken: It is no file of keys.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SourceMissing(what=f"no keys at {path}", why="the file is not there", fix="baton key add NAME") from error
    except OSError as error:
        raise _broken(path, str(error.strerror)) from error
    if len(content) > MOST_BYTES:
        raise _broken(path, f"it has {len(content)} bytes")
    try:
        fields = json.loads(content)
        if fields["format"] != FORMAT:
            raise _broken(path, f"its format is {fields['format']!r}, this reader knows {FORMAT}")
        return tuple(_key(each) for each in fields["keys"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _broken(path, "its content is not what was written") from error


def add_key(
    path: Path,
    *,
    name: str,
    scopes: Sequence[str],
    now: datetime,
    expires: datetime | None = None,
    requests: int | None = None,
    rows: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and write it to the file.

    Returns:
        What the file knows, and the key itself, which is nowhere else.

    Raises:
        Misuse: The name, a scope or the time is impossible.
    """
    _check(name, scopes, now=now, expires=expires)
    identity = secrets.token_hex(8)
    text = f"baton_{identity}_{secrets.token_urlsafe(32)}"
    made = ApiKey(
        id=identity,
        name=name,
        hash=hasher().hash(text),
        scopes=tuple(sorted(set(scopes))),
        created=now,
        expires=expires,
        requests=requests,
        rows=rows,
    )
    with _locked(path) as keys:
        _write(path, (*keys, made))
    return made, text


def revoke_key(path: Path, identity: str, *, now: datetime) -> ApiKey:
    """Revoke a key by its id; services refuse it within seconds.

    Raises:
        SourceMissing: The file has no such key.
    """
    with _locked(path) as keys:
        found = next((key for key in keys if key.id == identity), None)
        if found is None:
            raise SourceMissing(
                what=f"no key {identity[:32]!r}", why=f"{path} has no such id", fix="see baton key list"
            )
        revoked = found if found.revoked else replace(found, revoked=now)
        _write(path, [revoked if key is found else key for key in keys])
    return revoked


def _check(name: str, scopes: Sequence[str], *, now: datetime, expires: datetime | None) -> None:
    if not NAME.fullmatch(name):
        raise Misuse(
            what=f"{name[:64]!r} is no name for a key",
            why="it is shown in lists and logs",
            fix="use up to 64 letters, digits, spaces, dots, dashes",
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Misuse(what="the scopes are impossible", why=listed(unknown) or "none", fix=f"choose of {listed(SCOPES)}")
    if expires is not None and expires <= now:
        raise Misuse(what="the key would have expired", why=f"{expires:%Y-%m-%d %H:%M} is past", fix="say a later time")


@contextmanager
def _locked(path: Path) -> Iterator[tuple[ApiKey, ...]]:
    """Hold the file against other writers, and give what it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_keys(path) if path.exists() else ()


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    replace_file(path, canonical_json({"format": FORMAT, "keys": keys}), private=True)


def _key(fields: dict[str, Any]) -> ApiKey:
    times = {name: _moment(fields[name]) for name in ("created", "expires", "revoked")}
    scopes = tuple(fields["scopes"])
    if not set(scopes) <= set(SCOPES) or times["created"] is None:
        raise ValueError("a key without a scope or a date")
    return ApiKey(**(fields | times | {"scopes": scopes}))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(timezone.utc)


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(what=f"{path} is refused", why=why, fix="restore it, or remove it and add the keys again")
