"""Ledger, aliases and release kept in line, again and again, and a rollout followed.

What a person moves in MLflow is served within seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from baton.core.errors import BatonError, DependencyDown
from baton.flows.challenge import project
from baton.flows.rolling_out import tick
from baton.registry.projection import alive

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.lease import Lease

EVERY_SECONDS = 1.0
# Asked this often, a server that is down is not kept from getting up.
DOWN_SECONDS = 10.0
# A look at a rollout reads counts and labels; each may decide.
LOOK_SECONDS = 10.0
# What a crash left half-done in MLflow is looked for this often; nobody waits for it.
TIDY_SECONDS = 600.0
# Names of the leases of retrainings, each followed by its trigger.
RETRAINING = "{model}/retrain/"

log = logging.getLogger(__name__)


def reconcile_for_good(platform: Platform, *, stop: threading.Event, every: float = EVERY_SECONDS) -> None:
    """Bring ledger and aliases together until told to stop; what fails is logged once and tried again."""
    said, tidied, looked = "", float("-inf"), float("-inf")
    while not stop.is_set():
        pause, now_said = every, ""
        try:
            done = project(platform, platform.spec)
            if time.monotonic() - looked >= LOOK_SECONDS:
                # After the ledger: whoever became champion meanwhile ends the rollout.
                looked = time.monotonic()
                tick(platform, now=datetime.now(timezone.utc))
            if time.monotonic() - tidied > TIDY_SECONDS:
                abandon_orphans(platform)
                tidied = time.monotonic()
        except DependencyDown as error:
            pause, now_said = DOWN_SECONDS, str(error)
        except BatonError as error:
            now_said = str(error)
        else:
            if done.adopted is not None:
                log.warning("champion_adopted version=%s epoch=%s", done.adopted.version, done.adopted.epoch)
            # An alarm that lasts is told once.
            now_said = "; ".join((*done.alarms, done.reason)) if done.alarms else ""
        if now_said and now_said != said:
            log.warning("reconcile %s", now_said)
        said = now_said
        stop.wait(pause)


def abandon_orphans(platform: Platform, *, but: Lease | None = None) -> tuple[str, ...]:
    """Tag the runs that a crash left half-logged in MLflow as abandoned, and give their keys.

    Only a retraining logs runs, and only while it holds a lease. So nothing is
    tagged while one is held by anybody who may be alive; the next look finds
    it. A run that was paused all the while sets its tags right when it ends.

    Args:
        platform: The project.
        but: The caller's own lease, under which nothing was logged yet.
    """
    ours = RETRAINING.format(model=platform.spec.name)
    for state in platform.ledger.leases.list():
        own = but is not None and (state.name, state.token) == (but.name, but.token)
        if state.name.startswith(ours) and not own and not state.expired and alive(state.holder) is not False:
            return ()
    found = platform.registry.abandon_orphans(platform.spec.name)
    if found:
        log.warning("runs_abandoned keys=%s", ",".join(key[:12] for key in found))
    return found


def in_background(platform: Platform) -> threading.Event:
    """Reconcile in a thread of this process until the event that is given back is set."""
    stop = threading.Event()
    threading.Thread(
        target=reconcile_for_good, args=(platform,), kwargs={"stop": stop}, name="reconciler", daemon=True
    ).start()
    return stop
