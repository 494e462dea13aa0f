"""What a worker does while the system lets no further thread start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.attendant import Attendant
    from serving.intake import Intake

#: Requests that are taken in for each thread: while one is served, another waits.
TURNS = 2

#: Seconds after which it is tried again whether the system lets threads start.
SHORTAGE = 10.0


class Shortage:
    """Lets no more requests in than the threads that there are can serve soon, and none of these wait for a client.

    Otherwise many would wait in the pool, where neither admission nor deadlines see them. Main thread.
    """

    def __init__(
        self,
        intake: Intake,
        attendant: Attendant,
        log: Any,
        *,
        threads: int,
        idle_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``log``: gunicorn's logger. ``threads``: the most that the worker has when there are enough.

        ``idle_limit``: those of them that may wait for the next request of their clients then.
        """
        #: The most threads that the worker can have now.
        self.threads = threads
        self._intake = intake
        self._attendant = attendant
        self._log = log
        self._enough = threads
        self._idle_limit = idle_limit
        self._most_requests = intake.most_requests
        self._clock = clock
        self._until: float | None = None
        self._was_told = False

    def begin(self, threads: int) -> None:
        """Note that no thread could be started beside the ``threads`` that there are."""
        if not self._was_told:
            self._was_told = True
            self._log.error(
                "the system lets no further thread start: requests wait for the %d of this worker, and more are "
                "refused with 429; raise the limit on tasks (ulimit -u, pids.max), or lower max_concurrent_requests",
                threads,
            )
        self._until = self._clock() + SHORTAGE
        self.threads = threads
        self._intake.most_requests = max(1, TURNS * threads)
        self._attendant.release(0)

    def end_if_over(self) -> None:
        """Take as many requests in as ever once a while has passed: the next one shows whether threads start."""
        if self._until is not None and self._clock() >= self._until:
            self._until = None
            self.threads = self._enough
            self._intake.most_requests = self._most_requests
            self._attendant.release(self._idle_limit)
