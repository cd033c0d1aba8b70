"""The document and the service agree, whatever is sent."""

from collections import Counter
from datetime import datetime, timezone

import httpx
import pytest
import schemathesis
import schemathesis.specs.openapi.checks
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from baton.serving.openapi import openapi
from baton.serving.process import start

# What a schema cannot say, that columns are of one length, and entities printable, is refused with 422.
UNSAID = {"positive_data_acceptance"}


@pytest.fixture(scope="module")
def document(tmp_path_factory, sealed):
    """A running service's own document."""
    import shutil
    import socket

    from baton.core.release import Release
    from baton.serving.release_file import write_release

    folder = tmp_path_factory.mktemp("served") / "flights"
    for part in ("bundles", "signers"):
        shutil.copytree(sealed.folder / part, folder / part)
    write_release(folder, Release(model="flights", epoch=1, version="1", champion=sealed.bundles[0].digest))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = start(folder, model="flights", port=port, limits={"max_request_rows": 64})
    content = httpx.get(f"{service.url}/openapi.json").json()
    # Whoever says that it waits a millisecond is told 504 in time; these callers wait.
    (timeout,) = content["paths"]["/v1/models/flights/predict"]["post"]["parameters"]
    timeout["schema"]["minimum"] = 5_000
    found = schemathesis.openapi.from_dict(content)
    found.config.update(base_url=service.url)
    # Too many rows are 413, with the limit.
    found.config.checks.negative_data_rejection.expected_statuses.append("413")
    yield found
    assert service.stop() == 0


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_whatever_is_sent_is_answered_as_documented(document, mode):
    """G7: a few hundred cases; `make bench-fuzz` sends 100,000."""
    checks = [check for check in CHECKS.get_all() if check.__name__ not in UNSAID]
    assert len(checks) > 5
    sent, answers = 0, Counter()

    for operation in (found.ok() for found in document.get_all_operations()):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def answered(case):
            nonlocal sent
            sent += 1
            response = case.call(timeout=5)
            answers[case.operation.path, response.status_code] += 1
            case.validate_response(response, checks=checks)

        if mode is GenerationMode.POSITIVE or operation.body:
            answered()

    assert sent >= 100
    if mode is GenerationMode.POSITIVE:
        # What is in order is answered too, not only refused well.
        assert {path for path, status in answers if status == 200} >= {"/v1/models/flights/predict", "/v1/feedback"}


def test_every_route_of_the_service_is_in_the_document(sealed):
    from baton.core.release import Release
    from baton.serving.app import create_app

    bundle = sealed.bundles[0]
    release = Release(model="flights", epoch=1, version="1", champion=bundle.digest)
    paths = openapi(bundle, release, most_rows=10)["paths"]
    routes = create_app(lambda: None).routes

    named = {
        (route.path.replace("{name}", "flights").replace("{version}", "1"), method.lower())
        for route in routes
        for method in route.methods - {"HEAD"}
    }
    assert named == {(path, method) for path, methods in paths.items() for method in methods}


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"rows": [{"carrier": "AA", "distance": 1, "delay": 2}]}, True),
        ({"entities": [{"plane": "N1"}]}, True),
        ({"entities": [{"plane": "N1"}], "rows": [{"carrier": "AA", "delay": None}]}, True),
        ({"entities": [{"plane": "N1"}], "rows": [{"carrier": "AA", "delay": 1, "distance": 1}]}, False),
        ({"entities": [{"plane": ""}]}, False),
        ({"entities": [{"plane": 1}]}, False),
        ({"entities": [{"ship": "N1"}]}, False),
        ({"entities": []}, False),
    ],
)
def test_where_there_is_a_store_a_request_may_name_entities(sealed, body, fits):
    """The document knows which keys there are, and which features are fetched."""
    import jsonschema_rs

    from baton.core.release import Release
    from baton.serving.online_map import OnlineMap, OnlineValue, OnlineView

    value = OnlineValue(name="distance", kind="number", field=b"x")
    view = OnlineView(name="planes", entity="plane", ttl_seconds=None, values=(value,))
    online = OnlineMap(project="p", as_of=datetime(2024, 5, 1, tzinfo=timezone.utc), sqlite=None, views=(view,))
    release = Release(model="flights", epoch=1, version="1", champion=sealed.bundles[0].digest)
    document = openapi(sealed.bundles[0], release, most_rows=10, online=online)
    content = document["paths"]["/v1/models/flights/predict"]["post"]["requestBody"]["content"]

    assert jsonschema_rs.is_valid(content["application/json"]["schema"], body) == fits
