import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from baton.core.errors import Conflict, DependencyDown, IntegrityBroken
from baton.registry import ledger as ledger_module
from baton.registry.ledger import SqliteLedger
from baton.testing.ledger import MemoryLedger

APPEND_AND_DIE = """
import os, sys
from pathlib import Path
from baton.registry.ledger import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
with ledger._writing() as connection:
    connection.execute("INSERT INTO entries VALUES ('parcels', 2, '{}', '', '')")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "ledger.db"


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, file):
    return MemoryLedger() if request.param == "memory" else SqliteLedger(file)


class TestContract:
    """What every ledger promises."""

    def test_a_new_ledger_has_no_champion(self, ledger):
        assert ledger.head("parcels") is None
        assert ledger.history("parcels") == ()

    def test_entries_come_back_as_written_oldest_first(self, ledger, entry_at):
        entries = tuple(entry_at(epoch) for epoch in (1, 2, 3))
        for entry in entries:
            ledger.append(entry)
        assert ledger.history("parcels") == entries
        assert ledger.head("parcels") == entries[-1]

    def test_models_have_epochs_of_their_own(self, ledger, entry_at):
        ledger.append(entry_at(1))
        ledger.append(entry_at(1, model="letters"))
        assert ledger.head("letters").epoch == 1

    @pytest.mark.parametrize("epoch", [0, 1, 3, -1], ids=["zero", "taken", "skipped", "negative"])
    def test_an_epoch_that_is_not_next_is_a_conflict(self, ledger, entry_at, epoch):
        ledger.append(entry_at(1))
        with pytest.raises(Conflict, match="the ledger stands at epoch 1"):
            ledger.append(entry_at(epoch))
        assert len(ledger.history("parcels")) == 1

    def test_a_verdict_comes_back_by_its_id(self, ledger, promoting):
        ledger.store_verdict(promoting)
        ledger.store_verdict(promoting)
        assert ledger.verdict(promoting.id).to_json() == promoting.to_json()
        assert ledger.verdict("0" * 64) is None


@pytest.fixture
def stored(file, entry_at):
    ledger = SqliteLedger(file)
    for epoch in (1, 2, 3):
        ledger.append(entry_at(epoch))
    return ledger


def test_another_process_reads_what_was_written(stored, file):
    assert SqliteLedger(file).history("parcels") == stored.history("parcels")


@pytest.mark.parametrize("statement", ["UPDATE entries SET content = ''", "DELETE FROM entries"])
def test_entries_can_be_neither_changed_nor_dropped(stored, file, statement):
    with sqlite3.connect(file) as connection, pytest.raises(sqlite3.DatabaseError, match="append-only"):
        connection.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE verdicts SET content = ''", "DELETE FROM verdicts"])
def test_verdicts_can_be_neither_changed_nor_dropped(stored, file, promoting, statement):
    stored.store_verdict(promoting)
    with sqlite3.connect(file) as connection, pytest.raises(sqlite3.DatabaseError, match="append-only"):
        connection.execute(statement)


TAMPERING = {
    "an edited entry": ("UPDATE entries SET content = replace(content, 'ann', 'eve') WHERE epoch = 2", 2),
    "a dropped entry": ("DELETE FROM entries WHERE epoch = 2", 2),
    "the first entry dropped": ("DELETE FROM entries WHERE epoch = 1", 1),
    "a broken link": ("UPDATE entries SET previous = hash WHERE epoch = 3", 3),
    "a shifted epoch": ("UPDATE entries SET epoch = 4 WHERE epoch = 3", 3),
}


@pytest.mark.parametrize(("statement", "epoch"), TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_shows_at_the_first_epoch_that_does_not_fit(stored, file, statement, epoch):
    assert stored.verify("parcels") is None
    with sqlite3.connect(file) as connection:
        connection.executescript("DROP TRIGGER entries_stay; DROP TRIGGER entries_last;")
        connection.execute(statement)
    assert stored.verify("parcels") == epoch


def test_an_edited_verdict_is_noticed(stored, file, promoting):
    stored.store_verdict(promoting)
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TRIGGER verdicts_stay")
        connection.execute("UPDATE verdicts SET content = replace(content, 'parcels', 'letters')")
    with pytest.raises(IntegrityBroken):
        stored.verdict(promoting.id)


def test_of_many_writers_of_one_epoch_one_wins(file, entry_at):
    def write(number):
        try:
            SqliteLedger(file).append(entry_at(1, version=str(number)))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(16)))
    assert sum(won) == 1
    assert len(SqliteLedger(file).history("parcels")) == 1


def test_a_writer_that_is_killed_leaves_nothing_behind(file, entry_at):
    ledger = SqliteLedger(file)
    ledger.append(entry_at(1))
    died = subprocess.run([sys.executable, "-c", APPEND_AND_DIE, str(file)], check=False, timeout=60)
    assert died.returncode == -9
    ledger.append(entry_at(2))
    assert ledger.verify("parcels") is None
    assert [entry.epoch for entry in ledger.history("parcels")] == [1, 2]


def test_a_locked_ledger_is_a_dependency_that_is_down(stored, file, entry_at, monkeypatch):
    monkeypatch.setattr(ledger_module, "BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DependencyDown, match="locked"):
        stored.append(entry_at(4))
    with pytest.raises(DependencyDown, match="locked"):
        stored.head("parcels")
    holder.close()
    stored.append(entry_at(4))


def test_a_full_disk_is_a_dependency_that_is_down(stored, entry_at, monkeypatch):
    connect = SqliteLedger._connect

    def full(ledger, mode):
        connection = connect(ledger, mode)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(SqliteLedger, "_connect", full)
    with pytest.raises(DependencyDown, match="full"):
        list(map(stored.append, map(entry_at, range(4, 400))))
    monkeypatch.undo()
    assert stored.verify("parcels") is None


def test_a_read_only_ledger_is_read_and_not_written(stored, entry_at, monkeypatch):
    connect = SqliteLedger._connect
    monkeypatch.setattr(SqliteLedger, "_connect", lambda ledger, _: connect(ledger, "ro"))
    assert stored.head("parcels").epoch == 3
    with pytest.raises(DependencyDown, match="readonly"):
        stored.append(entry_at(4))


def test_a_folder_that_cannot_be_made_is_a_dependency_that_is_down(tmp_path, entry_at):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(DependencyDown):
        SqliteLedger(tmp_path / "state" / "ledger.db").append(entry_at(1))


@pytest.mark.parametrize("call", ["head", "history", "verify"])
def test_a_file_of_something_else_is_damaged(file, call):
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(IntegrityBroken):
        getattr(SqliteLedger(file), call)("parcels")


def test_a_ledger_of_a_later_format_is_refused(stored, file, entry_at):
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(IntegrityBroken, match="format 99"):
        stored.append(entry_at(4))


def test_an_empty_file_is_an_empty_ledger(file, entry_at):
    file.parent.mkdir()
    file.touch()
    ledger = SqliteLedger(file)
    ledger.append(entry_at(1))
    assert ledger.head("parcels") == entry_at(1)
