"""A share of the upstream's calls that extra calls may take: ordinary calls earn it, extra calls spend it."""

from __future__ import annotations

import threading


class Budget:
    """A token bucket filled by ordinary calls instead of by time. Thread-safe.

    Extra calls stay below ``share`` times the ordinary ones, but for ``floor`` tokens that are there at the start, so
    that a service with little traffic is not denied its first. After Finagle's and gRPC's retry budgets.
    """

    def __init__(self, share: float, floor: float) -> None:
        """``share``: extra calls earned by each ordinary one; ``floor``: also the most that can be saved up."""
        self._share = share
        self._most = floor
        self._tokens = floor
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Budget {self._tokens:.1f} of {self._most:g}>"

    @property
    def left(self) -> float:
        """Extra calls that may be made now."""
        return self._tokens

    def earn(self) -> None:
        """Count an ordinary call."""
        # Without the lock: a lost addition makes the budget smaller by one share, never larger.
        if self._tokens < self._most:
            with self._lock:
                self._tokens = min(self._tokens + self._share, self._most)

    def spend(self, keep: float = 0.0) -> bool:
        """Take one token, if there is one more than ``keep``, which is left to calls that matter more."""
        with self._lock:
            if self._tokens < 1.0 + keep:
                return False
            self._tokens -= 1.0
            return True

    def give_back(self) -> None:
        """Return a token: the call that spent it turned out to be an ordinary one."""
        with self._lock:
            self._tokens = min(self._tokens + 1.0, self._most)
