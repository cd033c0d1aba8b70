import hashlib
import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from baton.core.errors import Conflict, DependencyDown, IntegrityBroken, Misuse, NotPromotable
from baton.core.ledger_entry import EntryKind
from baton.core.verdict import Outcome
from baton.registry import ledger_databases, ledger_store
from baton.registry.ledger import SqlLedger
from baton.registry.ledger_audit import Anchor
from baton.registry.ledger_databases import SqliteDatabase
from baton.registry.promotion import promote, rollback
from baton.testing.judged import JUDGED_AT, judged

CASES = Path(__file__).parents[1] / "cases"
APPEND_AND_DIE = """
import os, sys
from pathlib import Path
from sqlalchemy import text
from baton.registry.ledger import SqlLedger
def die(connection):
    connection.execute(text(
        "INSERT INTO entries VALUES ('parcels', 2, 'promotion', '2', 'd', 'v', 0, '{}', '', '')"
    ))
    os.kill(os.getpid(), 9)
SqlLedger(Path(sys.argv[1]))._store.write(die, lock="parcels")
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(any_ledger, entry_at):
    """Give a ledger of each kind that knows the verdict which `entry_at` names."""
    return any_ledger


@pytest.fixture
def written(entry_at):
    """Write entries of epochs, each on a verdict of its own."""

    def go(ledger, *epochs, model="parcels"):
        for epoch in epochs:
            entry, verdict = entry_at(epoch, model=model), None
            verdict = judged(model, epoch=epoch - 1, challenger=entry.digest)
            ledger.append(replace(entry, verdict_id=verdict.id), verdict=verdict)

    return go


class TestContract:
    """What every ledger promises."""

    def test_a_new_ledger_has_no_champion(self, ledger):
        assert ledger.head("parcels") is None
        assert ledger.entry("parcels", 1) is None
        assert ledger.history("parcels") == ()
        assert ledger.models() == ()
        assert ledger.verdict("0" * 64) is None
        assert ledger.champion_at("parcels", JUDGED_AT) is None

    def test_entries_come_back_as_written_oldest_first(self, ledger, written):
        written(ledger, 1, 2, 3)
        history = ledger.history("parcels")
        assert [entry.epoch for entry in history] == [1, 2, 3]
        assert history[0].kind is EntryKind.PROMOTION
        assert ledger.head("parcels") == history[-1]
        assert ledger.entry("parcels", 2) == history[1]

    def test_models_have_epochs_of_their_own(self, ledger, written):
        written(ledger, 1, 2)
        written(ledger, 1, model="letters")
        assert ledger.head("letters").epoch == 1
        assert ledger.models() == ("letters", "parcels")

    @pytest.mark.parametrize("epoch", [0, 1, 3, -1], ids=["zero", "taken", "skipped", "negative"])
    def test_an_epoch_that_is_not_next_is_a_conflict(self, ledger, written, epoch):
        written(ledger, 1)
        with pytest.raises(Conflict, match="the ledger stands at epoch 1"):
            written(ledger, epoch)
        assert len(ledger.history("parcels")) == 1

    def test_an_entry_that_follows_another_than_the_head_is_a_conflict(self, ledger, entry_at, written):
        written(ledger, 1)
        with pytest.raises(Conflict):
            ledger.append(replace(entry_at(2), previous_epoch=0))

    def test_no_entry_without_its_verdict(self, ledger, entry_at):
        with pytest.raises(NotPromotable, match="holds no verdict"):
            ledger.append(entry_at(1))
        assert ledger.head("parcels") is None
        ledger.append(replace(entry_at(1), verdict_id="", kind=EntryKind.OVERRIDE))
        assert ledger.head("parcels").kind is EntryKind.OVERRIDE

    def test_a_verdict_comes_back_by_its_id(self, ledger):
        verdict = judged("parcels", epoch=0, challenger="c" * 64)
        ledger.store_verdict(verdict)
        ledger.store_verdict(verdict)
        assert ledger.verdict(verdict.id).to_json() == verdict.to_json()

    def test_an_entry_is_found_by_its_bundle_and_by_its_version(self, ledger, written):
        written(ledger, 1, 2)
        rollback(ledger, "parcels", actor="bob", reason="complaints", now=JUDGED_AT)
        first = f"{1:064}"
        assert ledger.find("parcels", digest=first).epoch == 3
        assert ledger.find("parcels", digest=first, oldest=True).epoch == 1
        assert ledger.find("parcels", version="2").epoch == 2
        assert ledger.find("parcels", version="9") is None
        assert ledger.find("letters", digest=first) is None

    def test_the_champion_of_every_moment(self, ledger, written):
        """K5: `entry_at` writes epoch n at n hours."""
        written(ledger, 1, 2, 3)
        hour, start = timedelta(hours=1), JUDGED_AT
        expected = {0.9: None, 1: 1, 1.000001: 1, 1.9999999: 1, 2: 2, 2.5: 2, 3: 3, 3_000: 3}
        found = {hours: ledger.champion_at("parcels", start + hours * hour) for hours in expected}
        assert {hours: entry and entry.epoch for hours, entry in found.items()} == expected

    def test_epochs_order_entries_when_a_clock_was_set_back(self, ledger, entry_at):
        for epoch, hour in ((1, 10), (2, 9)):
            entry = replace(entry_at(epoch), at=JUDGED_AT.replace(hour=hour), kind=EntryKind.OVERRIDE, verdict_id="")
            ledger.append(entry)
        assert ledger.champion_at("parcels", JUDGED_AT.replace(hour=11)).epoch == 2


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request, file, written):
    """Give a ledger that outlives its process, with three entries."""
    ledger = SqlLedger(file if request.param == "sqlite" else request.getfixturevalue("postgres")())
    written(ledger, 1, 2, 3)
    return ledger


@pytest.fixture
def on_file(file, written):
    ledger = SqlLedger(file)
    written(ledger, 1, 2, 3)
    return ledger


def meddle(ledger, *statements):
    """Change the database as somebody with all rights would, past the triggers."""
    database = ledger._store._database
    if isinstance(database, SqliteDatabase):
        with sqlite3.connect(database.path) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name in names:
                connection.execute(f"DROP TRIGGER {name[0]}")
            for statement in statements:
                connection.execute(statement)
        return
    with database._engine.connect() as connection:
        for table in ("entries", "verdicts", "heads"):
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()


def address_of(ledger):
    database = ledger._store._database
    return database.path if isinstance(database, SqliteDatabase) else database._url.render_as_string(False)


FORGED = "UPDATE {} SET content = replace(content, 'parcels', 'letters')"
ALL_HEADS = "UPDATE heads SET epoch = {0}, hash = (SELECT hash FROM entries WHERE epoch = {0})"
TAMPERING = {
    "an edited entry": (["UPDATE entries SET content = replace(content, 'ann', 'eve') WHERE epoch = 2"], 2),
    "an edited look-up column": (["UPDATE entries SET version = '9' WHERE epoch = 2"], 2),
    "a dropped entry": (["DELETE FROM entries WHERE epoch = 2"], 2),
    "the first entry dropped": (["DELETE FROM entries WHERE epoch = 1"], 1),
    "a broken link": (["UPDATE entries SET previous = hash WHERE epoch = 3"], 3),
    "a shifted epoch": (["UPDATE entries SET epoch = 4 WHERE epoch = 3"], 3),
    "a kind of its own": (["UPDATE entries SET kind = 'rollback' WHERE epoch = 2"], 2),
    "no JSON": (["UPDATE entries SET content = '[]' WHERE epoch = 2"], 2),
    "the tail cut off": (["DELETE FROM entries WHERE epoch = 3"], 3),
    "everything cut off": (["DELETE FROM entries"], 1),
    "an entry put in after the head": ([ALL_HEADS.format(2)], 3),
    "the head's record dropped": (["DELETE FROM heads"], 3),
    "edited verdicts": ([FORGED.format("verdicts")], 1),
    "dropped verdicts": (["DELETE FROM verdicts"], 1),
}


@pytest.mark.parametrize(("statements", "epoch"), TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_shows_at_the_first_epoch_that_does_not_fit(stored, statements, epoch):
    """K4."""
    assert stored.verify("parcels") is None
    meddle(stored, *statements)
    assert stored.verify("parcels").epoch == epoch


def test_a_tail_that_was_cut_off_with_its_record_shows_against_projection_and_anchor(stored):
    """K4: who rewrites entries, head and projections is found out by what was noted elsewhere."""
    anchor = stored.anchor("parcels")
    stored.projections.settle("parcels", epoch=3, version="3", holder="me")
    meddle(stored, "DELETE FROM entries WHERE epoch = 3", ALL_HEADS.format(2))
    assert stored.verify("parcels").epoch == 3
    meddle(stored, "DELETE FROM projections")
    assert stored.verify("parcels") is None
    assert stored.verify("parcels", anchor=anchor).epoch == 3
    assert stored.verify("parcels", anchor=Anchor(epoch=3)).epoch == 3


def test_a_history_that_was_written_anew_shows_against_the_anchor(stored, file, written, tmp_path):
    """K4."""
    anchor = stored.anchor("parcels")
    assert stored.verify("parcels", anchor=anchor) is None
    other = SqlLedger(tmp_path / "other.db")
    written(other, 1, 2)
    promote(
        other,
        judged("parcels", epoch=2, challenger="e" * 64),
        version="3",
        digest="e" * 64,
        actor="eve",
        reason="x",
        now=JUDGED_AT,
    )
    assert other.verify("parcels") is None
    assert other.verify("parcels", anchor=anchor).epoch == 3


def test_an_entry_on_a_verdict_that_does_not_promote_shows(stored, entry_at):
    entry = entry_at(4)
    held = judged("parcels", epoch=3, challenger=entry.digest, outcome=Outcome.FAILED)
    stored.append(replace(entry, verdict_id=held.id), verdict=held)
    flaw = stored.verify("parcels")
    assert (flaw.epoch, "is HOLD" in flaw.why) == (4, True)


@pytest.mark.parametrize("change", [{"epoch": 1}, {"challenger": "9" * 64}], ids=["another champion", "another bundle"])
def test_an_entry_on_a_verdict_about_something_else_shows(stored, entry_at, change):
    entry = entry_at(4)
    verdict = judged("parcels", **{"epoch": 3, "challenger": entry.digest} | change)
    stored.append(replace(entry, verdict_id=verdict.id), verdict=verdict)
    assert stored.verify("parcels").epoch == 4


def test_a_rollback_to_what_never_was_champion_shows(stored, entry_at):
    known = stored.head("parcels").verdict_id
    stored.append(replace(entry_at(4), kind=EntryKind.ROLLBACK, verdict_id=known))
    assert "never was champion" in stored.verify("parcels").why


@pytest.mark.parametrize("table", ["entries", "verdicts", "heads", "meta"])
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_what_was_written_can_be_neither_changed_nor_dropped(stored, table, verb):
    """K4: triggers on both databases."""
    from sqlalchemy.exc import DBAPIError

    change = {"heads": "epoch = 1", "meta": "value = ''"}.get(table, "content = ''")
    SqlLedger(address_of(stored), environment="local").store_verdict(judged("parcels", epoch=3, challenger="c" * 64))
    statement = f"UPDATE {table} SET {change}" if verb == "UPDATE" else f"DELETE FROM {table}"
    database = stored._store._database
    with database.writing("x") as connection, pytest.raises(DBAPIError, match=r"append-only|only advances"):
        connection.exec_driver_sql(statement)
    assert stored.verify("parcels") is None


def test_a_table_is_not_truncated(postgres, written):
    from sqlalchemy.exc import DBAPIError

    ledger = SqlLedger(postgres())
    written(ledger, 1)
    with ledger._store._database.writing("x") as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.exec_driver_sql("TRUNCATE entries")


def test_another_process_reads_what_was_written(on_file, file):
    assert SqlLedger(file).history("parcels") == on_file.history("parcels")


def test_an_edited_verdict_is_noticed(stored):
    verdict = judged("parcels", epoch=3, challenger="a" * 64)
    stored.store_verdict(verdict)
    meddle(stored, FORGED.format("verdicts"))
    with pytest.raises(IntegrityBroken):
        stored.verdict(verdict.id)


def test_of_many_writers_of_one_epoch_one_wins(stored, written):
    """C6: sixteen writers of epoch 4, each with a ledger of its own."""
    address = address_of(stored)

    def write(number):
        verdict = judged("parcels", epoch=3, challenger=f"{number:064}")
        ledger = SqlLedger(address)
        try:
            promote(
                ledger,
                verdict,
                version=str(number),
                digest=f"{number:064}",
                actor="ann",
                reason="race",
                now=JUDGED_AT,
            )
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(10, 26)))
    assert sum(won) == 1
    assert len(stored.history("parcels")) == 4
    assert stored.verify("parcels") is None


def test_a_writer_that_is_killed_leaves_nothing_behind(file, written):
    """C5."""
    ledger = SqlLedger(file)
    written(ledger, 1)
    died = subprocess.run([sys.executable, "-c", APPEND_AND_DIE, str(file)], check=False, timeout=60)
    assert died.returncode == -9
    assert ledger.head("parcels").epoch == 1
    written(ledger, 2)
    assert ledger.verify("parcels") is None
    assert [entry.epoch for entry in ledger.history("parcels")] == [1, 2]


def test_an_append_whose_answer_was_lost_is_not_written_twice(stored, entry_at, monkeypatch):
    """The connection breaks after the commit: the call is made again, and finds its own entry."""
    from sqlalchemy.exc import OperationalError

    store = stored._store
    real, answers = type(store)._write, iter([True])

    def lost(self, work, lock):
        result = real(self, work, lock)
        if next(answers, False):
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database is locked"))
        return result

    monkeypatch.setattr(type(store), "_write", lost)
    monkeypatch.setattr(type(store._database), "passing", lambda *_: True)
    stored.append(replace(entry_at(4), kind=EntryKind.OVERRIDE, verdict_id=""))
    assert [entry.epoch for entry in stored.history("parcels")] == [1, 2, 3, 4]


def hold_for(seconds, file, ready):
    holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    ready.set()
    import time

    time.sleep(seconds)
    holder.close()


def test_a_ledger_that_is_held_for_a_while_is_waited_for(on_file, file, written, monkeypatch):
    """C11: longer than one try, shorter than the cap."""
    import threading

    monkeypatch.setattr(ledger_databases, "LOCK_SECONDS", 0.05)
    ready = threading.Event()
    thread = threading.Thread(target=hold_for, args=(0.6, file, ready))
    thread.start()
    ready.wait(5)
    written(on_file, 4)
    thread.join()
    assert on_file.head("parcels").epoch == 4


def test_a_locked_ledger_is_a_dependency_that_is_down(on_file, file, written, monkeypatch):
    """C11: tried again to a cap, then exit 4, and nothing half-written."""
    monkeypatch.setattr(ledger_databases, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(ledger_store, "PATIENCE_SECONDS", 0.3)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DependencyDown, match="locked") as down:
        written(on_file, 4)
    assert down.value.exit_code == 4
    with pytest.raises(DependencyDown, match="locked"):
        on_file.head("parcels")
    holder.close()
    written(on_file, 4)


def test_a_model_that_is_locked_on_a_server_is_a_dependency_that_is_down(postgres, written, monkeypatch):
    """C11."""
    monkeypatch.setattr(ledger_databases, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(ledger_store, "PATIENCE_SECONDS", 0.3)
    ledger = SqlLedger(postgres())
    written(ledger, 1)
    with ledger._store._database.writing("parcels"):
        with pytest.raises(DependencyDown, match="lock timeout"):
            written(ledger, 2)
        assert ledger.head("parcels").epoch == 1
        written(ledger, 1, model="letters")
    written(ledger, 2)


def test_a_client_that_is_stopped_in_a_transaction_does_not_stop_the_others(postgres, written, monkeypatch):
    """D8: the server ends its session, and it finds so when it wakes."""
    import time

    from sqlalchemy.exc import DBAPIError

    monkeypatch.setattr(ledger_databases, "IDLE_SECONDS", 0.3)
    ledger = SqlLedger(postgres())
    written(ledger, 1)
    sleeper = SqlLedger(ledger._store._database._url.render_as_string(False))

    def sleep(connection):
        time.sleep(0.6)
        written(ledger, 2)
        connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DBAPIError), sleeper._store._database.writing("parcels") as connection:
        sleep(connection)
    assert ledger.head("parcels").epoch == 2


def test_a_server_that_is_not_there_is_down_within_seconds(monkeypatch):
    import time

    monkeypatch.setattr(ledger_store, "PATIENCE_SECONDS", 0.3)
    begun = time.monotonic()
    with pytest.raises(DependencyDown) as down:
        SqlLedger("postgresql://somebody:secret@127.0.0.1:9/nowhere").head("parcels")
    assert time.monotonic() - begun < 5
    assert "secret" not in str(down.value)


FORKS = """
import os
import sys
from baton.registry.ledger import SqlLedger
ledger = SqlLedger(sys.argv[1])
ledger.leases.acquire("parcels", "parent")
child = os.fork()
ledger.leases.acquire("letters" if child else "cards", "both")
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(len(ledger.leases.list()))
"""


def test_a_connection_does_not_cross_a_fork(postgres):
    # In a process of its own: this one has vendors' threads, whose handlers at its end are no child's.
    words = [sys.executable, "-c", FORKS, postgres()]
    assert subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout == "3\n"


def test_a_ledger_closes_what_it_opened(postgres, written):
    import gc
    import warnings

    ledger = SqlLedger(postgres())
    written(ledger, 1)
    assert ledger._store._database._engine.pool.checkedin() == 1
    ledger.close()
    assert ledger._store._database._engine.pool.checkedin() == 0
    assert ledger.head("parcels").epoch == 1
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # Nobody has closed it.
        del ledger
        gc.collect()
    assert [str(warning.message) for warning in said if issubclass(warning.category, ResourceWarning)] == []


LEAVES = """
import sys
from baton.registry.ledger import SqlLedger
kept = SqlLedger(sys.argv[1])
kept.leases.acquire("parcels", "me")
"""


def test_a_process_that_ends_closes_what_it_opened(postgres):
    words = [sys.executable, "-X", "dev", "-W", "always::ResourceWarning", "-c", LEAVES, postgres()]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "ResourceWarning" not in ended.stderr


def test_a_server_that_has_closed_its_connections_is_asked_again(postgres, written):
    import psycopg

    url = postgres()
    ledger = SqlLedger(url)
    written(ledger, 1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    written(ledger, 2)
    assert ledger.head("parcels").epoch == 2


def test_a_full_disk_is_a_dependency_that_is_down(on_file, written, monkeypatch):
    connect = SqliteDatabase.connect

    def full(database, mode):
        connection = connect(database, mode)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(SqliteDatabase, "connect", full)
    with pytest.raises(DependencyDown, match="full"):
        written(on_file, *range(4, 100))
    monkeypatch.undo()
    assert on_file.verify("parcels") is None


def test_a_read_only_ledger_is_read_and_not_written(on_file, written, monkeypatch):
    """C11."""
    connect = SqliteDatabase.connect
    monkeypatch.setattr(SqliteDatabase, "connect", lambda database, _: connect(database, "ro"))
    assert on_file.head("parcels").epoch == 3
    with pytest.raises(DependencyDown, match="readonly"):
        written(on_file, 4)


def test_a_folder_that_cannot_be_made_is_a_dependency_that_is_down(tmp_path, written):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(DependencyDown):
        written(SqlLedger(tmp_path / "state" / "ledger.db"), 1)


@pytest.mark.parametrize("call", ["head", "history", "verify"])
def test_a_file_of_something_else_is_damaged(file, call):
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(IntegrityBroken):
        getattr(SqlLedger(file), call)("parcels")


def test_another_programs_database_is_left_alone(file, written):
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    for call in (lambda: SqlLedger(file).head("parcels"), lambda: written(SqlLedger(file), 1)):
        with pytest.raises(IntegrityBroken, match="is no ledger"):
            call()


def test_an_empty_file_is_an_empty_ledger(file, written):
    file.parent.mkdir()
    file.touch()
    ledger = SqlLedger(file)
    assert ledger.head("parcels") is None
    written(ledger, 1)
    assert ledger.head("parcels").epoch == 1


@pytest.mark.parametrize(
    "address", ["mysql://x/y", "ledger.db", "sqlite://"], ids=["another database", "no URL", "no file"]
)
def test_an_address_that_is_no_ledger_is_refused(address):
    with pytest.raises(Misuse, match="no ledger"):
        SqlLedger(address)


def test_a_sqlite_url_names_a_file(file, on_file):
    assert SqlLedger(f"sqlite:///{file}").head("parcels").epoch == 3


class TestEnvironments:
    """L2: a ledger belongs to the environment that first wrote to it."""

    @pytest.fixture(params=["sqlite", "postgres"])
    def address(self, request, file):
        return file if request.param == "sqlite" else request.getfixturevalue("postgres")()

    def test_the_first_to_write_makes_it_its_own(self, address, written):
        ledger = SqlLedger(address, environment="production")
        assert ledger.environment is None
        written(ledger, 1)
        assert ledger.environment == "production"
        written(SqlLedger(address, environment="production"), 2)

    def test_another_is_refused_before_it_reads_or_writes(self, address, written):
        ledger = SqlLedger(address, environment="production")
        written(ledger, 1)
        other = SqlLedger(address, environment="local")
        calls = {
            "read": lambda: other.head("parcels"),
            "append": lambda: written(other, 2),
            "verdict": lambda: other.store_verdict(judged("parcels", epoch=1, challenger="c" * 64)),
            "lease": lambda: other.leases.acquire("parcels/retrain", "me"),
            "alias": lambda: other.projections.begin("parcels", epoch=1, version="1", holder="me"),
        }
        for call in calls.values():
            with pytest.raises(Misuse, match=r"belongs to the environment production.*BATON_ENVIRONMENT=production"):
                call()
        assert [entry.epoch for entry in ledger.history("parcels")] == [1]
        assert ledger.leases.list() == ()
        assert ledger.projections.standing("parcels").pending == ()

    def test_of_two_that_come_first_at_once_one_has_it(self, address, written):
        def claim(number):
            try:
                written(SqlLedger(address, environment=f"shell-{number}"), 1, model=f"parcels-{number}")
            except Misuse:
                return None
            return f"shell-{number}"

        with ThreadPoolExecutor(4) as pool:
            claimed = [name for name in pool.map(claim, range(4)) if name]
        assert claimed == [SqlLedger(address).environment]

    def test_a_ledger_without_a_claim_is_anybodys(self, address, written):
        written(SqlLedger(address), 1)
        assert SqlLedger(address, environment="local").head("parcels").epoch == 1


class TestFormats:
    """L3: an older file is brought forward in one transaction, a later one is refused untouched."""

    @pytest.fixture
    def old(self, file):
        file.parent.mkdir()
        with sqlite3.connect(file) as connection:
            connection.executescript((CASES / "ledger_format_1.sql").read_text())
        return file

    def raw(self, file, query):
        with sqlite3.connect(file) as connection:
            return connection.execute(query).fetchall()

    def test_a_ledger_of_format_1_is_read_and_keeps_its_chain(self, old):
        query = "SELECT epoch, content, previous, hash FROM entries ORDER BY epoch"
        before = self.raw(old, query)
        ledger = SqlLedger(old)
        history = ledger.history("parcels")
        assert [entry.kind.value for entry in history] == ["promotion", "promotion", "promotion", "rollback"]
        assert [(entry.epoch, entry.version) for entry in history] == [(1, "1"), (2, "2"), (3, "3"), (4, "2")]
        assert self.raw(old, query) == before
        assert self.raw(old, "PRAGMA user_version") == [(3,)]
        assert ledger.verify("parcels") is None
        assert ledger.verdict(history[0].verdict_id).promotes
        assert ledger.champion_at("parcels", datetime(2024, 2, 15, tzinfo=timezone.utc)).epoch == 2

    def test_a_migrated_ledger_goes_on(self, old):
        ledger = SqlLedger(old)
        verdict = judged("parcels", epoch=4, challenger="d" * 64)
        promote(ledger, verdict, version="4", digest="d" * 64, actor="ann", reason="x", now=JUDGED_AT)
        assert rollback(ledger, "parcels", actor="bob", reason="y", now=JUDGED_AT).version == "2"
        assert ledger.verify("parcels") is None
        with sqlite3.connect(old) as connection, pytest.raises(sqlite3.DatabaseError, match="append-only"):
            connection.execute("DELETE FROM entries")

    def test_a_ledger_of_format_2_is_brought_forward_and_belongs_to_nobody_yet(self, on_file, file, written):
        before = self.raw(file, "SELECT * FROM entries ORDER BY epoch")
        with sqlite3.connect(file) as connection:
            connection.execute("DROP TABLE meta")
            connection.execute("PRAGMA user_version = 2")
        assert on_file.head("parcels").epoch == 3
        assert self.raw(file, "SELECT * FROM entries ORDER BY epoch") == before
        assert self.raw(file, "PRAGMA user_version") == [(3,)]
        assert on_file.environment is None
        written(SqlLedger(file, environment="production"), 4)
        assert on_file.environment == "production"
        with sqlite3.connect(file) as connection, pytest.raises(sqlite3.DatabaseError, match="append-only"):
            connection.execute("UPDATE meta SET value = 'local'")

    def test_a_ledger_of_format_2_on_a_server_is_brought_forward(self, postgres, written):
        ledger = SqlLedger(postgres(), environment="production")
        written(ledger, 1)
        with ledger._store._database._engine.connect() as connection:
            connection.exec_driver_sql("DROP TABLE meta")
            connection.exec_driver_sql("UPDATE format SET number = 2")
            connection.commit()
        written(ledger, 2)
        assert ledger.environment == "production"
        assert ledger.verify("parcels") is None

    def test_what_was_wrong_before_is_still_wrong_after(self, old):
        with sqlite3.connect(old) as connection:
            connection.execute("DROP TRIGGER entries_stay")
            connection.execute("UPDATE entries SET content = replace(content, 'schedule', 'magic') WHERE epoch = 2")
        assert SqlLedger(old).verify("parcels").epoch == 2

    def test_two_processes_migrate_once(self, old):
        with ThreadPoolExecutor(4) as pool:
            heads = list(pool.map(lambda _: SqlLedger(old).head("parcels"), range(8)))
        assert {head.epoch for head in heads} == {4}

    def test_a_ledger_that_cannot_be_read_is_not_half_migrated(self, old):
        with sqlite3.connect(old) as connection:
            connection.execute("DROP TRIGGER entries_stay")
            connection.execute("UPDATE entries SET content = '{' WHERE epoch = 3")
        before = hashlib.sha256(old.read_bytes()).hexdigest()
        with pytest.raises(IntegrityBroken, match="format 1"):
            SqlLedger(old).head("parcels")
        assert hashlib.sha256(old.read_bytes()).hexdigest() == before

    def test_a_migration_that_is_killed_has_not_happened(self, old):
        code = (
            "import os, sys; from pathlib import Path; from baton.registry import ledger_tables; "
            "from baton.registry.ledger import SqlLedger; step = ledger_tables.STEPS[1]; "
            "ledger_tables.STEPS[1] = lambda c: (step(c), os.kill(os.getpid(), 9)); "
            "SqlLedger(Path(sys.argv[1])).head('parcels')"
        )
        assert subprocess.run([sys.executable, "-c", code, str(old)], check=False, timeout=60).returncode == -9
        assert self.raw(old, "PRAGMA user_version") == [(1,)]
        assert SqlLedger(old).head("parcels").epoch == 4

    def test_a_ledger_of_a_later_format_is_refused_untouched(self, on_file, file, written):
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 99")
        before = file.read_bytes()
        for call in (lambda: on_file.head("parcels"), lambda: written(on_file, 4)):
            with pytest.raises(IntegrityBroken, match="format 99"):
                call()
        assert file.read_bytes() == before

    def test_a_later_format_on_a_server_is_refused(self, postgres, written):
        ledger = SqlLedger(postgres())
        written(ledger, 1)
        meddle(ledger, "UPDATE format SET number = 99")
        with pytest.raises(IntegrityBroken, match="format 99"):
            ledger.head("parcels")

    def test_entries_say_their_kind(self, on_file, file):
        [(content,)] = self.raw(file, "SELECT content FROM entries WHERE epoch = 1")
        assert json.loads(content)["kind"] == "promotion"
