"""The edge of real services: TLS, keys and the admin port; bodies that are slow, long or never end."""

import json
import socket
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from baton.core.errors import DependencyDown, Misuse
from baton.serving.api_keys import add_key, revoke_key
from baton.serving.client import PredictionClient
from baton.serving.process import members, start

PREDICT = "/v1/models/flights/predict"
HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A certificate for 127.0.0.1 that vouches for itself, which services use."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "baton")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("BATON_SERVING_TLS_CERTIFICATE", str(paths[0]))
    monkeypatch.setenv("BATON_SERVING_TLS_KEY", str(paths[1]))
    return paths[0]


def _until(met, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def test_a_service_with_tls_keys_and_an_admin_port(state, port, release, sealed, certificate):
    """H4, H5: one service for the whole story, since a start takes seconds."""
    release(0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        admin_port = probe.getsockname()[1]
    now = datetime.now(timezone.utc)
    made, key = add_key(state / "keys.json", name="till", scopes=["predict"], now=now)
    _, ops = add_key(state / "keys.json", name="ops", scopes=["admin"], now=now)
    service = start(state, model="flights", port=port, limits={"admin_port": admin_port})
    try:
        assert service.url.startswith("https://")
        authority = {"authority": certificate}
        with PredictionClient(service.url, model="flights", key=key, **authority) as client:
            answer = client.predict(sealed.requests[:3])
            assert answer.scores == pytest.approx(sealed.scores[answer.digest][:3].tolist(), abs=1e-6)
        with (
            PredictionClient(service.url, model="flights", **authority) as client,
            pytest.raises(Misuse, match="show a key"),
        ):
            client.predict(sealed.requests[:1])
        # Nobody vouches for it but itself, and it does not speak in the clear.
        for url in (service.url, service.url.replace("https", "http")):
            with (
                PredictionClient(url, model="flights", key=key, timeout_seconds=1) as client,
                pytest.raises(DependencyDown),
            ):
                client.predict(sealed.requests[:1])

        seen = {}
        with httpx.Client(verify=str(certificate)) as http:
            for at in (port, admin_port):
                for path in ("/metrics", "/openapi.json", PREDICT.removesuffix("/predict"), "/livez"):
                    for name, shown in (("predict", key), ("admin", ops)):
                        answer = http.get(f"https://127.0.0.1:{at}{path}", headers={"x-api-key": shown})
                        seen[at == admin_port, path, name] = answer.status_code
            assert {status for (admin, path, name), status in seen.items() if path == "/livez"} == {200}
            assert seen[True, "/metrics", "admin"] == seen[True, "/openapi.json", "admin"] == 200
            assert seen[True, "/metrics", "predict"] == 403
            assert seen[False, "/metrics", "admin"] == seen[True, "/v1/models/flights", "predict"] == 404

            # H5: the process has known the key for a while.
            revoke_key(state / "keys.json", made.id, now=datetime.now(timezone.utc))
            began = time.monotonic()
            described = f"{service.url}/v1/models/flights"
            _until(lambda: http.get(described, headers={"x-api-key": key}).status_code == 401)
            assert time.monotonic() - began < 5
    finally:
        assert service.stop() == 0
    log = (state / "service.log").read_text()
    assert key not in log
    assert ops not in log
    assert all(json.loads(line) for line in log.splitlines())


def _resident(folder):
    pids = members(folder)
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.split("VmRSS:")[1].split()[0]) for text in texts) * 1024


def _answer(connection):
    answer = b""
    try:
        while chunk := connection.recv(65_536):
            answer += chunk
    except (ConnectionError, TimeoutError):
        pass
    return answer


FORGED = '{"event":"forged"}'
LINE_ENDS = ("\r\n", "\n", "\x1b[2K\r", "\u2028", "\x85", "\0")


def _send_forged_lines(port):
    """Put ends of lines wherever text can be put: path, header, names, categories, entities, ids."""
    quoted = {end: "".join(f"%{each:02x}" for each in end.encode()) for end in LINE_ENDS}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        for end, escaped in quoted.items():
            text = f"x{end}{FORGED}"
            row = {"carrier": text, "distance": 1, "delay": 1}
            assert http.post(PREDICT, json={"rows": [row]}).status_code == (422 if "\0" in end else 200)
            for body in ({"rows": [{text: 1}]}, {text: 1}, {"rows": [row], "entities": [text]}):
                assert http.post(PREDICT, json=body).status_code == 422
            assert http.post("/v1/feedback", json={"labels": [{"id": text, "label": 1}]}).status_code == 422
            assert http.get(f"/v1/models/{escaped}{FORGED}").status_code == 404
            assert http.get(f"/{escaped}", headers={"x-request-id": text.encode("unicode_escape")}).status_code == 404
    for end in LINE_ENDS:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Api-Key: y" + f"{end}{FORGED}\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            _answer(connection)


def _send_too_much(port):
    """Send 50 MB in both ways, and hear that it is too much."""
    for declared in (b"Content-Length: 50000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
            connection.sendall(HEAD + declared)
            if b"chunked" in declared:
                connection.sendall(b"100100\r\n" + b" " * 0x100100)
            assert b" 413 " in _answer(connection).partition(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
            try:
                connection.sendall(HEAD + declared)
                for _ in range(50):
                    connection.sendall(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
            except ConnectionError:
                pass


def test_slow_endless_and_forged_bodies_harm_nobody(state, port, release, sealed):
    """A4, A5, K1: half-sent bodies take no slot and get 408, 50 MB get 413 and no memory, and a log line is a line."""
    release(0)
    service = start(state, model="flights", port=port, limits={"body_seconds": 3, "log_seconds": 3_600})
    try:
        with PredictionClient(service.url, model="flights") as client:
            assert client.predict(sealed.requests[:1]).ids
            slow = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(200)]
            for connection in slow:
                connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"rows":')
            # All the while others are answered, at once.
            assert all(client.predict(sealed.requests[:3]).ids for _ in range(50))
            assert all(b" 408 " in _answer(connection).partition(b"\r\n")[0] for connection in slow)
            for connection in slow:
                connection.close()

            # What is reserved with the first use is nobody's growth.
            _send_too_much(port)
            before = _resident(state)
            _send_too_much(port)
            assert client.predict(sealed.requests[:1]).ids
            assert _resident(state) - before < 2e6
            _send_forged_lines(port)
    finally:
        assert service.stop() == 0
    lines = (state / "service.log").read_bytes().splitlines()
    assert lines
    assert {json.loads(line)["event"] for line in lines}.isdisjoint({"forged"})
    assert b"forged" not in b"".join(lines)
