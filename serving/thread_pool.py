"""A pool of threads that goes on with those it has where the system lets no further one start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ThreadPool(ThreadPoolExecutor):
    """Starts a thread for each piece of work that finds none free, as long as it may.

    The standard pool raises where a thread cannot start, although the work has been queued: the caller loses it, and
    an existing thread does it all the same.
    """

    def __init__(self, most: int, on_shortage: Callable[[int], None]) -> None:
        """``on_shortage`` is told how many threads there are when one more could not be started."""
        super().__init__(max_workers=most)
        self._on_shortage = on_shortage

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            self._on_shortage(len(self._threads))
            if not self._threads:
                raise
