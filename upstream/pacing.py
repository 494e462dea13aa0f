"""Tells the members' governors of limits, the log of pacing, and the metrics of both."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from batching.observer import Observer
from upstream.governor import Governor, sentence

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from batching.call import Batch
    from batching.clock import Clock
    from upstream.busy import QuotaExhausted
    from upstream.member import Member
    from upstream.rate_headers import RateLimits

log = logging.getLogger(__name__)

#: Seconds without a call that are told: no window of a minute explains them.
LONG = 90.0


class LimitState(NamedTuple):
    """What is known of one upstream's limits."""

    upstream: str
    #: What its account has left; None where it does not tell.
    calls_left: float | None
    tokens_left: float | None
    #: Seconds for which calls were held back, by what was missing: ``calls``, ``tokens``, ``quota``.
    paused: Mapping[str, float]
    #: Tokens that it has counted, since the beginning.
    tokens: int


class Pacing(Observer):
    """Connects the upstreams' replies, their governors and the log. Uses the pool's lock."""

    def __init__(
        self, members: Sequence[Member], lock: threading.Lock, clock: Clock, per_minute: tuple[int, int]
    ) -> None:
        """``per_minute``: calls and tokens that each upstream may be sent, by the settings; 0: no limit."""
        self._members = members
        self._lock = lock
        self._clock = clock
        #: Upstreams of which a long wait has been told.
        self._told_long: set[str] = set()
        calls, tokens = per_minute
        for member in members:
            member.endpoint.on_limits = partial(self._told, member)
            if calls or tokens:
                member.rations.govern(Governor(clock.now(), calls_per_minute=calls, tokens_per_minute=tokens))

    def _told(self, member: Member, batch: Batch, limits: RateLimits) -> None:
        with self._lock:
            member.rations.told(batch, limits, self._clock.now())

    def begins(self, member: Member) -> None:
        """The calls of a member are paced from now on. With the lock held."""
        text = "upstream %s: calls are paced, by its limit of %s a minute"
        log.info(text, member.endpoint.url, sentence(member.rations.governor))

    def shut(self, member: Member, quota: QuotaExhausted) -> None:
        """The quota of a member is used up. With the lock held."""
        quota.tell_by(self._clock.now)
        text = "upstream %s has no quota left (%s): clients are told so, and it is asked again in %.0f s"
        log.warning(text, member.endpoint.url, quota, quota.until - self._clock.now())

    def on_look(self, upstream: str) -> None:  # noqa: ARG002
        """Notice that calls are not paced any more, and that none may leave for long."""
        with self._lock:
            now = self._clock.now()
            over = [member.endpoint.url for member in self._members if member.rations.pauses.is_over(now)]
            waits = {
                member.endpoint.url: member.rations.opens_at(now) - now
                for member in self._members
                if member.rations.are_limited and member.rations.quota is None
            }
        for url in over:
            log.info("upstream %s: calls need not be paced any more", url)
        for url, wait in waits.items():
            if wait <= LONG:
                self._told_long.discard(url)
            elif url not in self._told_long:
                self._told_long.add(url)
                log.warning("upstream %s: by its limits, no call leaves for another %.0f s", url, wait)

    def states(self) -> list[LimitState]:
        """Return what is known of the members that have limits, or that count tokens."""
        with self._lock:
            now = self._clock.now()
            return [_state(member, now) for member in self._members if member.rations.are_limited or member.tokens]


def _state(member: Member, now: float) -> LimitState:
    governor, pauses = member.rations.governor, member.rations.pauses
    calls, tokens = (None, None) if governor is None else governor.left(now)
    paused = {kind.value: seconds for kind, seconds in pauses.seconds.items()}
    return LimitState(member.endpoint.url, calls, tokens, paused, member.tokens)
