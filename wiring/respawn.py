"""Makes the master wait before it forks again where workers die in a row, soon after their start."""

from __future__ import annotations

import logging
import queue
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds before the second worker that follows one which died early; each further death doubles them.
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0
#: A worker that has lived for so many seconds did not die of its start.
EARLY = 10.0

_POLL = 0.05
_HARMLESS = {signal.SIGCHLD}


#: How much sooner than the master a worker is ended where memory runs out, in thousandths of the memory there is.
_SOONER = 100


def go_before_the_master(file: Path = Path("/proc/self/oom_score_adj")) -> None:
    """Let the kernel end this worker rather than the master where memory runs out: a worker can be replaced."""
    with suppress(OSError, ValueError):
        file.write_text(str(min(1000, int(file.read_text()) + _SOONER)))


class Respawn:
    """Counts early deaths of workers and tells how long the next fork has to wait. Main thread of the master."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._born: dict[int, float] = {}
        self._early_deaths = 0
        self._has_waited = False

    @property
    def delay(self) -> float:
        """Seconds to wait before the next fork: none for the first early death; one wait serves all forks."""
        if self._early_deaths < 2 or self._has_waited:
            return 0.0
        return float(min(FIRST_DELAY * 2 ** (self._early_deaths - 2), LONGEST_DELAY))

    def born(self, age: int) -> None:
        """Note the fork of a worker, by gunicorn's number of it."""
        self._born[age] = self._clock()

    def died(self, age: int, *, wanted: bool) -> None:
        """Note the end of a worker; ``wanted``: the master asked for it, as it does at a reload."""
        lived = self._clock() - self._born.pop(age, self._clock())
        if wanted:
            return
        self._early_deaths = self._early_deaths + 1 if lived < EARLY else 0
        self._has_waited = False

    def wait(self, signals: queue.SimpleQueue[int]) -> None:
        """Wait as long as `delay` says, or until ``signals``, gunicorn's, holds one that the master has to act on."""
        delay = self.delay
        if not delay:
            return
        self._has_waited = True
        log.error("%d workers in a row died soon after their start: the next one in %.1f s", self._early_deaths, delay)
        end = self._clock() + delay
        while self._clock() < end and not has_work(signals):
            self._sleep(_POLL)


def has_work(signals: queue.SimpleQueue[int]) -> bool:
    """Look whether a signal waits for the master other than the end of a child; all of them stay in the queue."""
    waiting = []
    try:
        while True:
            waiting.append(signals.get_nowait())
    except queue.Empty:
        pass
    for number in waiting:
        signals.put(number)
    return bool(set(waiting) - _HARMLESS)
