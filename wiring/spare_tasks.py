"""Waits until the machine lets the master start a worker with its threads, instead of failing in the middle of it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between two tries, each of which takes all tasks that are left for a moment, and of all tries together: the
#: master does nothing else meanwhile.
_TRY_AGAIN, _LONGEST = 1.0, 10.0


def can_start(count: int) -> bool:
    """Whether so many threads can be started at once; they end before this returns."""
    go = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=go.wait)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):
        return False
    finally:
        go.set()
        for thread in started:
            thread.join()
    return True


def wait_for_tasks(
    count: int,
    has_work: Callable[[], bool],
    *,
    can_start: Callable[[int], bool] = can_start,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until so many tasks can be started, ``has_work`` says that the master has to act on a signal, or 10 s."""
    if can_start(count):
        return
    log.error("the machine has no %d tasks left for another worker: waiting for them", count)
    for _ in range(int(_LONGEST / _TRY_AGAIN)):
        if has_work() or can_start(count):
            return
        sleep(_TRY_AGAIN)
