"""Time as a collaborator, so that everything which waits can be tested without waiting."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

#: Never by itself: something else has to happen first.
NEVER = math.inf
#: At once: a moment that has always passed.
NOW = -math.inf


class Clock(Protocol):
    """What the engine knows about time. All figures are seconds; ``now`` never goes backwards."""

    def now(self) -> float:
        """Return the present moment."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on a condition that the caller holds; return when notified or after ``timeout``."""
        ...

    def wait_for(self, event: threading.Event, timeout: float) -> bool:
        """Wait until ``event`` is set, at most ``timeout``; return whether it is set."""
        ...


class SystemClock:
    """The machine's monotonic clock: wall-clock jumps do not reach it."""

    now = staticmethod(time.monotonic)

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        condition.wait(timeout)

    def wait_for(self, event: threading.Event, timeout: float) -> bool:
        return event.wait(timeout)
