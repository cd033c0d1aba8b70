"""The demo in a terminal: one progress line for each step, which becomes its outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from baton.settings import Settings, quiet_vendors

if TYPE_CHECKING:
    from rich.progress import TaskID

    from baton.flows.teller import Step
    from baton.monitoring.story import Story

WIDTH = 16
FILE_WIDTH = 120


class Terminal:
    """Shows steps as they run: a bar while under way, a line with its figure when done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str, *, parts: int = 1) -> Iterator[Step]:
        """Show one step until it is done."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
        )
        begun = time.perf_counter()
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            shown = _Step(self._console, progress, title, progress.add_task(title, total=parts, note=""))
            yield shown
        self._console.print(
            f"[bold]{title:<{WIDTH}}[/] {shown.outcome} [dim]{time.perf_counter() - begun:.1f} s[/]", highlight=False
        )


class _Step:
    """One step on the screen."""

    def __init__(self, console: Console, progress: Progress, title: str, task: TaskID) -> None:
        self._console = console
        self._progress = progress
        self._title = title
        self._task = task
        self.outcome = ""

    def advance(self, note: str = "") -> None:
        """Move the bar on."""
        self._progress.update(self._task, advance=1, note=note)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        style = "bold red" if "ALARM" in line else ""
        self._console.print(f"{'':<{WIDTH}} {line}", style=style, highlight=False, markup=False)

    def done(self, line: str) -> None:
        """Keep the outcome, which takes the bar's place."""
        self.outcome = line


def show(*, home: Path | None, fast: bool, port: int | None) -> None:
    """Tell the story in the terminal."""
    settings = Settings() if home is None else Settings(home=home)
    place = settings.home / "demo" if home is None else home
    quiet_vendors(Settings(home=place))
    # Prefect's console handler carries every vendor's log and warning; a person reads our lines.
    if not os.environ.get("BATON_DEBUG"):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        # A log file has no edge.
        console = Console(soft_wrap=True, width=FILE_WIDTH)
    begun = time.perf_counter()
    with console.status("reading the libraries"):
        from baton.flows.demo import Demo

        demo = Demo(place, Terminal(console), fast=fast, port=port)
    console.print(f"[bold]{demo.platform.spec.question}[/]", highlight=False)
    story = demo.tell()
    _close(console, story, demo.platform.reports / "story.html", time.perf_counter() - begun)


def _close(console: Console, story: Story, report: Path, seconds: float) -> None:
    from rich.table import Table

    table = Table("month", "flights", "late", "version", "AUC", "stale", "log loss", "stale", "gain, 90 %", box=None)
    for month in story.months:
        interval = f"{month.gain:+.4f} ({month.gain_low:+.4f} to {month.gain_high:+.4f})"
        lost = (month.gain or 0) < 0
        cells = [
            month.label,
            f"{month.rows:,}",
            f"{month.late_rate:.0%}",
            month.version,
            f"{month.auc_retrained:.3f}",
            f"{month.auc_stale:.3f}",
            f"{month.log_loss_retrained:.4f}",
            f"{month.log_loss_stale:.4f}",
            interval + (" lost" if lost else ""),
        ]
        table.add_row(*cells, style="yellow" if lost else "")
    console.print()
    console.print(table)
    console.print(f"\n{story.outcome}", highlight=False)
    console.print(f"\n[bold]{'Report':<{WIDTH}}[/] {report}", highlight=False)
    for link in story.links:
        target = (report.parent / link.target).resolve() if link.target.endswith(".html") else link.target
        console.print(f"[bold]{link.title}[/]: {target}", highlight=False)
    console.print(f"[dim]told in {seconds:.0f} s[/]", highlight=False)
