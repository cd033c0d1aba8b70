"""A thread gives way, and never takes back what a service was started with."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from baton.serving.give_way import NICENESS, give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")


def niceness_after(before):
    def work():
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, max(before, os.getpriority(os.PRIO_PROCESS, me)))
        give_way()
        return os.getpriority(os.PRIO_PROCESS, me)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def test_it_is_as_nice_as_asked_for():
    assert niceness_after(0) >= NICENESS


def test_one_that_is_nicer_already_stays_so():
    """Without the rights of root, less would be refused, and the service would not start."""
    assert niceness_after(19) == 19
