"""One change of champion, as the ledger remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EntryKind(StrEnum):
    """How a champion came to be champion.

    A promotion rests on a verdict; an adoption is one that a person made in
    the registry; a rollback repeats an older champion; an override sets the
    gate aside, with a reason.
    """

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    ADOPTION = "adoption"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The champion of one epoch: which version, which bundle, by whom, on what verdict.

    `digest` is the bundle's, `version` the registry's, `previous_epoch` the
    one whose champion was judged against (0 for the first). `verdict_id` is
    empty where an override skipped a judgement that never was.
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
    kind: EntryKind = EntryKind.PROMOTION
