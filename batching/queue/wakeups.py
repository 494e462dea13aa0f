"""Which idle batcher thread sleeps until when, and which one is woken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batching.clock import NEVER

if TYPE_CHECKING:
    from batching.clock import Clock


class _IdleThread:
    """A batcher thread that waits for work, and the moment it will wake by itself."""

    __slots__ = ("condition", "due")

    def __init__(self, lock: threading.RLock, due: float) -> None:
        self.condition = threading.Condition(lock)
        self.due = due


class IdleThreads:
    """The batcher threads that wait for work. Used with the queue's lock held.

    One of them keeps the time: it wakes by itself when the next batch is due, and the others sleep until they are
    woken. A change of the queue wakes one thread only if none would wake in time by itself: 32 arrivals wake one
    thread once, not 32 times.
    """

    def __init__(self, lock: threading.RLock, clock: Clock) -> None:
        self._lock = lock
        self._clock = clock
        self._threads: list[_IdleThread] = []
        #: When the first idle thread wakes by itself; ``NEVER`` while none keeps the time.
        self._armed = NEVER
        self._next_look = NEVER

    def __repr__(self) -> str:
        return f"<IdleThreads {len(self._threads)}, the first looks at {self._armed:.3f}>"

    def __len__(self) -> int:
        return len(self._threads)

    def look_again_at(self, moment: float) -> None:
        """Let the next thread that waits look again at ``moment``, though no batch may be due by then.

        After a batch the clients return one by one, and each arrival makes the next batch due somewhat sooner. The
        look replaces one wake-up for each of them.
        """
        self._next_look = moment

    def wait(self, due: float, now: float) -> None:
        """Release the lock and sleep until woken, or until ``due`` unless another idle thread keeps that time."""
        look, self._next_look = self._next_look, NEVER
        if look > now:
            due = min(due, look)
        thread = _IdleThread(self._lock, due if due < self._armed else NEVER)
        self._armed = min(self._armed, due)
        self._threads.append(thread)
        try:
            self._clock.wait(thread.condition, None if thread.due == NEVER else thread.due - now)
        finally:  # a thread that dies here must not be the one that is woken
            if thread in self._threads:
                self._threads.remove(thread)
            self._armed = min((other.due for other in self._threads), default=NEVER)

    def alert(self, due: float) -> None:
        """See to it that an idle thread looks by ``due``; busy threads look when they come back."""
        if due < self._armed and self._threads:
            self._threads.pop().condition.notify()
            self._armed = due

    def release_all(self) -> None:
        """Wake every idle thread."""
        for thread in self._threads:
            thread.condition.notify()
        self._threads.clear()
        self._armed = NEVER
