"""A rollout goes up one step at a time, down all the way, and is found again after a kill."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from baton.core.errors import Conflict, IntegrityBroken
from baton.core.policy import RolloutSpec
from baton.core.release import Mode
from baton.core.rollout import Decision, Judgement, Sign
from baton.registry.rollout_plan import Status, Step, advance, ended, plan_of, stepped
from baton.registry.rollout_store import HISTORY_FILE, ROLLOUT_FILE, RolloutStore
from baton.testing.arms import NOW, new_rollout

POLICY = RolloutSpec(mode="canary", minimum_requests=100, timeout_hours=1)


def judged(says):
    sign = Sign(name="errors", champion=0, challenger=0, low=0, high=0, limit=0, says=says, said=f"it {says.value}")
    return Judgement(signs=(sign,))


def on(rollout, says, *, requests=100, hours=0.1):
    return advance(rollout, judged(says), requests=requests, policy=POLICY, now=NOW + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "champion"}, ()),
        ({"mode": "shadow"}, ((Mode.SHADOW, 0.0),)),
        ({"mode": "canary", "steps": [0.1, 1]}, ((Mode.CANARY, 0.1), (Mode.CANARY, 1.0))),
        ({"mode": "canary", "steps": [0.1], "shadow": True}, ((Mode.SHADOW, 0.0), (Mode.CANARY, 0.1))),
        ({"mode": "ab"}, ((Mode.AB, 0.5),)),
        ({"mode": "ab", "steps": [1]}, ((Mode.AB, 0.5),)),
        ({"mode": "blue-green"}, ((Mode.BLUE_GREEN, 0.0), (Mode.BLUE_GREEN, 1.0))),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_each_mode_has_its_steps(policy, expected):
    assert plan_of(RolloutSpec(**policy)) == tuple(Step(mode=mode, weight=weight) for mode, weight in expected)


@pytest.mark.parametrize("steps", [[], [0.0], [0.5, 0.25], [0.5, 0.5], [1.5]])
def test_steps_that_do_not_grow_are_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        RolloutSpec(mode="canary", steps=steps)


def test_all_the_traffic_waits_until_both_arms_are_known():
    """At a share of 1 the champion answers nobody, and what is not known of it then never will be."""
    rollout = new_rollout(POLICY)
    while rollout.plan[rollout.step + 1].weight < 1:
        rollout = on(rollout, Decision.WAIT)
    unknown = Sign(
        name="latency", champion=0, challenger=0, low=-math.inf, high=math.inf, limit=0, says=Decision.WAIT, said="?"
    )
    now = NOW + timedelta(hours=0.1)

    assert advance(rollout, Judgement(signs=(unknown,)), requests=1_000, policy=POLICY, now=now) == rollout
    assert on(rollout, Decision.WAIT).release.weight == 1.0


@pytest.mark.parametrize("says", [Decision.PROMOTE, Decision.WAIT])
def test_it_goes_up_one_step_at_a_time(says):
    """B16: whatever is proven already, nobody jumps."""
    rollout = new_rollout(POLICY)
    weights = []
    while not rollout.is_last:
        moved = on(rollout, says)
        assert (moved.step, moved.revision) == (rollout.step + 1, rollout.revision + 1)
        rollout = moved
        weights.append(rollout.release.weight)
    assert weights == [0.05, 0.25, 0.5, 1.0]


def test_it_stays_until_enough_requests_were_seen():
    rollout = new_rollout(POLICY)

    assert on(rollout, Decision.PROMOTE, requests=99) is rollout


def test_the_last_step_promotes_only_on_proof():
    last = replace(new_rollout(POLICY), step=4)

    assert on(last, Decision.WAIT) is last
    assert on(last, Decision.PROMOTE).status is Status.PROMOTING


@pytest.mark.parametrize("step", range(5))
def test_any_step_is_rolled_back_at_once(step):
    back = on(replace(new_rollout(POLICY), step=step), Decision.ROLL_BACK, requests=1)

    assert (back.status, back.said, back.over) == (Status.ROLLED_BACK, "it ROLL BACK", True)
    assert (back.release.challenger, back.release.weight, back.release.mode) == (None, 0.0, Mode.CHAMPION)


def test_without_a_decision_it_times_out_to_the_champion():
    """B11: inconclusive; the weight stays until the time is over, and nothing is promoted."""
    rollout = new_rollout(POLICY)

    assert on(rollout, Decision.WAIT, requests=0, hours=0.9) is rollout
    late = on(rollout, Decision.WAIT, requests=0, hours=1.1)
    assert (late.status, late.release.challenger) == (Status.INCONCLUSIVE, None)
    assert late.said == "no decision in 1 h: 0 of 100 requests"


def test_a_step_by_hand_stays_within_the_plan():
    flipped = stepped(new_rollout(RolloutSpec(mode="blue-green")), now=NOW, said="by hand")

    assert flipped.release.weight == 1.0
    assert stepped(flipped, now=NOW, said="by hand") is flipped
    assert stepped(flipped, now=NOW, said="by hand", by=-1).release.weight == 0.0


def test_every_release_of_a_rollout_is_later_than_the_one_before():
    rollout = new_rollout(POLICY)
    releases = [rollout.release]
    for _ in range(4):
        rollout = on(rollout, Decision.WAIT)
        releases.append(rollout.release)
    releases.append(ended(rollout, Status.ABORTED, "by hand", now=NOW).release)

    assert [release.order for release in releases] == [(1, revision) for revision in range(1, 7)]
    assert len({release.salt for release in releases[:-1]}) == 1


def test_a_rollout_is_read_back_as_written(tmp_path):
    store = RolloutStore(tmp_path)
    assert store.load() is None
    for rollout in (new_rollout(POLICY), ended(new_rollout(POLICY), Status.ABORTED, "by hand", now=NOW)):
        store.save(rollout)
        store.save(rollout)
        assert store.load() == rollout
    assert [each["status"] for each in store.history()] == ["aborted"]


def test_a_history_cut_short_keeps_what_is_whole(tmp_path):
    store = RolloutStore(tmp_path)
    over = ended(new_rollout(POLICY), Status.PASSED, "proven", now=NOW)
    store.save(over)
    with (tmp_path / HISTORY_FILE).open("ab") as stream:
        stream.write(b'{"id": "half')
    store.save(replace(over, id="another"))

    assert [each["id"] for each in store.history()] == ["simulated", "another"]


def test_a_spoilt_file_is_told(tmp_path):
    (tmp_path / ROLLOUT_FILE).write_bytes(b"{")

    with pytest.raises(IntegrityBroken, match="serving goes on"):
        RolloutStore(tmp_path).load()


def test_one_controller_at_a_time(tmp_path):
    with RolloutStore(tmp_path).alone(), pytest.raises(Conflict), RolloutStore(tmp_path).alone(wait=False):
        pass
