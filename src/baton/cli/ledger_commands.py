"""Commands that read and write the ledger; none needs MLflow, but for the alias."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from baton.cli import output
from baton.compose import Platform, platform
from baton.core.errors import NotPromotable, listed
from baton.core.ledger_entry import LedgerEntry
from baton.core.verdict import Verdict


def status(project: Path, *, home: Path | None, as_json: bool) -> None:
    """Show every champion there has been, newest last, and what is released."""
    baton = platform(project, home=home)
    history = baton.ledger.history(baton.spec.name)
    if as_json:
        output.machine({"model": baton.spec.name, "history": history})
        return
    if not history:
        output.line(f"{baton.spec.name} has no champion yet; run baton ingest and baton train")
        return
    rows = [[e.epoch, e.version, e.digest[:12], f"{e.at:%Y-%m-%d %H:%M}", e.actor, e.reason] for e in history]
    output.table(f"champions of {baton.spec.name}", ["epoch", "version", "bundle", "at", "by", "why"], rows)


def why(version: str | None, project: Path, *, home: Path | None, as_json: bool) -> None:
    """Show the verdict on a version, check by check."""
    baton = platform(project, home=home)
    verdict = _verdict_on(baton, version)
    if as_json:
        output.machine(verdict)
        return
    from baton.registry.verdict_text import verdict_line, verdict_rows

    output.line(verdict_line(verdict))
    columns, rows = verdict_rows(verdict)
    output.table(f"{verdict.rows:,} rows in {verdict.blocks} blocks, {verdict.metric}", columns, rows)


def promote(version: str, project: Path, *, home: Path | None, reason: str, dry_run: bool) -> None:
    """Make a judged version the champion."""
    from baton.flows import challenge

    baton = platform(project, home=home)
    verdict = _verdict_on(baton, version)
    if not verdict.promotes:
        raise NotPromotable(
            what=f"version {version} is not promotable",
            why=f"its verdict is {verdict.decision.value}: {verdict.reason}",
            fix=f"see baton why {version}",
        )
    if dry_run:
        head = baton.ledger.head(baton.spec.name)
        output.line(f"would promote version {version} over epoch {head.epoch if head else 0}: {verdict.decision.value}")
        return
    entry = challenge.settle(
        baton, baton.spec, verdict, version=version, reason=reason, now=datetime.now(timezone.utc), actor="person"
    )
    _say(entry)


def rollback(project: Path, *, home: Path | None, epoch: int | None, reason: str, dry_run: bool) -> None:
    """Put an earlier champion back, as a new ledger entry."""
    from baton.flows import challenge
    from baton.registry.promotion import previous_champion
    from baton.registry.promotion import rollback as roll_back

    baton = platform(project, home=home)
    if dry_run:
        before = previous_champion(baton.ledger.history(baton.spec.name))
        target = f"epoch {epoch}" if epoch else f"version {before.version}" if before else "nothing"
        output.line(f"would roll {baton.spec.name} back to {target}")
        return
    now = datetime.now(timezone.utc)
    entry = roll_back(baton.ledger, baton.spec.name, to_epoch=epoch, actor="person", reason=reason, now=now)
    challenge.project(baton, baton.spec)
    _say(entry)


def reconcile(project: Path, *, home: Path | None, dry_run: bool) -> None:
    """Bring alias and release pointer in line with the ledger."""
    from baton.flows import challenge

    baton = platform(project, home=home)
    head = baton.ledger.head(baton.spec.name)
    if head is None:
        output.line(f"{baton.spec.name} has no champion yet; nothing to reconcile")
        return
    if dry_run:
        output.line(f"would point champion and release at version {head.version}, epoch {head.epoch}")
        return
    challenge.project(baton, baton.spec)
    output.line(f"champion and release are version {head.version}, epoch {head.epoch}")


def _verdict_on(baton: Platform, version: str | None) -> Verdict:
    from baton.flows.run_record import records

    head = baton.ledger.head(baton.spec.name)
    if version is None and head is not None:
        version = head.version
    found = {record.version: record.verdict for record in records(baton)}
    if version is None or version not in found:
        raise NotPromotable(
            what="there is no champion" if version is None else f"there is no verdict on version {version}",
            why=f"the versions with a verdict are {listed(found)}" if found else "nothing was judged yet",
            fix="name one of them" if found else "train a challenger with baton train",
        )
    return found[version]


def _say(entry: LedgerEntry | None) -> None:
    if entry is not None:
        output.line(f"{entry.model}: version {entry.version} is champion, epoch {entry.epoch}")
