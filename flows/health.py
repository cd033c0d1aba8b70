"""Whether an installation is in order: what agrees, what does not, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from baton.core.errors import BatonError

if TYPE_CHECKING:
    from baton.compose import Platform

OVERRIDE_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, and whether it is well."""

    what: str
    well: bool
    said: str


def findings(platform: Platform) -> tuple[Finding, ...]:
    """Look at everything; what cannot be looked at is a finding too."""
    looks: dict[str, Callable[[Platform], tuple[bool, str]]] = {
        "environment": _environment,
        "ledger": _ledger,
        "release": _release,
        "service": _service,
        "rollout": _rollout,
        "champion": _champion,
        "alias": _alias,
        "runs": _runs,
        "overrides": _overrides,
        "software": _software,
    }
    return tuple(_looked(what, look, platform) for what, look in looks.items())


def _looked(what: str, look: Callable[[Platform], tuple[bool, str]], platform: Platform) -> Finding:
    try:
        well, said = look(platform)
    except BatonError as error:
        well, said = False, str(error)
    return Finding(what=what, well=well, said=said)


def _environment(platform: Platform) -> tuple[bool, str]:
    """Name the environment; a ledger of another one refuses to be read, which says so."""
    owner = platform.ledger.environment
    claimed = "" if owner else ", and nobody has written to the ledger yet"
    return True, f"{platform.settings.environment}{claimed}"


def _ledger(platform: Platform) -> tuple[bool, str]:
    name = platform.spec.name
    flaw = platform.ledger.verify(name)
    if flaw is not None:
        return False, f"epoch {flaw.epoch}: {flaw.why}; restore it from a backup"
    return True, f"{len(platform.ledger.history(name))} entries, each with the hash before it"


def _release(platform: Platform) -> tuple[bool, str]:
    from baton.serving.release_file import read_release

    head, release = platform.ledger.head(platform.spec.name), read_release(platform.folder)
    if head is None:
        return release is None, "no champion yet" if release is None else "serving has a release and the ledger none"
    if release is None or release.epoch != head.epoch:
        return False, f"serving is at epoch {release.epoch if release else 0} of {head.epoch}; run baton reconcile"
    return True, f"version {release.version}, epoch {release.epoch}"


def _service(platform: Platform) -> tuple[bool, str]:
    """Ask what every serving process says of itself; none is running where nobody serves here."""
    from baton.serving.release_file import read_release
    from baton.serving.service_status import assessed, read_statuses

    now = datetime.now(timezone.utc)
    return assessed(read_release(platform.folder), read_statuses(platform.folder, now), now)


def _rollout(platform: Platform) -> tuple[bool, str]:
    """Say how far the rollout is; one that nobody follows any more is found by its step's time."""
    from baton.registry.rollout_store import RolloutStore

    rollout = RolloutStore(platform.folder).load()
    if rollout is None or rollout.over:
        return True, "none is under way" if rollout is None else f"the last one is over: {rollout.status.value}"
    step = f"version {rollout.challenger_version}, step {rollout.step + 1} of {len(rollout.plan)}"
    late = datetime.now(timezone.utc) - rollout.step_since > timedelta(hours=platform.spec.rollout.timeout_hours)
    return not late, f"{step}{'; nobody follows it, run baton rollout follow' if late else ''}"


def _champion(platform: Platform) -> tuple[bool, str]:
    from baton.packaging.reader import open_contents

    head = platform.ledger.head(platform.spec.name)
    if head is None:
        return True, "none yet; run baton ingest and baton train"
    open_contents(platform.bundles / head.digest)
    return True, f"bundle {head.digest[:12]} is whole"


def _software(_: Platform) -> tuple[bool, str]:
    """Hold what is locked, or else installed, against the oldest versions without holes that are known."""
    from baton.packaging.floors import FLOORS, below_floor, running_versions

    old = below_floor(running_versions())
    return not old, "; ".join(old) or f"{len(FLOORS)} packages have no version with a known hole"


def _alias(platform: Platform) -> tuple[bool, str]:
    head = platform.ledger.head(platform.spec.name)
    shown = platform.registry.aliases(platform.spec.name).get("champion")
    if shown == (head.version if head else None):
        return True, f"MLflow shows version {shown}" if shown else "MLflow shows none"
    wanted = f"version {head.version}" if head else "none"
    return False, f"MLflow shows version {shown or 'none'}, the ledger {wanted}; run baton reconcile"


def _runs(platform: Platform) -> tuple[bool, str]:
    """Show who is at work; a lease that ran out without being given back is a run that died."""
    held = [state for state in platform.ledger.leases.list() if not state.expired]
    at_work = ", ".join(f"{state.name} by {state.holder} for {state.seconds_left:.0f} s more" for state in held)
    return True, at_work or "none is at work; what a dead one left, the next takes over"


def _overrides(platform: Platform) -> tuple[bool, str]:
    from baton.registry.promotion import overrides

    since = datetime.now(timezone.utc) - timedelta(days=OVERRIDE_DAYS)
    found = overrides(platform.ledger, since)
    if not found:
        return True, f"none in {OVERRIDE_DAYS} days"
    told = "; ".join(f"epoch {entry.epoch} of {entry.model}: {entry.reason}" for entry in found)
    return False, f"{len(found)} in {OVERRIDE_DAYS} days: {told}"
