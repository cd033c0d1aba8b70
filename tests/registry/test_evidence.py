"""Evidence: kept once, verified to the byte, and enough to come to the same verdict again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from baton.core.errors import DependencyDown, IntegrityBroken, NotPromotable
from baton.core.policy import GateSpec, SliceSpec
from baton.core.verdict import Check, Outcome, verdict_from_json
from baton.registry.evidence import FACTS, ROWS, judge, keep, read, replay
from baton.registry.gate import decide

TEST = Check(name="direction_weight", outcome=Outcome.PASSED, observed=0.95, required=0.9, detail="fine")


@pytest.fixture(scope="module")
def arguments(arguments_for, month, better, worse):
    halves = np.arange(len(month.labels)) % 2 == 0
    return arguments_for(
        month,
        better,
        worse,
        gate=GateSpec(metric="auc", decisions=12),
        slicing=SliceSpec(drop=0.04),
        baselines={"constant": 0.28, "rule": worse, "linear": better},
        slices={"depot=north": halves, "depot=a b | c": ~halves},
        tests=(TEST,),
    )


@pytest.fixture
def judged(arguments, tmp_path):
    return judge(tmp_path, arguments)


def test_a_verdict_replays_to_its_bytes(arguments, judged, tmp_path):
    assert judged.evidence == arguments.digest
    assert replay(judged, tmp_path).to_json() == judged.to_json()
    assert replay(verdict_from_json(judged.to_json()), tmp_path).to_json() == judged.to_json()


def test_the_first_champions_verdict_replays_too(arguments_for, month, better, tmp_path):
    """C12: a bootstrap has no champion in its evidence."""
    verdict = judge(tmp_path, arguments_for(month, better, None))
    assert verdict.intent == "bootstrap"
    assert replay(verdict, tmp_path).to_json() == verdict.to_json()


def test_classes_and_numbers_replay_too(arguments_for, month, tmp_path):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, len(month.labels)).astype(float)
    one, two = (generator.dirichlet(np.ones(3), len(labels)) for _ in range(2))
    classes = {"task": "multiclass", "labels": labels, "baselines": {"constant": np.full(3, 1 / 3), "rule": two}}
    number = {"task": "regression", "labels": labels + 0.5, "baselines": {"constant": 1.0}}
    for verdict in (
        judge(tmp_path, arguments_for(month, one, two, **classes)),
        judge(tmp_path, arguments_for(month, one[:, 0], two[:, 0], gate=GateSpec(metric="rmse"), **number)),
    ):
        assert replay(verdict, tmp_path).to_json() == verdict.to_json()


def test_what_is_read_is_what_was_kept(arguments, judged, tmp_path):
    again = read(tmp_path, judged.evidence)
    assert again.digest == arguments.digest
    assert decide(again).to_json() == judged.to_json()


def test_keeping_it_again_changes_nothing(arguments, judged, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert keep(tmp_path, arguments) == judged.evidence
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_nothing_else_is_left_in_the_folder(judged, tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == [judged.evidence]
    assert sorted(path.name for path in (tmp_path / judged.evidence).iterdir()) == [FACTS, ROWS]


CHANGES = {
    "a score": {"challenger_scores": 0.5},
    "a label": {"labels": 1.0},
    "a block": {"blocks": "2024-02-027"},
    "a score of the champion": {"champion_scores": 0.5},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_other_rows_have_another_digest(arguments, change):
    ((name, value),) = change.items()
    values = np.array(getattr(arguments, name))
    values[7] = value if values[7] != value else 0
    assert replace(arguments, **{name: values}).digest != arguments.digest


@pytest.mark.parametrize(
    "change",
    [{"gate": GateSpec()}, {"epoch": 9}, {"tests": ()}, {"slicing": SliceSpec()}, {"shared_rows": {"challenger": 1}}],
)
def test_other_facts_have_another_digest(arguments, change):
    assert replace(arguments, **change).digest != arguments.digest


def test_a_flipped_byte_is_found_wherever_it_is(judged, tmp_path):
    for name in (FACTS, ROWS):
        file = tmp_path / judged.evidence / name
        content = file.read_bytes()
        for place in np.linspace(0, len(content) - 1, 60).astype(int):
            flipped = bytearray(content)
            flipped[place] ^= 1
            file.write_bytes(flipped)
            with pytest.raises(IntegrityBroken):
                replay(judged, tmp_path)
        file.write_bytes(content)
    assert replay(judged, tmp_path).id == judged.id


def test_rows_that_were_exchanged_with_their_checksum_are_found(arguments, judged, tmp_path):
    other = judge(tmp_path, replace(arguments, labels=1 - np.asarray(arguments.labels)))
    place, elsewhere = (tmp_path / each.evidence for each in (judged, other))
    (place / ROWS).write_bytes((elsewhere / ROWS).read_bytes())
    facts = json.loads((place / FACTS).read_bytes())
    facts["files"] = json.loads((elsewhere / FACTS).read_bytes())["files"]
    (place / FACTS).write_text(json.dumps(facts))
    with pytest.raises(IntegrityBroken, match="its content has the digest"):
        replay(judged, tmp_path)


def test_a_verdict_that_was_edited_does_not_follow(judged, tmp_path):
    with pytest.raises(IntegrityBroken, match="does not follow from its evidence"):
        replay(replace(judged, rows=judged.rows + 1), tmp_path)


def test_missing_evidence_is_named(judged, tmp_path):
    with pytest.raises(IntegrityBroken, match=judged.evidence[:12]):
        replay(judged, tmp_path / "elsewhere")


def test_what_cannot_be_judged_is_not_kept(arguments, tmp_path):
    """C13: metric of another data set."""
    with pytest.raises(NotPromotable):
        judge(tmp_path, replace(arguments, scored_on={"challenger": "e" * 64}))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(arguments, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DependencyDown, match="cannot be kept"):
        keep(tmp_path / "file", arguments)
