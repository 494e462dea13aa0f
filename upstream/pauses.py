"""How long an upstream's calls were held back over its limits, and whether they are paced at present. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.clock import NOW

if TYPE_CHECKING:
    from upstream.busy import Busy

#: Seconds after the moment of an opening in which a call that leaves has waited for it.
AT_ONCE = 0.05
#: Seconds without a call that had to wait after which the calls are not paced any more.
QUIET = 60.0


class Pauses:
    """The times in which a call would have left and could not.

    A call that leaves right when it may has waited for that; where none does, no call was held back. All moments are
    seconds on the engine's clock.
    """

    def __init__(self) -> None:
        #: Seconds by what was missing.
        self.seconds: dict[Busy, float] = {}
        self.is_pacing = False
        self._kind: Busy | None = None
        self._since = self._until = NOW
        self._last = NOW

    def __repr__(self) -> str:
        told = ", ".join(f"{kind.value} {seconds:.1f} s" for kind, seconds in self.seconds.items())
        return f"<Pauses {told or 'none'}, {'pacing' if self.is_pacing else 'not pacing'}>"

    def hold(self, kind: Busy, until: float, now: float) -> None:
        """No call may leave before the moment ``until``, over this kind of limit."""
        if self._kind is None:
            self._since = now
        self._kind, self._until = kind, until

    def open(self, now: float) -> None:
        """A call may leave at any moment."""
        if self._kind is not None and now < self._until:
            self._kind = None

    def left(self, now: float) -> bool:
        """A call leaves; return whether the pacing begins by that."""
        kind, self._kind = self._kind, None
        if kind is None or now > self._until + AT_ONCE:
            return False
        self.add(kind, now - self._since)
        self._last = now
        begins, self.is_pacing = not self.is_pacing, True
        return begins

    def add(self, kind: Busy, seconds: float) -> None:
        """Count seconds in which no call could leave."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + max(0.0, seconds)

    def is_over(self, now: float) -> bool:
        """Return whether the pacing ends by now."""
        if not self.is_pacing or now - self._last < QUIET:
            return False
        self.is_pacing = False
        return True
