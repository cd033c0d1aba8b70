"""How a long run says what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One step under way."""

    def advance(self, note: str = "") -> None:
        """One part of the step is done; `note` is what it showed."""

    def say(self, line: str) -> None:
        """Something worth a line happened on the way."""

    def done(self, line: str) -> None:
        """The step is finished; `line` is its outcome with its figure."""


class Teller(Protocol):
    """Whoever shows the steps to a person."""

    def step(self, title: str, *, parts: int = 1) -> AbstractContextManager[Step]:
        """Begin a step of so many parts."""


class Silent:
    """Keeps the outcomes and shows nothing."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def advance(self, note: str = "") -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    def done(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    @contextmanager
    def step(self, title: str, *, parts: int = 1) -> Iterator[Step]:  # noqa: ARG002 - nothing is shown
        """Give itself as the step."""
        yield self
