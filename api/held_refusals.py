"""Holds back answers with status 503 for a moment: some clients repeat them at once, without a pause and for ever."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a request is answered 503 at the soonest.
SOONEST = 0.1
#: Answers that are held back at once: each keeps a thread from other work.
MOST_HELD = 64


class HeldRefusals:
    """Lets the calling thread wait before it answers 503, unless many do already. Any thread."""

    def __init__(self, *, most: int = MOST_HELD, sleep: Callable[[float], None] = time.sleep) -> None:
        self._places = threading.Semaphore(most)
        self._sleep = sleep

    def hold(self, seconds: float) -> None:
        """Wait so many seconds, if a place is free; do nothing for 0 or less."""
        if seconds > 0 and self._places.acquire(blocking=False):
            try:
                self._sleep(seconds)
            finally:
                self._places.release()
