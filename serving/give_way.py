"""Threads that have no claim to the core while answers want it."""

from __future__ import annotations

import os
import sys
import threading

# Where both want a core, answers get nine tenths of it.
NICENESS = 10


def give_way() -> None:
    """Let the calling thread have a core when nobody else wants it; only Linux has a niceness for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # A service that was started nicer still stays so: only root may take that back.
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
