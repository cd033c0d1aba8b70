"""Ledger, aliases and release kept in line, again and again: what a person moves in MLflow is served within seconds."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from baton.core.errors import BatonError, DependencyDown
from baton.flows.challenge import project

if TYPE_CHECKING:
    from baton.compose import Platform

EVERY_SECONDS = 1.0
# Asked this often, a server that is down is not kept from getting up.
DOWN_SECONDS = 10.0

log = logging.getLogger(__name__)


def reconcile_for_good(platform: Platform, *, stop: threading.Event, every: float = EVERY_SECONDS) -> None:
    """Bring ledger and aliases together until told to stop; what fails is logged once and tried again."""
    said = ""
    while not stop.is_set():
        pause, now_said = every, ""
        try:
            done = project(platform, platform.spec)
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


def in_background(platform: Platform) -> threading.Event:
    """Reconcile in a thread of this process until the event that is given back is set."""
    stop = threading.Event()
    threading.Thread(
        target=reconcile_for_good, args=(platform,), kwargs={"stop": stop}, name="reconciler", daemon=True
    ).start()
    return stop
