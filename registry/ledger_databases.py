"""What SQLite and PostgreSQL do differently: how to open, lock and number a ledger, and what time it is."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from baton.core.errors import IntegrityBroken

# One try; what holds a ledger for longer is waited for by trying again.
LOCK_SECONDS = 1.0
# A client that is stopped in the middle of a transaction must not stop the others.
IDLE_SECONDS = 10.0
CONNECT_SECONDS = 3
# Connections kept open by a process; one that the server has closed meanwhile is noticed and opened anew.
POOLED, RECYCLE_SECONDS = 2, 300
SCHEMA = "baton"
WHO_LAYS_OUT = "baton's layout"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# SQLSTATE classes and codes after which the same transaction may well succeed:
# connection, operator intervention, serialisation, deadlock, lock not free.
PASSING = ("08", "57", "40001", "40P01", "55P03", "53300", "25P03")


class Database(Protocol):
    """One kind of database, as far as the ledger minds."""

    name: str

    def absent(self) -> bool:
        """Whether there is nothing to read from yet."""

    def reading(self) -> Any:
        """Open a connection whose reads all see one moment."""

    def writing(self, lock: str) -> Any:
        """Open a transaction that nobody else who names the same lock is in."""

    def format(self, connection: Connection) -> int:
        """Give the format of what is there, 0 where nothing is."""

    def set_format(self, connection: Connection, number: int) -> None:
        """Write the format down."""

    def lock_layout(self, connection: Connection) -> None:
        """Keep others from making the tables at the same time."""

    def clock(self, connection: Connection) -> tuple[str, float]:
        """Give the name of a clock that all who use this database share, and its seconds."""

    def passing(self, error: Exception) -> bool:
        """Whether the same call may well succeed a moment later."""

    def damaged(self, error: Exception) -> bool:
        """Whether the stored bytes are no ledger any more."""

    def close(self) -> None:
        """Close what is kept open; the next call opens it anew."""


class SqliteDatabase:
    """A ledger in one file, for any number of processes on one machine.

    Every call opens the file anew: a connection does not survive a fork, and
    opening costs less than a millisecond. The journal is SQLite's rollback
    journal, so one file is all that there is to copy between two writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.name = str(path)

    def absent(self) -> bool:
        """Whether there is no file yet."""
        return not self.path.exists()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open the file; not read-only, since a reader must be able to undo what a killed writer left."""
        with self._reader.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    @contextmanager
    def writing(self, lock: str) -> Iterator[Connection]:
        """Open the file, made if it is not there, as its one writer."""
        del lock  # SQLite has one lock for all
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._writer.connect() as connection:
            # Entries are few and must outlive a power cut.
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def format(self, connection: Connection) -> int:
        """Read the file's user version."""
        number = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if number == 0 and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
            raise IntegrityBroken(
                what=f"{self.name} is no ledger", why="another program keeps its tables there", fix="name another file"
            )
        return number

    def set_format(self, connection: Connection, number: int) -> None:
        """Write the file's user version, which any Baton reads before it writes."""
        connection.exec_driver_sql(f"PRAGMA user_version = {number:d}")

    def lock_layout(self, connection: Connection) -> None:
        """Nothing to do: the writer is alone."""

    def clock(self, connection: Connection) -> tuple[str, float]:
        """Give the seconds since the machine started, which no change of the wall clock moves."""
        del connection
        return since_boot()

    def passing(self, error: Exception) -> bool:
        """Whether another process holds the file."""
        return isinstance(error, OperationalError) and ("locked" in str(error.orig) or "busy" in str(error.orig))

    def damaged(self, error: Exception) -> bool:
        """Whether the file is no database, or its pages do not fit."""
        return isinstance(error, DBAPIError) and not isinstance(error, OperationalError | InterfaceError)

    def close(self) -> None:
        """Nothing to do: every call closes what it opened."""

    def connect(self, mode: str) -> sqlite3.Connection:
        """Open the file in one of SQLite's modes."""
        address = f"{self.path.as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS, isolation_level=None)

    @cached_property
    def _reader(self) -> Engine:
        return create_engine("sqlite://", creator=lambda: self.connect("rw"), poolclass=NullPool)

    @cached_property
    def _writer(self) -> Engine:
        return create_engine("sqlite://", creator=lambda: self.connect("rwc"), poolclass=NullPool)


class PostgresDatabase:
    """A ledger in the schema `baton` of a PostgreSQL database, for any number of machines."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self.name = self._url.render_as_string(hide_password=True)

    def absent(self) -> bool:
        """Whether there is no database; nobody knows before asking it."""
        return False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a snapshot."""
        with self._engine.connect() as opened:
            connection = opened.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection
            connection.rollback()

    @contextmanager
    def writing(self, lock: str) -> Iterator[Connection]:
        """Open a transaction that holds the lock of that name until it ends."""
        with self._engine.connect() as connection:
            _take(connection, lock)
            yield connection
            connection.commit()

    def format(self, connection: Connection) -> int:
        """Read the one row of the table `format`."""
        if connection.execute(text(f"SELECT to_regclass('{SCHEMA}.format')")).scalar() is None:
            return 0
        return int(connection.execute(text("SELECT number FROM format")).scalar_one())

    def set_format(self, connection: Connection, number: int) -> None:
        """Write the one row of the table `format`."""
        connection.execute(text("CREATE TABLE IF NOT EXISTS format (number integer NOT NULL)"))
        connection.execute(text("DELETE FROM format"))
        connection.execute(text("INSERT INTO format VALUES (:number)"), {"number": number})

    def lock_layout(self, connection: Connection) -> None:
        """Take the one lock of whoever makes tables."""
        _take(connection, WHO_LAYS_OUT)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))

    def clock(self, connection: Connection) -> tuple[str, float]:
        """Give the server's clock, the one that all clients share."""
        return "server", float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def passing(self, error: Exception) -> bool:
        """Whether the server was away, or two transactions were in each other's way."""
        if not isinstance(error, DBAPIError):
            return False
        state = getattr(error.orig, "sqlstate", None)
        return state.startswith(PASSING) if state else isinstance(error, OperationalError)

    def damaged(self, error: Exception) -> bool:
        """Never by what a statement raises: the server guards its own pages."""
        del error
        return False

    def close(self) -> None:
        """Close the connections that are kept open."""
        if "_engine" in self.__dict__:
            _close(self._engine, os.getpid())

    @cached_property
    def _engine(self) -> Engine:
        session = {
            "search_path": SCHEMA,
            "lock_timeout": f"{LOCK_SECONDS:g}s",
            "idle_in_transaction_session_timeout": f"{IDLE_SECONDS:g}s",
            "synchronous_commit": "on",
        }
        options = " ".join(f"-c {name}={value}" for name, value in session.items())
        engine = create_engine(
            self._url,
            pool_size=POOLED,
            pool_recycle=RECYCLE_SECONDS,
            pool_use_lifo=True,
            use_native_hstore=False,
            # A server-side plan would outlive a migration, and a pooler between us does not know it.
            connect_args={"connect_timeout": CONNECT_SECONDS, "options": options, "prepare_threshold": None},
        )
        event.listen(engine, "connect", _belongs_here)
        event.listen(engine, "checkout", _stay_in_process)
        # With the ledger or with the process, whichever ends first.
        weakref.finalize(self, _close, engine, os.getpid())
        return engine


def since_boot() -> tuple[str, float]:
    """Name this start of the machine, and give the seconds since it; sleep counts where the system says so."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return _boot(), time.clock_gettime(clock)


@lru_cache(maxsize=1)
def _boot() -> str:
    # Without it a restarted machine would count from 0 under the same name.
    # Not the host's name: containers of one machine share clock and file.
    return BOOT_ID.read_text().strip() if BOOT_ID.is_file() else socket.gethostname()


def _belongs_here(connection: Any, record: ConnectionPoolEntry) -> None:
    del connection
    record.info["process"] = os.getpid()


def _stay_in_process(connection: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
    """Refuse a connection that came with a fork, so that the pool opens another."""
    del connection
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc] # SQLAlchemy's own recipe
        raise DisconnectionError


def _close(engine: Engine, process: int) -> None:
    """Close an engine's connections, but for those that a fork has brought along: they are the parent's."""
    engine.dispose(close=process == os.getpid())


def _take(connection: Connection, lock: str) -> None:
    number = int.from_bytes(hashlib.sha256(lock.encode()).digest()[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
