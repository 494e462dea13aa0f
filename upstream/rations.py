"""What one upstream's account lets its calls do: how they are paced, and whether its quota is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.capacity import UNLIMITED_BYTES, Slots
from batching.clock import NOW
from batching.errors import UpstreamUnavailable
from upstream.busy import Busy, QuotaExhausted, RateLimited
from upstream.governor import Governor
from upstream.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batching.call import Batch
    from batching.errors import UpstreamError
    from upstream.rate_headers import RateLimits

#: Seconds after which an upstream whose quota is used up is asked again, where it names no time.
ASK_AGAIN = 180.0


class Rations:
    """Nothing, until limits are set, told or met: then a governor paces, and a quota that is used up stops all calls.

    The pool's lock guards it.
    """

    def __init__(self) -> None:
        #: None while nothing is known of limits.
        self.governor: Governor | None = None
        #: What the upstream said when its quota was used up; None while it is not.
        self.quota: QuotaExhausted | None = None
        #: Whether either of the two is there.
        self.are_limited = False
        self.pauses = Pauses()
        self._shut_at = NOW

    def __repr__(self) -> str:
        return f"<Rations {self.governor}, {self.pauses}, quota {self.quota}>"

    def govern(self, governor: Governor) -> Governor:
        """Pace the calls from now on."""
        self.governor, self.are_limited = governor, True
        return governor

    # ---- when calls leave -----------------------------------------------------------------------

    def may_leave(self, now: float, in_flight: int) -> bool:
        """Whether the limits let a call leave beside so many."""
        if self.quota is not None and (self.quota.until > now or in_flight):
            return False
        return self.governor is None or self.governor.opens_at(now) <= now

    def opens_at(self, now: float) -> float:
        """Return the first moment from ``now`` on at which a call may leave."""
        opens_at = now if self.governor is None else self.governor.opens_at(now)
        return opens_at if self.quota is None else max(opens_at, self.quota.until)

    def slots(self, start: float, room: int, in_flight: int, now: float) -> Iterator[Slots]:
        """Yield what the limits leave of ``room`` slots from the moment ``start`` on."""
        if self.quota is not None:
            if not in_flight:  # one call tries whether there is a quota again
                yield Slots(max(start, self.opens_at(now)), 1)
            return
        if self.governor is None:
            yield Slots(start, room)
            return
        opens = self.governor.openings(now, room)
        if opens.now:
            self.pauses.open(now)
            yield Slots(start, opens.now)
        elif room:
            self.pauses.hold(self.governor.waits_for(now), opens.next_at, now)
        if opens.now < room:
            yield Slots(max(start, opens.next_at), 1)

    def most_bytes(self, room: int, now: float) -> int:
        """Return the bytes of items that the next call may have, as far as tokens bound them."""
        return UNLIMITED_BYTES if self.governor is None else self.governor.openings(now, max(room, 1)).most_bytes

    # ---- the life of a call ---------------------------------------------------------------------

    def leaves(self, batch: Batch, now: float) -> bool:
        """Reserve what a call is likely to cost; return whether the calls are paced by that from now on."""
        if self.governor is None:
            return False
        self.governor.reserve(batch, sum(map(len, batch.items)), now)
        return self.pauses.left(now)

    def give_back(self, batch: Batch, now: float) -> None:
        """A call was not made after all."""
        if self.governor is not None:
            self.governor.give_back(batch, now)

    def told(self, batch: Batch, limits: RateLimits, now: float) -> None:
        """The reply to a call tells what the account has left."""
        governor = self.governor or self.govern(Governor(now))
        governor.told(batch, limits, now)

    def ended(self, batch: Batch, error: UpstreamError | None, began: float, now: float, *, tokens: int | None) -> None:
        """Learn from the end of a call that began at the moment ``began``; ``tokens``: as the upstream counted them."""
        if isinstance(error, QuotaExhausted):
            self._shut(error, now)
        elif self.quota is not None and began >= self._shut_at:  # a limit of a minute is met only where there is one
            self._count_shut(now)
            self.quota, self.are_limited = None, self.governor is not None
        if isinstance(error, RateLimited):
            governor = self.governor or self.govern(Governor(now))
            governor.refused(batch, error.kind, error.pause or 0.0, now)
        if self.governor is not None:
            if isinstance(error, UpstreamUnavailable) and error.pause is None:
                self.governor.give_back(batch, now)  # it was not answered, so it was hardly counted: a reply will tell
            self.governor.ended(batch, now, tokens=tokens, is_well=error is None)

    def _shut(self, quota: QuotaExhausted, now: float) -> None:
        quota.until = now + (quota.pause or ASK_AGAIN)
        if self.quota is not None:
            self._count_shut(now)
            quota.until = max(quota.until, self.quota.until)
        self.quota, self.are_limited, self._shut_at = quota, True, now

    def _count_shut(self, now: float) -> None:
        self.pauses.add(Busy.QUOTA, now - self._shut_at)
