"""What a verdict leads to in a retraining: champion at once, or traffic first, as `rollout.mode` of model.yaml says."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from baton.core.errors import Conflict
from baton.flows import challenge, rolling_out
from baton.registry.rollout_store import RolloutStore

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.lease import Lease
    from baton.core.ledger_entry import LedgerEntry
    from baton.core.spec import ModelSpec
    from baton.core.verdict import Verdict
    from baton.registry.rollout_plan import Rollout

STRAIGHT = "champion"

log = logging.getLogger(__name__)


def carry_out(
    platform: Platform,
    spec: ModelSpec,
    verdict: Verdict,
    *,
    version: str,
    reason: str,
    now: datetime,
    lease: Lease | None = None,
) -> LedgerEntry | None:
    """Promote on a verdict of PROMOTE, or begin its rollout; the entry where there is a new champion already.

    A first champion has nobody to be compared with in traffic, so it is
    promoted straight. A challenger that comes while another is rolled out
    stays registered, with its verdict, for `baton rollout start`.

    Raises:
        Conflict: The champion that was judged against is no longer champion.
    """
    if spec.rollout.mode == STRAIGHT or verdict.champion is None or not verdict.promotes:
        return challenge.settle(platform, spec, verdict, version=version, reason=reason, now=now, lease=lease)
    head = platform.ledger.head(verdict.model)
    if head is None or head.epoch != verdict.epoch:
        raise Conflict(
            what=f"version {version} is not rolled out",
            why=f"it was judged against epoch {verdict.epoch}, and the ledger has moved on",
            fix="judge it again with baton judge",
        )
    if lease is not None:
        platform.ledger.leases.check(lease)
    running = under_way(platform)
    if running is None:
        # Traffic is of this moment, whatever moment the challenger was trained as of.
        moment = datetime.now(timezone.utc)
        rolling_out.start(
            platform, verdict, version=version, reason=reason, actor="baton", now=moment, policy=spec.rollout
        )
    elif running.challenger != verdict.challenger:
        log.warning("rollout_waits version=%s until=%s", version, running.id)
    return None


def under_way(platform: Platform) -> Rollout | None:
    """Give the rollout that is not over, or None."""
    newest = RolloutStore(platform.folder).load()
    return newest if newest is not None and not newest.over else None
