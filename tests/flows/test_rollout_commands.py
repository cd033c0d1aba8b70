"""What a person types to roll out and sees of it; `status` and `doctor` say what the service says."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from typer.testing import CliRunner

from baton.cli.main import app
from baton.flows.health import findings
from baton.serving.release_file import read_release
from baton.serving.service_status import REJECTED, ServiceStatus, StatusFile


@pytest.fixture
def typed(place: Any) -> Any:
    """Type a command on the project; gives what is printed."""

    def type_(*words: str, fails: bool = False) -> str:
        options = ["--project", str(place.spec.folder), "--home", str(place.settings.home)]
        done = CliRunner().invoke(app, [*words, *options])
        assert (done.exit_code != 0) == fails, done.output
        return done.output

    return type_


def test_a_rollout_by_hand_from_start_to_abort(place: Any, typed: Any) -> None:
    assert "has had no rollout" in typed("rollout", "status")
    assert typed("rollout", "status", "--json") == "null\n"

    said = typed("rollout", "start", "2", "--dry-run")
    assert said.startswith("would roll out version 2 beside 1: canary 1%, canary 5%")
    assert read_release(place.folder).challenger is None
    assert typed("rollout", "start", "2", "--mode", "blue-green").startswith("rolling out version 2 beside 1")

    assert "would move on by hand" in typed("rollout", "step", "--by-hand", "--dry-run")
    assert "blue-green at 100%" in typed("rollout", "step", "--by-hand")
    assert "blue-green at 0%" in typed("rollout", "step", "--back")
    assert "the evidence says WAIT" in typed("rollout", "step", "--dry-run")
    assert "running" in typed("rollout", "step")

    status = json.loads(typed("rollout", "status", "--json"))
    assert (status["decision"], status["rollout"]["challenger_version"]) == ("WAIT", "2")
    assert "step 1 of 2, blue-green 0%" in typed("rollout", "status")

    assert typed("rollout", "abort", "--dry-run") == "would give all traffic to the champion\n"
    assert "version 1 answers alone" in typed("rollout", "abort", "--reason", "complaints")
    assert read_release(place.folder).challenger is None
    assert "aborted" in typed("rollout", "status")


def test_a_mode_that_there_is_not_is_a_misuse(typed: Any) -> None:
    typed("rollout", "start", "2", "--mode", "sideways", fails=True)


def well(place: Any) -> dict[str, tuple[bool, str]]:
    return {each.what: (each.well, each.said) for each in findings(place)}


def test_status_and_doctor_say_what_the_service_says(place: Any, typed: Any) -> None:
    """B3, B6: degraded and never green, with the service's own reason."""
    assert "service: no service is running" in typed("status")
    assert well(place)["service"] == (True, "no service is running")
    assert well(place)["rollout"] == (True, "none is under way")

    refused = f"{REJECTED}: its digest differs"
    status = ServiceStatus(
        pid=1, since=datetime.now(timezone.utc), version="1", refused=refused, refused_digest="0" * 64
    )
    StatusFile(place.folder).write(status)
    said = "degraded: process 1 serves version 1; rejected-by-serving: its digest differs"
    assert well(place)["service"] == (False, said)
    assert f"service: {said}" in typed("status")
    told = json.loads(typed("status", "--json"))["service"]
    assert (told["well"], told["said"], told["processes"][0]["refused"]) == (False, said, refused)
    assert said in typed("doctor", fails=True)

    typed("rollout", "start", "2")
    assert well(place)["rollout"] == (True, "version 2, step 1 of 5")
