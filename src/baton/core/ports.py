"""Everything that Baton asks of the outside world, on one page.

Each port has a real adapter in the stage that owns the vendor and an
in-memory one in `baton.testing`; one contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from baton.core.lease import Lease
from baton.core.ledger_entry import LedgerEntry
from baton.core.registered_version import RegisteredVersion
from baton.core.run import Run
from baton.core.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd


class FeatureStore(Protocol):
    """Values of entities by the moment at which they became known."""

    def publish(self, views: Mapping[str, pd.DataFrame]) -> None:
        """Replace the history of each view; columns are the entity, `event_timestamp` and the values."""

    def historical(self, rows: pd.DataFrame, *, moment: str) -> pd.DataFrame:
        """Add every view's values as known at each row's `moment`; same rows, same order."""

    def materialize(self, *, as_of: datetime) -> None:
        """Make the values known at `as_of` the ones that `online` answers with."""

    def online(self, entities: Sequence[Mapping[str, str]]) -> pd.DataFrame:
        """Give the current values, one row per entity row, in order."""


class Ledger(Protocol):
    """The append-only truth of who is champion, and the verdicts on which that rests."""

    def head(self, model: str) -> LedgerEntry | None:
        """Give the newest entry, or None where nothing was ever promoted."""

    def entry(self, model: str, epoch: int) -> LedgerEntry | None:
        """Give the entry of an epoch, or None."""

    def find(
        self, model: str, *, digest: str | None = None, version: str | None = None, oldest: bool = False
    ) -> LedgerEntry | None:
        """Give the newest entry of a bundle or a version, or the oldest, or None."""

    def history(self, model: str) -> tuple[LedgerEntry, ...]:
        """Give every entry, oldest first."""

    def champion_at(self, model: str, moment: datetime) -> LedgerEntry | None:
        """Give the newest of the entries written up to a moment, or None."""

    def models(self) -> tuple[str, ...]:
        """Give the names of all models that ever had a champion."""

    def append(self, entry: LedgerEntry, *, verdict: Verdict | None = None, lease: Lease | None = None) -> None:
        """Add the entry of the next epoch and its verdict while the lease holds; raises `Conflict` if not next."""

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id; keeping it again changes nothing."""

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None."""


class Registry(Protocol):
    """Runs, versions and aliases of models, for people to look at."""

    def prepare(self) -> None:
        """Make ready what the first use would wait for, such as an empty database."""

    def find(self, model: str, *, key: str) -> str | None:
        """Give the version registered under a run key, or None."""

    def register(self, model: str, run: Run) -> str:
        """Log a run with what it carries and give its version; the same key makes no second version."""

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write tags on a version."""

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias; one that is not there is no error."""

    def aliases(self, model: str) -> Mapping[str, str]:
        """Give every alias of a model with its version."""

    def abandon_orphans(self, model: str) -> tuple[str, ...]:
        """Tag what crashes left half-done, where no run goes on; give the keys of those runs."""

    def read(self, model: str, version: str) -> RegisteredVersion | None:
        """Give what the registry knows of a version, or None where it is not there."""
