"""An even pace: so many units of a limit a minute, and little at once. Pure.

All moments are seconds on the engine's clock.
"""

from __future__ import annotations

#: Seconds for which settings and most servers state their limits.
MINUTE = 60.0
#: The share of a limit that a pace of our own leaves alone.
SLACK = 0.01
#: The least share of a limit's own pace that is kept where others seem to spend it all.
LEAST_PACE = 0.2
#: What is nearly enough is enough: sums of fractions are inexact.
NEARLY = 1e-6


class Pace:
    """So many units a minute, evenly: never more than that in any minute, and little at once.

    It holds for every server, however short the time is over which it judges.
    """

    def __init__(self, per_minute: float, now: float, *, burst: float) -> None:
        """``burst``: units that may be spent at once after a quiet time, at least one."""
        self._burst = min(max(1.0, burst), per_minute)
        self._rate = max((1 - SLACK) * per_minute - self._burst, LEAST_PACE * per_minute) / MINUTE
        self._there = self._burst
        self._at = now

    def __repr__(self) -> str:
        return f"<Pace {self._rate * MINUTE:.6g} a minute, {self._burst:g} at once>"

    def spare(self, now: float) -> float:
        """Return the units that may be spent now."""
        return min(self._burst, self._there + self._rate * (now - self._at))

    def spend(self, amount: float, now: float) -> None:
        """Take what a call costs; more than is there has to come again before the next."""
        self._there = self.spare(now) - amount
        self._at = now

    def when(self, amount: float, now: float, calls: int = 1) -> float:
        """Return the first moment from ``now`` on at which so many calls may be made that cost so much each.

        For a call that costs more than a burst, a burst is enough.
        """
        short = min(amount, self._burst) + (calls - 1) * amount - self.spare(now)
        return now if short <= NEARLY else now + short / self._rate
