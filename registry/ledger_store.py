"""Transactions on the ledger's database: laid out, of the right format, tried again while it is held, explained."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from baton.core.errors import DependencyDown, IntegrityBroken, Misuse
from baton.registry.ledger_databases import Database, PostgresDatabase, SqliteDatabase
from baton.registry.ledger_tables import FORMAT, claim_environment, found_environment, lay_out, migrate

# Longer than any write here takes, shorter than a person waits.
PATIENCE_SECONDS = 15.0
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
_Result = TypeVar("_Result")


class LedgerStore:
    """A SQLite file or a PostgreSQL database with a ledger in it.

    What is done to it is handed in as a function, since whatever meets a held
    lock or a lost connection is done again from its start, after a pause with
    jitter, until `PATIENCE_SECONDS` have passed. A function may therefore run
    more than once, and its commit may have succeeded without saying so.
    """

    def __init__(
        self, address: Path | str, *, clock: Callable[[], float] | None = None, environment: str | None = None
    ) -> None:
        self._database = _database(address)
        self._clock = clock
        self._environment = environment

    @property
    def name(self) -> str:
        """Where the ledger is, for messages; no password."""
        return self._database.name

    def read(self, work: Callable[[Connection], _Result], *, empty: _Result) -> _Result:
        """Give what `work` reads in one moment, or `empty` where there is no ledger yet."""
        with self._explained():
            return self._patiently(lambda: self._read(work, empty))

    def write(self, work: Callable[[Connection], _Result], *, lock: str) -> _Result:
        """Run `work` in one transaction that no other of the same lock overlaps; all of it stays, or nothing."""
        with self._explained():
            return self._patiently(lambda: self._write(work, lock))

    def clock(self, connection: Connection) -> tuple[str, float]:
        """Name the clock that leases run on, and give its seconds."""
        return ("given", self._clock()) if self._clock else self._database.clock(connection)

    def environment(self) -> str | None:
        """Give the environment that the ledger belongs to, or None where nobody has claimed it yet."""
        return self.read(found_environment, empty=None)

    def close(self) -> None:
        """Close the connections that are kept open; the next call opens its own."""
        self._database.close()

    def _read(self, work: Callable[[Connection], _Result], empty: _Result) -> _Result:
        if self._database.absent():
            return empty
        with self._database.reading() as connection:
            found = self._database.format(connection)
            if found == 0:
                return empty
            if found == FORMAT:
                self._check_environment(connection)
                return work(connection)
        self._write(lambda _: None, "migration")
        return self._read(work, empty)

    def _write(self, work: Callable[[Connection], _Result], lock: str) -> _Result:
        with self._database.writing(lock) as connection:
            if self._database.format(connection) != FORMAT:
                self._settle_format(connection)
            self._claim_environment(connection)
            return work(connection)

    def _settle_format(self, connection: Connection) -> None:
        self._database.lock_layout(connection)
        # Somebody else may have done it while the lock was waited for.
        found = self._database.format(connection)
        if found == FORMAT:
            return
        if found == 0:
            lay_out(connection)
        else:
            migrate(connection, found)
        self._database.set_format(connection, FORMAT)

    def _claim_environment(self, connection: Connection) -> None:
        """Make the ledger this environment's where it is nobody's, in the transaction of what is written."""
        if self._environment is not None and self._check_environment(connection) is None:
            claim_environment(connection, self._environment)

    def _check_environment(self, connection: Connection) -> str | None:
        """Refuse a ledger of another environment; give the one that it belongs to."""
        found = found_environment(connection) if self._environment is not None else None
        if found is None or found == self._environment:
            return found
        raise Misuse(
            what=f"the ledger {self.name} belongs to the environment {found}",
            why=f"this command acts for {self._environment} (BATON_ENVIRONMENT)",
            fix=f"set BATON_ENVIRONMENT={found} if {found} is meant, or name another ledger",
        )

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE
        while True:
            try:
                return call()
            except SQLAlchemyError as error:
                if not self._database.passing(error) or time.monotonic() + pause > deadline:
                    raise
            # Without jitter, those who met once meet again.
            time.sleep(pause * random.SystemRandom().uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            why = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
            if self._database.damaged(error):
                raise IntegrityBroken(
                    what=f"the ledger {self.name} is damaged", why=why, fix="restore it from a backup"
                ) from error
            raise DependencyDown(
                what=f"the ledger {self.name} cannot be used",
                why=why,
                fix="make room and the database writable, or wait for who holds it",
            ) from error


def _database(address: Path | str) -> Database:
    if isinstance(address, Path):
        return SqliteDatabase(address)
    kind, _, rest = address.partition("://")
    match kind.partition("+")[0]:
        case "sqlite" if rest.startswith("/"):
            return SqliteDatabase(Path(rest.removeprefix("/")))
        case "postgresql" | "postgres":
            return PostgresDatabase(address.replace("postgres://", "postgresql://", 1))
    raise Misuse(
        what=f"{kind}:// is no ledger",
        why="it is neither a SQLite file nor a PostgreSQL database",
        fix="give sqlite:///PATH or postgresql://USER@HOST/DATABASE",
    )
