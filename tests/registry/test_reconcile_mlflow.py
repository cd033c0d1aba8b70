"""Reconciling on MLflow itself: on its SQLite file, and on servers that hang, fail or answer nonsense."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from baton.core.errors import DependencyDown
from baton.core.ledger_entry import EntryKind
from baton.core.verdict import Outcome
from baton.registry.adoption import OVERRIDE_TAG
from baton.registry.ledger import SqlLedger
from baton.registry.mlflow_registry import MlflowRegistry
from baton.registry.promotion import promote
from baton.registry.reconcile import REFUSED_TAG, Reconciled, reconcile
from baton.testing.judged import JUDGED_AT, judged

MODEL = "parcels"
NOW = JUDGED_AT + timedelta(hours=1)


def bring_together(ledger, registry, **settings):
    return reconcile(MODEL, ledger, registry, usable=len, now=NOW, **settings)


@pytest.fixture
def ledger(tmp_path):
    return SqlLedger(tmp_path / "ledger.db")


@pytest.fixture
def register(ledger, make_run):
    """Register a version that was judged against the present champion."""

    def go(registry, number, outcome=Outcome.PASSED):
        head = ledger.head(MODEL)
        digest = f"{number:064}"
        verdict = judged(MODEL, epoch=head.epoch if head else 0, challenger=digest, outcome=outcome)
        ledger.store_verdict(verdict)
        run = make_run(key=digest, verdict=verdict)
        assert registry.register(MODEL, replace(run, bundle=replace(run.bundle, digest=digest))) == str(number)
        return verdict

    return go


def test_what_a_person_does_in_mlflow_is_adopted_put_back_or_overridden(ledger, register, mlflow_on_file):
    """C7, C8, L1, on the real registry."""
    verdict = register(mlflow_on_file, 1)
    promote(ledger, verdict, version="1", digest=verdict.challenger, actor="baton", reason="first", now=NOW)
    assert bring_together(ledger, mlflow_on_file).moved == {"champion": "1"}
    client, _ = mlflow_on_file._open()

    register(mlflow_on_file, 2)
    client.set_registered_model_alias(MODEL, "champion", "2")
    assert bring_together(ledger, mlflow_on_file).adopted.kind is EntryKind.ADOPTION
    assert mlflow_on_file.aliases(MODEL) == {"champion": "2", "previous": "1"}

    client.set_registered_model_alias(MODEL, "champion", "1")
    assert bring_together(ledger, mlflow_on_file).adopted.kind is EntryKind.ROLLBACK
    assert mlflow_on_file.aliases(MODEL) == {"champion": "1"}

    register(mlflow_on_file, 3, Outcome.FAILED)
    client.set_registered_model_alias(MODEL, "champion", "3")
    done = bring_together(ledger, mlflow_on_file)
    assert done.put_back == "3"
    assert client.get_model_version(MODEL, "3").tags[REFUSED_TAG] == done.reason
    assert mlflow_on_file.aliases(MODEL)["champion"] == "1"

    client.set_model_version_tag(MODEL, "3", OVERRIDE_TAG, "the north depot opens")
    client.set_registered_model_alias(MODEL, "champion", "3")
    assert bring_together(ledger, mlflow_on_file).adopted.kind is EntryKind.OVERRIDE

    client.delete_model_version(MODEL, "3")
    assert bring_together(ledger, mlflow_on_file).alarms == ("champion_missing",)
    assert [entry.version for entry in ledger.history(MODEL)] == ["1", "2", "1", "3"]
    assert ledger.verify(MODEL) is None


def test_a_version_is_read_with_what_its_run_names(register, mlflow_on_file):
    verdict = register(mlflow_on_file, 1)
    mlflow_on_file.tag(MODEL, "1", {OVERRIDE_TAG: "because"})
    known = mlflow_on_file.read(MODEL, "1")
    assert (known.version, known.verdict_id, known.bundle) == ("1", verdict.id, f"{1:064}")
    assert known.tags[OVERRIDE_TAG] == "because"
    assert mlflow_on_file.read(MODEL, "9") is None
    assert mlflow_on_file.read("letters", "1") is None


def test_a_version_whose_run_is_gone_names_nothing(register, mlflow_on_file):
    """C10: tags removed."""
    register(mlflow_on_file, 1)
    client, _ = mlflow_on_file._open()
    client.create_model_version(MODEL, source="somewhere", run_id="0" * 32, await_creation_for=0)
    known = mlflow_on_file.read(MODEL, "2")
    assert (known.verdict_id, known.bundle) == (None, None)


def test_hostile_tags_come_back_as_one_bounded_line(ledger, register, mlflow_on_file):
    """C10."""
    register(mlflow_on_file, 1, Outcome.FAILED)
    client, _ = mlflow_on_file._open()
    client.set_model_version_tag(MODEL, "1", OVERRIDE_TAG, "a\nb\x1b[2J\u2028" + "x" * 4_000)
    client.set_model_version_tag(MODEL, "1", "baton.verdict", "no\nverdict")
    client.set_registered_model_alias(MODEL, "champion", "1")
    entry = bring_together(ledger, mlflow_on_file).adopted
    assert entry.reason.isprintable()
    assert len(entry.reason) <= 500
    assert entry.verdict_id == ""


ANSWERS = {
    "500": (500, b"{}"),
    "429": (429, b"slow down"),
    "a proxy's page": (200, b"<html><body>Sign in</body></html>"),
    "half a document": (200, b'{"registered_models": [{"name": "parc'),
    "a list": (200, b"[1, 2, 3]"),
    "silence": (None, b""),
}


@pytest.fixture(scope="module")
def imported():
    """Let MLflow import what a client needs, which takes seconds that are not the registry's."""
    with suppress(DependencyDown):
        MlflowRegistry(tracking_uri="http://127.0.0.1:9", artifact_root=None, experiment=MODEL).aliases(MODEL)


@pytest.fixture
def hostile(imported):
    """Give an HTTP server that answers everything with what it is told to."""
    told, ended = {}, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = told["answer"]
            if told["opens"] and "/experiments/get-by-name" in self.path:
                status, body = 200, b'{"experiment": {"experiment_id": "1", "name": "parcels"}}'
            if status is None:
                ended.wait(60)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    for verb in ("POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{verb}", Handler.do_GET)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("opens", [False, True], ids=["from the start", "after it was opened"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_registry_that_makes_no_sense_is_down_within_seconds_and_moves_nothing(
    ledger, hostile, answer, opens, monkeypatch
):
    """C2 to C4."""
    verdict = judged(MODEL, epoch=0, challenger="1" * 64)
    promote(ledger, verdict, version="1", digest="1" * 64, actor="baton", reason="first", now=NOW)
    address, told = hostile
    told |= {"answer": answer, "opens": opens}
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    registry = MlflowRegistry(tracking_uri=address, artifact_root=None, experiment=MODEL)
    begun = time.monotonic()
    with pytest.raises(DependencyDown):
        bring_together(ledger, registry)
    assert time.monotonic() - begun < 12
    assert len(ledger.history(MODEL)) == 1


def test_a_registry_that_says_yes_and_does_nothing_is_unsettled(ledger, hostile):
    """C4: an empty answer reads like an empty one of MLflow's."""
    verdict = judged(MODEL, epoch=0, challenger="1" * 64)
    promote(ledger, verdict, version="1", digest="1" * 64, actor="baton", reason="first", now=NOW)
    address, told = hostile
    told |= {"answer": (200, b"{}"), "opens": True}
    registry = MlflowRegistry(tracking_uri=address, artifact_root=None, experiment=MODEL)
    done = bring_together(ledger, registry)
    assert (done.adopted, done.alarms) == (None, ("unsettled",))


def test_a_registry_that_falls_silent_between_two_calls_is_down(ledger, hostile, mlflow_on_file, register, monkeypatch):
    """C3: what was under way is pending, and the next call finishes."""
    verdict = register(mlflow_on_file, 1)
    promote(ledger, verdict, version="1", digest=verdict.challenger, actor="baton", reason="first", now=NOW)
    address, told = hostile
    told |= {"answer": ANSWERS["500"], "opens": True}
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    silent = MlflowRegistry(tracking_uri=address, artifact_root=None, experiment=MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_on_file, "set_alias", silent.set_alias)
        with pytest.raises(DependencyDown):
            bring_together(ledger, mlflow_on_file)
    assert bring_together(ledger, mlflow_on_file).moved == {"champion": "1"}
    assert bring_together(ledger, mlflow_on_file) == Reconciled()


def test_a_registry_whose_file_is_locked_is_down(ledger, mlflow_on_file, register, tmp_path):
    """C11: nothing half-moved."""
    import sqlite3

    verdict = register(mlflow_on_file, 1)
    promote(ledger, verdict, version="1", digest=verdict.challenger, actor="baton", reason="first", now=NOW)
    file = tmp_path / "mlflow.db"
    impatient = MlflowRegistry(tracking_uri=f"sqlite:///{file}?timeout=0.2", artifact_root=tmp_path, experiment=MODEL)
    impatient.prepare()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DependencyDown, match="locked"):
        bring_together(ledger, impatient)
    holder.close()
    assert bring_together(ledger, mlflow_on_file).moved == {"champion": "1"}
