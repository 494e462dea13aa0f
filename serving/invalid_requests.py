"""Tells the log of requests that were refused as malformed, so that a client that sends many does not fill it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from api.error_forms import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

#: Lines in each period, and its seconds.
MOST_LINES, PERIOD = 20, 60.0


class InvalidRequests:
    """Writes a line for each of the first ``MOST_LINES`` of a period, and counts the others. Any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._count = 0

    def tell(self, log: Any, address: object, problem: Exception) -> None:
        """Note a request from this address, and tell ``log`` of it if it is one of the first.

        What is told of the client's bytes is made harmless to a terminal.
        """
        now = self._clock()
        untold = 0
        with self._lock:
            if now - self._began >= PERIOD:
                untold, self._began, self._count = max(0, self._count - MOST_LINES), now, 0
            self._count += 1
            is_told = self._count <= MOST_LINES
        if untold:
            log.warning("%d more requests were invalid before", untold)
        if is_told:
            log.warning("Invalid request from ip=%s: %s", address, plain_text(str(problem)))
