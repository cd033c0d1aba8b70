"""Everything that can go wrong, in the order in which the loop meets it.

    spec -> source -> landing -> data tests -> snapshot -> training -> gate
         -> registry -> export -> bundle -> serving -> monitoring -> retraining

    BatonError                 exit 1   refused, or could not decide
    ├── Misuse                 exit 2   the caller asked for something that cannot be
    │   ├── SpecInvalid                 model.yaml is missing, broken or contradicts itself
    │   ├── SourceMissing               a file, folder, package or column is not there
    │   ├── PortTaken                   another program listens on the port
    │   └── EmptyWindow                 no rows where rows are needed
    ├── DataRefused            exit 1   data tests stopped a batch, or a join lost rows
    ├── TrainingFailed         exit 1   a fit did not produce a usable model
    ├── NotPromotable          exit 1   no verdict allows this promotion
    ├── ParityFailed           exit 1   the exported model answers differently
    ├── Conflict               exit 3   somebody moved first
    │   └── Fenced                      this holder's lease has passed to another, or ran out
    ├── DependencyDown         exit 4   a server, disk or store does not answer
    └── IntegrityBroken        exit 5   bytes differ from the digest that names them

A refusal by the gate or a drifted window is not an error but a result:
see `baton.core.verdict` and `baton.core.drift_report`.
"""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 8


class BatonError(Exception):
    """What is wrong, why, and what to do next, rendered as one line."""

    exit_code = 1

    def __init__(self, *, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        fix = self.fix[:1].upper() + self.fix[1:]
        return " ".join(f"{self.what}: {self.why}. {fix}.".replace("..", ".").split())

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only facts do not survive the default reduction, and flows
        # carry exceptions between processes.
        return (_rebuild, (type(self), self.what, self.why, self.fix))


class Misuse(BatonError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class SpecInvalid(Misuse):
    """The project file is missing, broken or contradicts itself."""


class SourceMissing(Misuse):
    """A file, folder, package or column that is needed is not there."""


class PortTaken(Misuse):
    """Another program listens on the port."""


class EmptyWindow(Misuse):
    """There are no rows where rows are needed."""


class DataRefused(BatonError):
    """Data tests stopped a batch, or a join did not keep its rows."""


class TrainingFailed(BatonError):
    """A fit did not produce a usable model."""


class NotPromotable(BatonError):
    """No verdict allows this promotion."""


class ParityFailed(BatonError):
    """The exported model answers differently from the trained one."""


class Conflict(BatonError):
    """Somebody moved first; judge again against the new champion."""

    exit_code = 3


class Fenced(Conflict):
    """A lease ran out or passed to another holder; what was done under it may not go on."""


class DependencyDown(BatonError):
    """A server, disk or store does not answer."""

    exit_code = 4


class IntegrityBroken(BatonError):
    """Bytes differ from the digest that names them."""

    exit_code = 5


def listed(items: Iterable[object]) -> str:
    """Join items for a message, the first few by name and the rest by number."""
    names = [str(item) for item in items]
    shown = ", ".join(names[:LISTED])
    more = len(names) - LISTED
    return f"{shown} ... and {more} more" if more > 0 else shown


def _rebuild(kind: type[BatonError], what: str, why: str, fix: str) -> BatonError:
    return kind(what=what, why=why, fix=fix)
