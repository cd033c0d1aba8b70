"""Commands that read and write the ledger; none needs MLflow, but for the alias."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from baton.cli import output
from baton.compose import Platform, platform
from baton.core.errors import IntegrityBroken, NotPromotable, listed
from baton.core.verdict import Verdict

if TYPE_CHECKING:
    from baton.registry.ledger_audit import Anchor


def status(project: Path, *, home: Path | None, at: datetime | None, as_json: bool) -> None:
    """Show every champion there has been, newest last, or the one of a moment."""
    baton = platform(project, home=home)
    name = baton.spec.name
    history = baton.ledger.history(name)
    if at is not None:
        champion = baton.ledger.champion_at(name, at)
        history = (champion,) if champion else ()
    if as_json:
        facts = {"model": name, "environment": baton.settings.environment, "history": history}
        output.machine(facts if at is not None else facts | {"service": said_by_service(baton)})
        return
    if not history:
        then = f" at {at:%Y-%m-%d %H:%M} UTC" if at else " yet; run baton ingest and baton train"
        output.line(f"{_where(baton)} has no champion{then}")
        return
    rows = [[e.epoch, e.version, e.digest[:12], f"{e.at:%Y-%m-%d %H:%M}", e.kind, e.actor, e.reason] for e in history]
    title = f"champion of {_where(baton)} at {at:%Y-%m-%d %H:%M} UTC" if at else f"champions of {_where(baton)}"
    output.table(title, ["epoch", "version", "bundle", "at", "kind", "by", "why"], rows)
    if at is None:
        output.line(f"service: {said_by_service(baton)['said']}")


def overrides(project: Path, *, home: Path | None, days: int, as_json: bool) -> None:
    """List the promotions that set the gate aside."""
    from baton.registry.promotion import overrides as found_since

    baton = platform(project, home=home)
    found = found_since(baton.ledger, datetime.now(timezone.utc) - timedelta(days=days))
    if as_json:
        output.machine(found)
        return
    if not found:
        output.line(f"no promotion has set the gate aside in the last {days} days")
        return
    rows = [[e.model, e.epoch, e.version, f"{e.at:%Y-%m-%d %H:%M}", e.actor, e.reason] for e in found]
    output.table(f"overrides of the last {days} days", ["model", "epoch", "version", "at", "by", "why"], rows)


def audit_verify(project: Path, *, home: Path | None, as_json: bool) -> None:
    """Follow the chain of hashes; an entry that does not fit is an integrity error that names it."""
    baton = platform(project, home=home)
    name = baton.spec.name
    flaw = baton.ledger.verify(name, anchor=served(baton))
    if flaw is not None:
        raise IntegrityBroken(
            what=f"the ledger of {name} is broken at epoch {flaw.epoch}",
            why=flaw.why,
            fix="restore it from a backup, and look who could write there",
        )
    entries = len(baton.ledger.history(name))
    if as_json:
        output.machine({"model": name, "entries": entries, "flaw": None})
        return
    output.line(f"the ledger of {name} is whole: {entries} entries, each with its verdict and the hash before it")


def served(baton: Platform) -> Anchor | None:
    """Give what the release pointer knows of the ledger's end, so that a ledger cut short shows."""
    from baton.registry.ledger_audit import Anchor
    from baton.serving.release_file import read_release

    found = read_release(baton.folder)
    return Anchor(epoch=found.epoch) if found else None


def said_by_service(baton: Platform) -> dict[str, object]:
    """Give what the serving processes say of themselves, and whether that is the release in force."""
    from baton.serving.release_file import read_release
    from baton.serving.service_status import assessed, read_statuses

    now = datetime.now(timezone.utc)
    processes = read_statuses(baton.folder, now)
    well, said = assessed(read_release(baton.folder), processes, now)
    return {"well": well, "said": said, "processes": processes}


def promote(
    version: str, project: Path, *, home: Path | None, reason: str, override: str | None, dry_run: bool
) -> None:
    """Make a judged version the champion."""
    from baton.flows import challenge
    from baton.registry.promotion import objections

    baton = platform(project, home=home)
    verdict = verdict_on(baton, version)
    head = baton.ledger.head(baton.spec.name)
    against = list(objections(baton.ledger, verdict, digest=verdict.challenger, head=head))
    if against and override is None:
        raise NotPromotable(
            what=f"version {version} is not promotable",
            why="; ".join(against),
            fix=f"see baton why {version}, or judge it again with baton judge {version}",
        )
    skips = f", setting aside that {'; '.join(against)}" if against else ""
    if dry_run:
        output.line(f"{_where(baton)}: would promote version {version} over epoch {head.epoch if head else 0}{skips}")
        return
    entry = challenge.settle(
        baton,
        baton.spec,
        verdict,
        version=version,
        reason=reason,
        now=datetime.now(timezone.utc),
        actor="person",
        override=override if against else None,
    )
    if entry is not None:
        output.line(f"{_where(baton)}: version {entry.version} is champion, epoch {entry.epoch}{skips}")


def rollback(project: Path, *, home: Path | None, epoch: int | None, reason: str, dry_run: bool) -> None:
    """Put an earlier champion back, as a new ledger entry."""
    from baton.flows import challenge
    from baton.packaging.reader import open_contents
    from baton.registry.promotion import champion_before
    from baton.registry.promotion import rollback as roll_back

    baton = platform(project, home=home)
    if dry_run:
        before = champion_before(baton.ledger, baton.spec.name)
        target = f"epoch {epoch}" if epoch else f"version {before.version}" if before else "nothing"
        output.line(f"{_where(baton)}: would roll back to {target}")
        return
    now = datetime.now(timezone.utc)
    entry = roll_back(
        baton.ledger,
        baton.spec.name,
        to_epoch=epoch,
        actor="person",
        reason=reason,
        now=now,
        usable=lambda digest: open_contents(baton.bundles / digest),
    )
    challenge.project(baton, baton.spec)
    output.line(f"{_where(baton)}: version {entry.version} is champion, epoch {entry.epoch}")


def reconcile(project: Path, *, home: Path | None, dry_run: bool) -> None:
    """Bring alias, ledger and release pointer in line."""
    from baton.flows import challenge

    baton = platform(project, home=home)
    done = challenge.foresee(baton, baton.spec) if dry_run else challenge.project(baton, baton.spec)
    would = "would be " if dry_run else ""
    if done.adopted is not None:
        output.line(f"version {done.adopted.version} {would}adopted as epoch {done.adopted.epoch}: {done.reason}")
    if done.put_back is not None:
        output.line(f"version {done.put_back} {would}put back: {done.reason}")
    for alias, version in done.moved.items():
        output.line(f"alias {alias} {would}pointed at version {version}")
    for alarm in done.alarms:
        output.line(f"alarm: {alarm.replace('_', ' ')}: {done.reason}")
    head = baton.ledger.head(baton.spec.name)
    if head is None:
        output.line(f"{_where(baton)} has no champion yet")
    elif done.adopted is None:
        output.line(f"{_where(baton)}: champion is version {head.version}, epoch {head.epoch}")


def verdict_on(baton: Platform, version: str | None) -> Verdict:
    """Give the newest verdict on a version, or on the champion.

    Raises:
        NotPromotable: There is none; the versions that have one are listed.
    """
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


def _where(baton: Platform) -> str:
    """Name the model with its environment, so that nobody takes one shell for another."""
    return f"{baton.spec.name} ({baton.settings.environment})"
