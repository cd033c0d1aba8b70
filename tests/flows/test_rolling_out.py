"""A rollout is carried out on the real ledger and pointer, and survives whoever dies or comes between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from baton.core.errors import Conflict, Misuse, NotPromotable
from baton.core.policy import RolloutSpec
from baton.core.release import Mode
from baton.core.rollout import Decision
from baton.flows import rolling_out
from baton.flows.run_record import records
from baton.registry.promotion import rollback
from baton.registry.rollout_plan import Status
from baton.registry.rollout_store import RolloutStore
from baton.serving.release_file import read_release
from baton.serving.service_status import REJECTED, ServiceStatus, StatusFile
from baton.serving.traffic import Traffic
from baton.testing.arms import Truth, answer

NOW = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
CANARY = RolloutSpec(mode="canary", minimum_requests=100, timeout_hours=1)


def verdict(place: Any) -> Any:
    return {record.version: record.verdict for record in records(place)}["2"]


def start(place: Any, policy: RolloutSpec = CANARY, now: datetime = NOW) -> Any:
    return rolling_out.start(place, verdict(place), version="2", reason="better", actor="ann", now=now, policy=policy)


def serve(place: Any, *, champion: Truth, challenger: Truth, requests: tuple[int, int] = (2_000, 400)) -> None:
    """Let both arms answer under the release in force, as a service would count it."""
    traffic = Traffic(place.folder)
    traffic.follow(read_release(place.folder))
    stage, drawn = traffic._stage, np.random.default_rng(traffic._stage.revision)
    for tally, truth, count in zip((stage.champion, stage.challenger), (champion, challenger), requests, strict=True):
        answer(drawn, tally, truth, count)
    traffic._changed = True
    ((path, content),) = traffic.content()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tick(place: Any, minutes: float = 1, policy: RolloutSpec = CANARY) -> Any:
    return rolling_out.tick(place, now=NOW + timedelta(minutes=minutes), policy=policy).rollout


GOOD = {"champion": Truth(errors=0.0), "challenger": Truth(errors=0.0)}
BAD = {"champion": Truth(errors=0.001), "challenger": Truth(errors=0.3)}


def test_a_challenger_as_good_comes_to_be_champion_step_by_step(place: Any) -> None:
    started = start(place)
    shares = [read_release(place.folder).weight]
    while (now := tick_with_traffic(place)).status is Status.RUNNING:
        shares.append(read_release(place.folder).weight)

    assert shares == [0.01, 0.05, 0.25, 0.5, 1.0]
    assert now.status is Status.PASSED
    head = place.ledger.head("parcels")
    assert (head.epoch, head.version, head.digest, head.actor) == (2, "2", started.challenger, "ann")
    assert head.reason.startswith(f"rollout {started.id}")
    released = read_release(place.folder)
    assert (released.epoch, released.champion, released.challenger) == (2, started.challenger, None)
    assert place.registry.aliases("parcels")["champion"] == "2"


def tick_with_traffic(place: Any) -> Any:
    serve(place, **GOOD)
    return tick(place)


def test_a_bad_challenger_is_out_at_one_look(place: Any) -> None:
    """B12: and the exposure is counted."""
    start(place)
    serve(place, **BAD, requests=(2_000, 60))
    back = tick(place)

    assert back.status is Status.ROLLED_BACK
    assert "of 60 beside" in back.said
    released = read_release(place.folder)
    assert (released.challenger, released.weight, released.epoch) == (None, 0.0, 1)
    assert place.ledger.head("parcels").epoch == 1


def test_without_traffic_it_waits_and_then_ends_without_a_promotion(place: Any) -> None:
    """B11: no request and no service: the weight stays, and times out to the champion."""
    start(place)
    assert (tick(place, 30).status, read_release(place.folder).weight) == (Status.RUNNING, 0.01)

    late = tick(place, 61)
    assert (late.status, read_release(place.folder).challenger) == (Status.INCONCLUSIVE, None)
    assert place.ledger.head("parcels").epoch == 1


def test_a_rollback_during_a_canary_aborts_it(place: Any) -> None:
    """B8: the canary's end is the new epoch's release; its status is aborted and never passed."""
    from baton.flows import challenge

    promoted = start(place)
    challenge.settle(place, place.spec, verdict(place), version="2", reason="by hand", now=NOW, actor="bob")
    rollback(place.ledger, "parcels", actor="bob", reason="complaints", now=NOW)
    challenge.release(place, place.spec)
    assert read_release(place.folder).challenger is None

    ended = tick(place)
    assert (ended.status, ended.said) == (Status.ABORTED, "epoch 3 came meanwhile")
    assert (read_release(place.folder).epoch, read_release(place.folder).champion) == (3, promoted.champion)


def test_a_promotion_that_was_decided_before_a_rollback_is_not_written(place: Any) -> None:
    """B9: one wins by epoch, the other is told."""
    started = start(place)
    decided = replace(started, step=4, status=Status.PROMOTING, said="proven")
    RolloutStore(place.folder).save(decided)
    from baton.flows import challenge

    challenge.settle(place, place.spec, verdict(place), version="2", reason="by hand", now=NOW, actor="bob")
    rollback(place.ledger, "parcels", actor="bob", reason="complaints", now=NOW)
    challenge.release(place, place.spec)

    ended = tick(place)
    assert ended.status is Status.ABORTED
    assert place.ledger.head("parcels").epoch == 3
    assert read_release(place.folder).champion == started.champion


def test_the_reconciler_leaves_a_rollout_alone(place: Any) -> None:
    from baton.flows import challenge

    start(place)
    challenge.project(place, place.spec)

    assert read_release(place.folder).weight == 0.01


def test_one_rollout_at_a_time(place: Any) -> None:
    start(place)

    with pytest.raises(Conflict, match="version 2 is, since"):
        start(place)


def test_the_present_champion_or_no_mode_is_not_rolled_out(place: Any) -> None:
    first = {record.version: record.verdict for record in records(place)}["1"]

    with pytest.raises(NotPromotable, match="judged against epoch 0"):
        rolling_out.start(place, first, version="1", reason="x", actor="ann", now=NOW, policy=CANARY)
    with pytest.raises(NotPromotable, match="at once"):
        start(place, RolloutSpec())


def test_an_abort_ends_it_at_once_and_a_second_says_so(place: Any) -> None:
    start(place)
    rolling_out.abort(place, reason="complaints", now=NOW)

    assert read_release(place.folder).challenger is None
    with pytest.raises(Misuse, match="no rollout is under way"):
        rolling_out.abort(place, reason="again", now=NOW)
    # Another may follow in the same epoch, later than all of the first.
    before = read_release(place.folder).order
    start(place, now=NOW + timedelta(minutes=1))
    assert read_release(place.folder).order > before


def test_a_challenger_that_serving_rejects_is_rolled_back(place: Any) -> None:
    """B3: the reason is the service's own."""
    started = start(place)
    now = datetime.now(timezone.utc)
    StatusFile(place.folder).write(
        ServiceStatus(pid=1, since=now, refused=f"{REJECTED}: its digest differs", refused_digest=started.challenger)
    )
    ended = rolling_out.tick(place, now=now, policy=CANARY).rollout

    assert (ended.status, ended.said) == (Status.ROLLED_BACK, "rejected-by-serving: its digest differs")


def test_blue_green_flips_and_flips_back(place: Any) -> None:
    start(place, RolloutSpec(mode="blue-green"))
    weights = []
    for back in (False, True, False):
        rolling_out.step(place, back=back, now=NOW)
        weights.append(read_release(place.folder).weight)

    assert (weights, read_release(place.folder).mode) == ([1.0, 0.0, 1.0], Mode.BLUE_GREEN)
    with pytest.raises(Misuse, match="last of its 2 steps"):
        rolling_out.step(place, back=False, now=NOW)


def test_blue_green_is_judged_by_its_times(place: Any) -> None:
    policy = RolloutSpec(mode="blue-green", minimum_requests=100)
    start(place, policy)
    serve(place, **GOOD, requests=(2_000, 0))
    assert tick(place, policy=policy).release.weight == 1.0
    serve(place, **GOOD, requests=(0, 2_000))

    assert tick(place, policy=policy).status is Status.PASSED


def test_a_look_changes_nothing(place: Any) -> None:
    assert rolling_out.look(place, now=NOW) is None
    started = start(place)
    serve(place, **BAD)
    seen = rolling_out.look(place, now=NOW)

    assert seen is not None
    assert (seen.judgement.decision, seen.rollout) == (Decision.ROLL_BACK, started)
    assert read_release(place.folder).weight == 0.01


CONTROLLER = """
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from baton.compose import platform
from baton.flows.rolling_out import tick

place = platform(Path(sys.argv[1]), home=Path(sys.argv[2]))
print("ready", flush=True)
while True:
    tick(place, now=datetime(2024, 5, 1, 12, 1, tzinfo=timezone.utc))
"""


def test_a_controller_that_is_killed_again_and_again_never_jumps_up(place: Any) -> None:
    """B16: kill -9 mid-ramp, anywhere; the next goes on from what was written, one step at a time."""
    start(place)
    project = str(place.spec.folder)
    weights = []
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CONTROLLER), project, str(place.settings.home)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        before = read_release(place.folder)
        weights.append(before.weight)
        if before.weight < 0.5:
            serve(place, **GOOD)
            while read_release(place.folder).revision == before.revision:
                assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()

    assert weights == [0.01, 0.05, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("told", [True, False], ids=["after serving was told", "before"])
def test_what_was_decided_before_a_kill_is_told_again(place: Any, *, told: bool) -> None:
    """B16: the step is written down first, so it is taken once, whenever the controller died."""
    started = start(place)
    serve(place, **GOOD)
    decided = replace(started, step=1, revision=started.revision + 1)
    RolloutStore(place.folder).save(decided)
    if told:
        rolling_out._tell(place, decided)
    after = tick(place)

    assert (after.step, read_release(place.folder).weight) == (1, 0.05)


def test_a_promotion_that_was_cut_short_is_finished(place: Any) -> None:
    started = start(place)
    RolloutStore(place.folder).save(replace(started, step=4, status=Status.PROMOTING, said="proven"))

    assert tick(place).status is Status.PASSED
    assert place.ledger.head("parcels").version == "2"
    # Killed after the ledger, before it could say so.
    RolloutStore(place.folder).save(replace(started, step=4, status=Status.PROMOTING, said="proven"))
    assert tick(place).status is Status.PASSED
    assert place.ledger.head("parcels").epoch == 2
