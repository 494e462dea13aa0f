"""So many requests at once, and the others wait for a place in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from batching.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.clock import Clock

#: Seconds between two looks at whether a request is still to wait.
LOOK_PERIOD = 0.25


class Places:
    """Gives each request a place, and takes it back. Thread-safe."""

    def __init__(self, count: int, clock: Clock) -> None:
        self._clock = clock
        # Guards the two that follow; held for a moment.
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Event] = deque()

    def __repr__(self) -> str:
        return f"<Places: {self._free} free, {len(self._waiting)} requests wait>"

    def take(self, deadline: float, look: Callable[[], None]) -> None:
        """Wait for a place; raises ``DeadlineExceeded`` at the moment ``deadline``.

        ``look`` is called now and then; it raises a ``ProxyError`` if the request is not to wait any more.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            self._wait(mine, deadline, look)
        except BaseException:
            self._leave(mine)
            raise

    def give_back(self) -> None:
        """Let the next request have the place."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

    def _wait(self, mine: threading.Event, deadline: float, look: Callable[[], None]) -> None:
        while not self._clock.wait_for(mine, min(LOOK_PERIOD, max(0.0, deadline - self._clock.now()))):
            look()
            if self._clock.now() >= deadline:
                raise DeadlineExceeded("as many requests of this kind as may be were under way until the deadline")

    def _leave(self, mine: threading.Event) -> None:
        """Wait no more. A place that has come at the same moment goes to the next."""
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
                return
        self.give_back()
