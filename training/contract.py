"""What every trainer has to keep, tried on made-up rows: the suite behind `baton check trainer`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core.errors import BatonError, SpecInvalid
from baton.core.policy import Task
from baton.training.fit import fit
from baton.training.generated import generated_rows, generated_spec
from baton.training.promises import difference, promises
from baton.training.repeatability import Steps, steps
from baton.training.trainer import trainer_of

if TYPE_CHECKING:
    from baton.training.promises import Export

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
OTHER_THREADS = 2
ELSEWHERE = f"is the same model in another process on {OTHER_THREADS} threads"
CHILD_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise of a trainer on one task, whether it is kept, and what was seen."""

    task: str
    check: str
    kept: bool
    seen: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        said = f" ({self.seen})" if self.seen else ""
        return f"{'ok    ' if self.kept else 'BROKEN'} {self.task}: {self.check}{said}"


def check_trainer(named: str, *, folder: Path, export: Export | None = None) -> tuple[Finding, ...]:
    """Train on made-up rows of every task that a trainer declares, and check what it promises.

    Args:
        named: Trainer by name, or `file.py:name`.
        folder: Where a file is looked for.
        export: Exports a fitted model with its parity proof and raises if that
            cannot be done; the check is left out where it is.

    Returns:
        Every promise of every task, kept or not.

    Raises:
        SpecInvalid: There is no such trainer, or it is none.
        SourceMissing: Its file, or a package that it needs, is not there.
    """
    tasks = _tasks(named, folder)
    # It starts first: most of its time is importing, which the checks here need not wait for.
    elsewhere = _start(tasks, named, folder)
    try:
        found = [finding for task in tasks for finding in _of_task(task, named, folder, export, elsewhere)]
    finally:
        elsewhere.process.kill()
        elsewhere.process.communicate()
    return tuple(found)


def _tasks(named: str, folder: Path) -> list[Task]:
    refusals: list[BatonError] = []
    found: list[Task] = []
    for task in TASKS:
        try:
            trainer_of(generated_spec(task, trainer=named, folder=folder))
            found.append(task)
        except SpecInvalid as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def _of_task(task: Task, named: str, folder: Path, export: Export | None, elsewhere: _Elsewhere) -> Iterator[Finding]:
    spec, rows = generated_spec(task, trainer=named, folder=folder), generated_rows(task)
    try:
        fitted = fit(spec, rows, threads=1)
    except BatonError as error:
        yield Finding(task=task, check="trains", kept=False, seen=str(error))
        return
    yield Finding(task=task, check="trains", kept=True, seen=f"{len(rows)} rows, {fitted.size_bytes} bytes of content")
    for check, look in promises(spec, rows, fitted, export).items():
        yield _looked(task, check, look)
    yield _looked(task, ELSEWHERE, lambda: difference(steps(fitted, rows), elsewhere.steps(task)))


def _looked(task: Task, check: str, look: Callable[[], str | None]) -> Finding:
    """Turn a look into a finding; whatever a plug-in raises is wrong too."""
    try:
        wrong = look()
    except Exception as error:  # noqa: BLE001 - the error is what was to be found
        wrong = str(error) if isinstance(error, BatonError) else f"{type(error).__name__}: {error}"
    return Finding(task=task, check=check, kept=wrong is None, seen=wrong or "")


@dataclass(slots=True, kw_only=True)
class _Elsewhere:
    """The other process, and what it told."""

    process: subprocess.Popen[str]
    told: Mapping[str, Steps] | None = None
    failure: str = ""

    def steps(self, task: Task) -> Steps:
        """Wait for the other process once, and give the steps of a task."""
        if self.told is None:
            said, errors = self.process.communicate(timeout=CHILD_SECONDS)
            # A trainer may print what it likes.
            lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
            self.told = {line["task"]: Steps(**line["steps"]) for line in lines}
            self.failure = next(iter(errors.strip().splitlines()[-1:]), f"exit {self.process.returncode}")
        if task not in self.told:
            raise RuntimeError(f"the other process failed: {self.failure}")
        return self.told[task]


def _start(tasks: list[Task], named: str, folder: Path) -> _Elsewhere:
    command = [sys.executable, "-m", "baton.training.contract_process", named, str(folder), str(OTHER_THREADS)]
    pipe = subprocess.PIPE
    return _Elsewhere(process=subprocess.Popen([*command, *tasks], stdout=pipe, stderr=pipe, text=True))
