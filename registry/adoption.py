"""What a person moved the champion alias to: a ledger entry, or back with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from baton.core.errors import BatonError, IntegrityBroken
from baton.core.ledger_entry import EntryKind, LedgerEntry
from baton.core.ports import Ledger
from baton.core.registered_version import RegisteredVersion
from baton.core.verdict import Verdict
from baton.registry.mlflow_words import one_line
from baton.registry.promotion import objections, overridden, restored

# The registry does not say who moved an alias.
ACTOR = "mlflow-ui"
OVERRIDE_TAG = "baton.override"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """The entry that makes it so."""

    entry: LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """Why it is not made so, for the person, in one line."""

    reason: str


def assess(
    known: RegisteredVersion,
    ledger: Ledger,
    head: LedgerEntry | None,
    *,
    usable: Callable[[str], object],
    now: datetime,
    policy: Literal["adopt", "enforce"],
) -> Adopt | PutBack:
    """Judge a version that a person made champion in the registry.

    It was champion before: a rollback. Its verdict promotes it over the
    present champion: an adoption. Its tag `baton.override` gives a reason: an
    override, which sets aside the verdict but never the bundle.

    Tags only claim. The verdict is the ledger's own, by its digest; the bundle
    is the one that the verdict judged, and is opened and verified.
    """
    if policy == "enforce":
        return PutBack(reason="here only baton promote and baton rollback change the champion (policy enforce)")
    before = ledger.find(known.model, version=known.version)
    if before is not None and head is not None:
        reason = f"moved back to version {known.version} in MLflow"
        return _if_usable(restored(before, head, actor=ACTOR, reason=reason, now=now), usable)
    try:
        verdict = ledger.verdict(known.verdict_id) if known.verdict_id else None
    except IntegrityBroken as error:
        return PutBack(reason=str(error))
    digest = verdict.challenger if verdict else known.bundle
    against = tuple(_against(known, verdict, ledger, head))
    override = one_line(known.tags.get(OVERRIDE_TAG, ""))
    if digest is None or (against and not override):
        return PutBack(reason="; ".join(against) + _way_out(known))
    stands = head.epoch if head else 0
    entry = LedgerEntry(
        model=known.model,
        epoch=stands + 1,
        version=known.version,
        digest=digest,
        previous_epoch=stands,
        verdict_id=known.verdict_id if verdict and known.verdict_id else "",
        actor=ACTOR,
        reason=overridden(override, against) if against else f"moved to version {known.version} in MLflow",
        at=now,
        kind=EntryKind.OVERRIDE if against else EntryKind.ADOPTION,
    )
    return _if_usable(entry, usable)


def _against(known: RegisteredVersion, verdict: Verdict | None, ledger: Ledger, head: LedgerEntry | None) -> list[str]:
    if verdict is None:
        return [f"the ledger holds no verdict on version {known.version}"]
    if verdict.model != known.model:
        return [f"its verdict is on {verdict.model}"]
    digest = known.bundle or verdict.challenger
    found = list(objections(ledger, verdict, digest=digest, head=head))
    champion = ledger.find(known.model, digest=verdict.challenger)
    if champion is not None and champion.version != known.version:
        found.append(f"its verdict is on the bundle of version {champion.version}")
    return found


def _way_out(known: RegisteredVersion) -> str:
    if OVERRIDE_TAG in known.tags:
        return f"; the tag {OVERRIDE_TAG} needs a reason, and a bundle to serve"
    return f"; judge it again, or give the reason in the tag {OVERRIDE_TAG} and move the alias again"


def _if_usable(entry: LedgerEntry, usable: Callable[[str], object]) -> Adopt | PutBack:
    try:
        usable(entry.digest)
    except (BatonError, OSError) as error:
        return PutBack(reason=f"its bundle cannot be served: {error}")
    return Adopt(entry=entry)
