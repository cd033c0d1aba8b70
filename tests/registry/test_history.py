"""Many processes on one ledger, killed and paused; and the checker of their history, which has to be able to fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from baton.core.digest import digest_of
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.registry.ledger_audit import Flaw
from baton.testing.history import Operation, Record, violations
from baton.testing.judged import JUDGED_AT, judged

MEMORY = Path("/dev/shm")
BENCH = Path(__file__).parents[2] / "bench" / "ledger.py"


def entry(epoch, name, *, verdict, digest, kind=EntryKind.PROMOTION):
    return LedgerEntry(
        model="parcels",
        epoch=epoch,
        version=str(epoch),
        digest=digest,
        previous_epoch=epoch - 1,
        verdict_id=verdict.id,
        actor="worker0",
        reason=name,
        at=JUDGED_AT,
        kind=kind,
    )


def clean() -> Record:
    """Give a history of three promotions and a rollback, with reads between, as it should be."""
    digests = [digest_of(epoch) for epoch in range(1, 4)]
    verdicts = [
        judged("parcels", epoch=i, challenger=digest, champion=digests[i - 1] if i else None)
        for i, digest in enumerate(digests)
    ]
    kept = {verdict.id: verdict for verdict in verdicts}
    history = [
        entry(i + 1, f"w-{i + 1}", verdict=verdict, digest=verdict.challenger) for i, verdict in enumerate(verdicts)
    ]
    back = entry(4, "w-4", verdict=verdicts[1], digest=digests[1], kind=EntryKind.ROLLBACK)
    history.append(replace(back, version="2"))
    operations = []
    for number, made in enumerate(history):
        began = 100 * number
        operations += [
            Operation(
                name=made.reason,
                action="write",
                began=began,
                ended=began + 40,
                epoch=made.epoch,
                version=made.version,
            ),
            Operation(name=f"r-{number}", action="read", began=began + 50, ended=began + 60, epoch=made.epoch),
            Operation(name=f"a-{number}", action="alias", began=began + 70, ended=began + 80, version=made.version),
        ]
    return Record(operations=operations, history=history, verdict=kept.get, shown="2", flaw=None)


def change(record, position, **facts):
    operations = list(record.operations)
    operations[position] = replace(operations[position], **facts)
    return replace(record, operations=operations)


def rewrite(record, position, **facts):
    history = list(record.history)
    history[position] = replace(history[position], **facts)
    return replace(record, history=history)


def test_a_clean_history_has_no_violation():
    assert violations(clean()) == ()


def test_a_call_that_was_never_answered_may_have_happened_or_not():
    record = clean()
    unknown = Operation(name="w-9", action="write", began=5)
    assert violations(replace(record, operations=[*record.operations, unknown])) == ()
    assert violations(change(record, 0, ended=None, epoch=None, version=None)) == ()


def test_two_calls_at_once_may_see_either_epoch():
    assert violations(change(clean(), 1, began=105, ended=150)) == ()
    assert violations(change(clean(), 4, began=105, ended=150, epoch=1)) == ()


DROPPED = "an acknowledged update that is not there"
WRONG = {
    DROPPED: (lambda r: replace(r, history=r.history[:3], shown="3"), {"lost update"}),
    "an acknowledged update that another overwrote": (
        lambda r: replace(
            rewrite(r, 1, reason="w-9"),
            operations=[*r.operations, Operation(name="w-9", action="write", began=0)],
        ),
        {"lost update"},
    ),
    "an update acknowledged with another version": (lambda r: change(r, 0, version="7"), {"lost update"}),
    "one epoch given to two": (
        lambda r: replace(r, operations=[*r.operations, replace(r.operations[0], name="w-9")]),
        {"double epoch", "lost update"},
    ),
    "one epoch twice in the ledger": (
        lambda r: replace(r, history=[*r.history[:2], r.history[1], *r.history[2:]]),
        {"double epoch", "unjudged"},
    ),
    "an epoch left out": (
        lambda r: replace(r, history=[*r.history[:1], *r.history[2:]]),
        {"double epoch", "lost update", "unjudged"},
    ),
    "one operation written twice": (lambda r: rewrite(r, 1, reason="w-1"), {"double epoch", "lost update"}),
    "an entry that nobody wrote": (lambda r: rewrite(r, 1, reason="ghost"), {"lost update", "phantom"}),
    "a promotion judged against another champion": (
        lambda r: replace(
            r, verdict=lambda i: replace(r.verdict(i), champion="f" * 64) if r.verdict(i).epoch == 2 else r.verdict(i)
        ),
        {"unjudged"},
    ),
    "a promotion judged at another epoch": (
        lambda r: replace(r, verdict=lambda i: replace(r.verdict(i), epoch=0)),
        {"unjudged"},
    ),
    "a promotion without a verdict": (lambda r: replace(r, verdict=lambda _: None), {"unjudged"}),
    "a promotion on a verdict of HOLD": (
        lambda r: replace(r, verdict=lambda i: replace(r.verdict(i), checks=())),
        {"unjudged"},
    ),
    "a reader that sees an epoch go back": (lambda r: change(r, 7, epoch=2), {"went back"}),
    "a reader that missed an acknowledged update": (lambda r: change(r, 4, epoch=1), {"went back"}),
    "a reader that is told of no champion after one": (lambda r: change(r, 4, epoch=0), {"went back"}),
    "a write that began after its epoch was read": (
        lambda r: change(r, 1, began=0, ended=1, epoch=2),
        {"went back"},
    ),
    "an alias at what never was champion": (lambda r: change(r, 2, version="77"), {"alias"}),
    "an alias that does not end at the head": (lambda r: replace(r, shown="3"), {"alias"}),
    "no alias at the end": (lambda r: replace(r, shown=None), {"alias"}),
    "a process taken for a person": (lambda r: rewrite(r, 3, actor="mlflow-ui"), {"adopted"}),
    "an adoption that nobody made": (
        lambda r: rewrite(r, 2, kind=EntryKind.ADOPTION),
        {"adopted"},
    ),
    "a chain that does not verify": (lambda r: replace(r, flaw=Flaw(epoch=2, why="edited")), {"chain"}),
}


@pytest.mark.parametrize(("spoil", "kinds"), WRONG.values(), ids=WRONG.keys())
def test_the_checker_finds(spoil, kinds):
    assert {violation.kind for violation in violations(spoil(clean()))} == kinds


def run(**settings):
    """Run the bench in a process of its own, and give its lines."""
    environment = os.environ | {"JSON": "1", "FULL": "", "PYTHONWARNINGS": "ignore"}
    environment |= {name: str(value) for name, value in settings.items()}
    if MEMORY.is_dir():
        # A process that is killed loses nothing of what it gave to the system; only a power cut would.
        environment["TMPDIR"] = str(MEMORY)
    done = subprocess.run(
        [sys.executable, str(BENCH)], capture_output=True, text=True, env=environment, timeout=7200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(("on", "operations"), [("sqlite", 40), ("postgresql", 20)])
def test_four_processes_on_one_ledger_lose_nothing(on, operations):
    """C5, C6, D8."""
    [line], said = run(ON=on, WORKERS=4, OPERATIONS=operations)
    assert line["violations"] == 0, said
    assert line["operations"] >= 4 * operations
    assert line["kills"] + line["stops"] > 0


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_eight_processes_make_a_thousand_changes_each_and_lose_nothing():
    """C5, C6, D8: with random kill -9 and SIGSTOP, on SQLite, PostgreSQL and MLflow."""
    lines, said = run(WORKERS=8, OPERATIONS=1_000, MLFLOW_OPERATIONS=1_000)
    assert [line["on"] for line in lines] == ["sqlite", "postgresql", "mlflow"]
    for line in lines:
        assert (line["violations"], line["lost_updates"], line["double_epochs"]) == (0, 0, 0), said
        assert line["kills"] > 0
        assert line["stops"] > 0
    assert all(line["operations"] >= 8_000 for line in lines)
