"""A registered version judged again: against another champion than the first time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from baton.core.errors import IntegrityBroken, NotPromotable, listed
from baton.flows import challenge, trained
from baton.flows.run_record import Record, records, remember, run_key

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.verdict import Verdict


def rejudge(platform: Platform, version: str, *, keep: bool) -> Verdict:
    """Judge a version's models on their own holdout against the present champion.

    The present champion must not have learnt from that holdout: where it has,
    the verdict says so and holds the version back.

    Args:
        platform: The project.
        version: A registered version.
        keep: Whether the verdict replaces the version's.

    Raises:
        NotPromotable: The version was never trained here, or it is the champion.
        IntegrityBroken: What was trained is gone or changed.
    """
    record = _record(platform, version)
    head = platform.ledger.head(platform.spec.name)
    if head is not None and head.digest == record.digest:
        raise NotPromotable(
            what=f"version {version} is the champion", why="it cannot beat itself", fix="judge another version"
        )
    snapshot = challenge.freeze(platform, as_of=record.as_of)
    if run_key(platform.spec, snapshot, as_of=record.as_of) != record.key:
        raise IntegrityBroken(
            what=f"version {version} cannot be judged again",
            why="data, code or model.yaml are not those that it was trained with",
            fix="train a new challenger with baton train",
        )
    challenger = trained.train(platform, platform.spec, snapshot, key=record.key, as_of=record.as_of)
    if challenger.bundle.digest != record.digest:
        raise IntegrityBroken(
            what=f"version {version} cannot be judged again",
            why=f"its model is gone, and training it anew gave the bundle {challenger.bundle.digest[:12]}, another one",
            fix="run baton check trainer, which names the step that differs, or train a new challenger",
        )
    verdict = challenge.judge(
        platform, platform.spec, challenger, as_of=record.as_of, now=datetime.now(timezone.utc)
    ).verdict
    if keep:
        platform.ledger.store_verdict(verdict)
        remember(platform, replace(record, verdict=verdict))
        platform.registry.tag(platform.spec.name, version, challenge.verdict_tags(verdict))
    return verdict


def _record(platform: Platform, version: str) -> Record:
    found = {record.version: record for record in records(platform)}
    if version not in found:
        raise NotPromotable(
            what=f"version {version} cannot be judged",
            why=f"the versions that were trained here are {listed(found)}" if found else "nothing was trained here",
            fix="name one of them" if found else "train a challenger with baton train",
        )
    return found[version]
