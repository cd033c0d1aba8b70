"""One promotion or rollback, as the ledger remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The champion of one epoch: which version, which bundle, by whom, on what verdict.

    `digest` is the bundle's, `version` the registry's, `previous_epoch` the
    one whose champion was judged against (0 for the first).
    """

    model: str
    epoch: int
    version: str
    digest: str
    previous_epoch: int
    verdict_id: str
    actor: str
    reason: str
    at: datetime
