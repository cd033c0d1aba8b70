"""Tokens: which are believed, and which are not whatever they say of themselves."""

import asyncio
import base64
import hmac
import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from baton.core.errors import IntegrityBroken, Misuse, SourceMissing
from baton.serving.edge import Edge
from baton.serving.refusal import Refused
from baton.serving.serving_settings import ServingSettings
from baton.serving.tokens import TokenReader

NOW = 1_700_000_000.0
CLAIMS = {"iss": "https://id.example", "aud": "baton", "sub": "ada@example.org", "exp": NOW + 60, "scope": "predict x"}


@pytest.fixture(scope="module")
def signer():
    return RSAKey.generate_key(2048, {"kid": "one"})


@pytest.fixture
def path(tmp_path, signer):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet([signer]).as_dict(private=False)))
    return path


@pytest.fixture
def reader(path):
    made = TokenReader(path, algorithms="RS256,ES256", issuer=CLAIMS["iss"], audience="baton")
    made.read()
    return made


def token(key, claims=CLAIMS, **header):
    head = {"alg": "RS256", "kid": "one"} | header
    return jwt.encode(head, claims, key, algorithms=[head["alg"]]).encode()


def test_a_good_token_names_its_holder(reader, signer):
    holder = reader.holder(token(signer), NOW)

    assert holder.scopes == {"predict"}
    assert holder.until == NOW + 60
    # K2: a subject is often an e-mail address.
    assert "ada" not in holder.id
    assert reader.holder(token(signer), NOW + 1) is not None
    assert reader.holder(token(signer), NOW + 70) is None


def raw(header, claims, signature=b""):
    return b".".join(
        base64.urlsafe_b64encode(each).rstrip(b"=")
        for each in (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    )


def mutations(signer):
    public = signer.as_pem(private=False)
    other = RSAKey.generate_key(2048, {"kid": "one"})
    curve = ECKey.generate_key("P-256", {"kid": "one"})
    good = token(signer)
    head, body, signature = good.split(b".")
    yield "signed by nobody", raw({"alg": "none"}, CLAIMS)
    yield "None in capitals", raw({"alg": "NONE", "kid": "one"}, CLAIMS)
    yield "no algorithm", raw({"kid": "one"}, CLAIMS, b"x")
    for name, alg in (("the public key as a secret", "HS256"), ("the same, said to be RSA", "RS256")):
        unsigned = raw({"alg": alg, "kid": "one"}, CLAIMS).rpartition(b".")[0]
        mac = hmac.digest(public, unsigned, "sha256")
        yield name, unsigned + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")
    yield "another key of the same id", token(other)
    yield "a curve's key", token(curve, alg="ES256")
    yield "an algorithm that is not listed", token(signer, alg="RS512")
    yield "expired", token(signer, CLAIMS | {"exp": NOW - 60})
    yield "never expires", token(signer, {k: v for k, v in CLAIMS.items() if k != "exp"})
    yield "not yet", token(signer, CLAIMS | {"nbf": NOW + 3_600})
    yield "for another service", token(signer, CLAIMS | {"aud": "other"})
    yield "for nobody", token(signer, {k: v for k, v in CLAIMS.items() if k != "aud"})
    yield "by another issuer", token(signer, CLAIMS | {"iss": "https://evil.example"})
    yield "of nobody", token(signer, {k: v for k, v in CLAIMS.items() if k != "sub"})
    yield "an expiry that is text", token(signer, CLAIMS | {"exp": "tomorrow"})
    yield "too long", token(signer, CLAIMS | {"pad": "x" * 10_000})
    yield "a changed body", head + b"." + raw({}, CLAIMS | {"scope": "admin"}).split(b".")[1] + b"." + signature
    yield "a cut signature", good[:-10]
    yield "no signature", head + b"." + body + b"."
    yield "a body that is no JSON", head + b".e30x." + signature
    yield "dots alone", b".."
    yield "a body within a body", raw({"alg": "RS256", "kid": "one", "jku": "https://evil.example"}, CLAIMS, b"x")


def test_twenty_and_more_mutations_are_not_believed(reader, signer):
    """H6, R15: none, a public key as a secret, expired, not yet, for others, huge."""
    tried = dict(mutations(signer))

    assert len(tried) >= 20
    assert [name for name, each in tried.items() if reader.holder(each, NOW)] == []


def test_a_service_with_tokens_needs_them(tmp_path, path, signer):
    """H6: what is not believed is a 401, and a token without the scope a 403."""

    async def story():
        edge = Edge(
            ServingSettings(folder=tmp_path, model="m", jwt_keys=path, jwt_issuer=CLAIMS["iss"], jwt_audience="baton")
        )
        await edge.open()
        found = []
        for shown, target in (
            (token(signer, now), "/v2"),
            (token(signer, now), "/metrics"),
            (b"a.b.c", "/v2"),
            (b"", "/v2"),
        ):
            request = {
                "type": "http",
                "method": "GET",
                "path": target,
                "headers": [(b"authorization", b"Bearer " + shown)] if shown else [],
                "client": ("10.0.0.1", 1),
            }
            try:
                edge.admit(request)
                found.append(200)
            except Refused as no:
                found.append(no.status.value)
        await edge.close()
        return found

    now = CLAIMS | {"exp": time.time() + 60}
    assert asyncio.run(story()) == [200, 403, 401, 401]


@pytest.mark.parametrize("algorithms", ["HS256", "RS256,none", ""])
def test_algorithms_that_let_a_checker_write_are_refused(path, algorithms):
    with pytest.raises(Misuse, match="algorithms"):
        TokenReader(path, algorithms=algorithms, issuer="i", audience="a")


def test_a_file_with_a_secret_is_refused(path, signer, reader):
    path.write_text(json.dumps(KeySet([signer]).as_dict(private=True)))
    with pytest.raises(IntegrityBroken, match="secret"):
        reader.read()
    path.write_text("{}")
    with pytest.raises(IntegrityBroken, match="Key Set"):
        reader.read()
    path.unlink()
    with pytest.raises(SourceMissing):
        reader.read()
