"""A ledger in memory, with the manners of the real one."""

from __future__ import annotations

from collections import defaultdict

from baton.core.errors import Conflict
from baton.core.ledger_entry import LedgerEntry
from baton.core.verdict import Verdict


class MemoryLedger:
    """A ledger that lasts as long as the process."""

    def __init__(self) -> None:
        self._entries: dict[str, list[LedgerEntry]] = defaultdict(list)
        self._verdicts: dict[str, Verdict] = {}

    def head(self, model: str) -> LedgerEntry | None:
        """Give the newest entry, or None where nothing was ever promoted."""
        return self._entries[model][-1] if self._entries[model] else None

    def append(self, entry: LedgerEntry) -> None:
        """Add the entry of the next epoch; raises `Conflict` where that epoch is not next."""
        head = len(self._entries[entry.model])
        if entry.epoch != head + 1:
            raise Conflict(
                what=f"epoch {entry.epoch} of {entry.model} cannot be written",
                why=f"the ledger stands at epoch {head}",
                fix="judge again against the new champion",
            )
        self._entries[entry.model].append(entry)

    def history(self, model: str) -> tuple[LedgerEntry, ...]:
        """Give every entry, oldest first."""
        return tuple(self._entries[model])

    def store_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict under its id."""
        self._verdicts[verdict.id] = verdict

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Give the verdict of an id, or None."""
        return self._verdicts.get(verdict_id)
