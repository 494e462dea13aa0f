"""A share of the upstream's calls that extra work may take: what everybody does earns it, what is extra spends it."""

from __future__ import annotations

import threading


class Budget:
    """A token bucket filled by ordinary calls instead of by time.

    Extra calls stay below ``share`` times the ordinary ones, but for ``floor`` tokens that are there at the start, so
    that a service with little traffic is not denied its first. After Finagle's and gRPC's retry budgets.
    """

    def __init__(self, share: float, floor: float) -> None:
        """``share``: extra calls earned by each ordinary one; ``floor``: also the most that can be saved up."""
        self._share = share
        self._most = floor
        self._tokens = floor
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count an ordinary call."""
        # Without the lock: a lost addition makes the budget smaller by one share, never larger.
        if self._tokens < self._most:
            with self._lock:
                self._tokens = min(self._tokens + self._share, self._most)

    def spend(self) -> bool:
        """Take one token, if there is one."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True
