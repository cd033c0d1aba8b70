"""Keys: what the file holds, and what it refuses to be."""

from datetime import datetime, timedelta, timezone

import pytest

from baton.core.errors import IntegrityBroken, Misuse, SourceMissing
from baton.serving.api_keys import add_key, hasher, key_id, read_keys, revoke_key

NOW = datetime(2024, 5, 1, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def test_the_file_holds_a_hash_and_only_its_owner_reads_it(path):
    """H2: at rest there is nothing to call the service with."""
    made, text = add_key(path, name="till", scopes=["predict"], now=NOW)

    content = path.read_text()
    assert text not in content
    assert text.split("_")[2] not in content
    assert made.hash.startswith("$argon2id$")
    assert hasher().verify(text, made.hash)
    assert key_id(text) == made.id
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_keys(path) == (made,)


def test_a_key_lives_until_it_expires_or_is_revoked(path):
    made, _ = add_key(path, name="till", scopes=["predict"], now=NOW, expires=NOW + timedelta(days=1))
    add_key(path, name="other", scopes=["admin", "predict"], now=NOW)

    assert made.lives(NOW)
    assert not made.lives(NOW + timedelta(days=1))
    revoked = revoke_key(path, made.id, now=NOW + timedelta(hours=1))
    assert not revoked.lives(NOW)
    # Again changes nothing, and the other key is as it was.
    assert revoke_key(path, made.id, now=NOW + timedelta(hours=9)) == revoked
    assert [key.revoked is None for key in read_keys(path)] == [False, True]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "a\nb"}, "is no name"),
        ({"name": "x" * 65}, "is no name"),
        ({"scopes": []}, "scopes are impossible"),
        ({"scopes": ["root"]}, "root"),
        ({"expires": NOW}, "would have expired"),
    ],
    ids=["two lines", "too long", "no scope", "unknown scope", "expired at once"],
)
def test_an_impossible_key_is_not_made(path, changes, match):
    with pytest.raises(Misuse, match=match):
        add_key(path, **({"name": "till", "scopes": ["predict"], "now": NOW} | changes))

    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"format":9,"keys":[]}', b'{"format":1,"keys":[{"id":1}]}', b"\xff", b"[" * 100_000],
    ids=["empty", "no format", "a list", "another format", "half a key", "no text", "deep"],
)
def test_what_is_no_file_of_keys_is_refused(path, content):
    path.write_bytes(content)

    with pytest.raises(IntegrityBroken):
        read_keys(path)


def test_an_unknown_key_cannot_be_revoked(path):
    with pytest.raises(SourceMissing, match="no key"):
        revoke_key(path, "0" * 16, now=NOW)
