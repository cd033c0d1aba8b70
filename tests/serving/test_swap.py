"""The champion follows the release pointer and survives a bad one."""

import asyncio
import json
import logging

import pytest

from baton.core.digest import canonical_json
from baton.core.release import Mode
from baton.packaging.manifest import FILES, write_manifest
from baton.packaging.seal import write_bundle
from baton.serving.metrics import Metrics
from baton.serving.release_file import RELEASE_FILE
from baton.serving.service_status import assessed, now_utc, read_statuses, rejected
from baton.serving.swap import FIRST_BACKOFF_S, Champion


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def champion(state, clock):
    return Champion(state, model="flights", max_batch_rows=8, metrics=Metrics(), clock=clock)


def look(champion):
    asyncio.run(champion.look())
    return champion.current.release if champion.current else None


def failures(champion):
    text = champion._metrics.render()[0].decode()
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("baton_swap_failures_total{"))


def test_no_pointer_means_no_champion(champion):
    assert look(champion) is None
    assert failures(champion) == 0


def test_the_pointers_release_is_taken_into_service(champion, release):
    for epoch, number in enumerate((0, 1, 0), start=1):
        expected = release(number, epoch=epoch)
        assert look(champion) == expected


def test_a_corrupt_bundle_keeps_the_last_good_one(champion, release, state, sealed):
    first = release(0)
    look(champion)
    graph = state / "bundles" / sealed.bundles[1].digest / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    release(1)

    assert look(champion) == first
    assert failures(champion) == 1
    assert "model.onnx" in str(champion.failure)


def test_a_garbled_pointer_keeps_the_last_good_one(champion, release, state):
    first = release(0)
    look(champion)
    (state / RELEASE_FILE).write_bytes(b"{")

    assert look(champion) == first
    assert failures(champion) == 1


def test_a_lost_pointer_keeps_the_last_good_one(champion, release, state):
    first = release(0)
    look(champion)
    (state / RELEASE_FILE).unlink()

    assert look(champion) == first


def test_another_models_release_is_refused(champion, release):
    release(0, model="taxis")

    assert look(champion) is None
    assert "expected 'flights'" in str(champion.failure)


def test_a_failure_is_said_once_and_tried_again_after_growing_pauses(champion, release, clock, caplog):
    release(0, champion="0" * 64)
    with caplog.at_level(logging.ERROR):
        tried = []
        for second in range(16):
            clock.now = second * FIRST_BACKOFF_S
            look(champion)
            tried.append(failures(champion))

    assert [at for at in range(16) if tried[at] != (tried[at - 1] if at else 0)] == [0, 1, 3, 7, 15]
    assert [record.message for record in caplog.records] == ["swap_failed"]


def test_a_new_pointer_is_tried_at_once(champion, release, clock):
    release(0, champion="0" * 64)
    look(champion)
    good = release(1)

    assert look(champion) == good
    assert champion.failure is None


def test_a_pointer_that_moves_all_the_time_is_one_swap_a_look(champion, release):
    """C9: a hundred moves between two looks load one bundle, and the last state wins."""
    release(0)
    look(champion)
    for epoch in range(2, 102):
        last = release(epoch % 2, epoch=epoch)

    assert look(champion) == last
    assert "baton_swaps_total 2.0" in champion._metrics.render()[0].decode().splitlines()


def test_a_bundle_that_is_mended_comes_into_service(champion, release, state, sealed, clock):
    folder = state / "bundles" / sealed.bundles[0].digest
    away = folder.rename(folder.with_name("away"))
    good = release(0)
    look(champion)
    away.rename(folder)
    clock.now = FIRST_BACKOFF_S

    assert look(champion) == good


def canary(release, sealed, **changes):
    facts = {
        "challenger": sealed.bundles[1].digest,
        "challenger_version": "2",
        "mode": Mode.CANARY,
        "weight": 0.5,
        "salt": "s",
        "rollout": "r",
        "revision": 1,
    }
    return release(0, **facts | changes)


def resealed(state, sealed, edit):
    """Seal the second bundle again with some files changed; give its digest."""
    from baton.packaging.reader import open_contents

    contents = open_contents(state / "bundles" / sealed.bundles[1].digest)
    files = edit({name: contents.files[name] for name in FILES})
    manifest = write_manifest(model="flights", model_digest="5" * 64, contents=files)
    return write_bundle(state, files | {"manifest.json": manifest}).name


def other_golden(files):
    golden = json.loads(files["golden.json"])
    golden["scores"][0] += 0.01
    return files | {"golden.json": canonical_json(golden)}


def other_schema(files):
    schema = json.loads(files["schema.json"])
    schema["fields"][1]["name"] = "miles"
    return files | {"schema.json": canonical_json(schema)}


def test_an_older_epoch_is_refused(champion, release, state):
    """I6, B9: a release that was valid once is not taken for a newer one."""
    old = (release(0, epoch=1), (state / RELEASE_FILE).read_bytes())[1]
    newer = release(1, epoch=2)
    look(champion)
    (state / RELEASE_FILE).write_bytes(old)

    assert look(champion) == newer
    assert "it is of epoch 1" in str(champion.failure)


def test_golden_requests_that_get_another_answer_are_refused(champion, release, state, sealed):
    """B4: the bundle is whole and signed for, and still answers otherwise than it was sealed with."""
    first = release(0)
    look(champion)
    digest = resealed(state, sealed, other_golden)
    release(1, champion=digest)

    assert look(champion) == first
    assert "golden request 0 differs by 0.01" in str(champion.failure)


def test_a_champion_of_other_fields_is_refused_while_callers_send_the_old_ones(champion, release, state, sealed):
    """B5: never half-applied; the service takes it when it is started anew."""
    first = release(0)
    look(champion)
    digest = resealed(state, sealed, lambda files: other_golden_fields(other_schema(files)))
    release(1, champion=digest)

    assert look(champion) == first
    assert "distance" in str(champion.failure)
    assert "start the service anew" in str(champion.failure)


def other_golden_fields(files):
    golden = json.loads(files["golden.json"])
    golden["rows"] = [{"miles" if n == "distance" else n: v for n, v in row.items()} for row in golden["rows"]]
    return files | {"golden.json": canonical_json(golden)}


def test_both_arms_are_in_service_and_each_names_itself(champion, release, sealed):
    canary(release, sealed)
    look(champion)
    arms = {champion.router.arm(f"N{at}") for at in range(100)}

    assert {(arm.release.version, arm.release.champion) for arm in arms} == {
        ("1", sealed.bundles[0].digest),
        ("2", sealed.bundles[1].digest),
    }


def test_a_step_up_loads_nothing_again(champion, release, sealed):
    canary(release, sealed)
    look(champion)
    arms = champion.router.champion, champion.router.challenger
    canary(release, sealed, revision=2, weight=1.0)
    look(champion)

    assert (champion.router.champion, champion.router.challenger) == arms
    assert champion.router.weight == 1.0


def test_a_challenger_that_is_promoted_is_warm_already(champion, release, sealed, state):
    canary(release, sealed)
    look(champion)
    challenger = champion.router.challenger
    (state / "bundles" / sealed.bundles[1].digest / "model.onnx").unlink()
    promoted = release(1, epoch=2)

    assert look(champion) == promoted
    assert champion.current._scorer is challenger._scorer


def test_a_challenger_that_cannot_be_served_leaves_all_traffic_to_the_champion(champion, release, state, sealed, clock):
    """B3: the release's champion answers, the challenger is rejected by name, and tried again after a pause."""
    graph = state / "bundles" / sealed.bundles[1].digest / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1] + b"!")
    canary(release, sealed, weight=1.0)
    look(champion)

    assert champion.router.arm("anyone") is champion.current
    statuses = read_statuses(state, now_utc())
    assert rejected(statuses, sealed.bundles[1].digest).startswith("rejected-by-serving: ")
    assert not rejected(statuses, sealed.bundles[0].digest)

    graph.write_bytes(content)
    clock.now = FIRST_BACKOFF_S
    look(champion)
    assert champion.router.arm("anyone") is champion.router.challenger
    assert not rejected(read_statuses(state, now_utc()), sealed.bundles[1].digest)


def test_what_is_refused_is_left_in_a_file_for_whoever_asks(champion, release, state, sealed):
    """B3, B6: the service says `degraded`, never green, and names bundle and reason."""
    first = release(0)
    look(champion)
    assert assessed(first, read_statuses(state, now_utc()), now_utc()) == (True, "1 process on version 1")
    release(1, champion="0" * 64)
    look(champion)

    (status,) = read_statuses(state, now_utc())
    assert (status.state, status.version, status.refused_digest, status.refused_epoch) == ("degraded", "1", "0" * 64, 2)
    well, said = assessed(first, [status], now_utc())
    assert not well
    assert "rejected-by-serving" in said


def test_a_process_that_does_not_come_along_is_degraded(champion, release, state):
    """B6: one worker swaps, another cannot; it shows after thirty seconds."""
    from dataclasses import replace
    from datetime import timedelta

    release(0)
    look(champion)
    (status,) = read_statuses(state, now_utc())
    later = replace(champion.current.release, epoch=9)

    assert assessed(later, [status], status.since + timedelta(seconds=29))[0]
    well, said = assessed(later, [status], status.since + timedelta(seconds=31))
    assert not well
    assert "has not come to epoch 9" in said
