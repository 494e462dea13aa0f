"""Passes requests on that are not batched: a place for each, an upstream that takes calls, another if that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.budget import Budget
from batching.errors import (
    ClientGone,
    NoUpstream,
    ProxyError,
    ShuttingDown,
    Unsupported,
    UpstreamBroke,
    UpstreamError,
    UpstreamGateway,
    UpstreamOverloaded,
    UpstreamUnavailable,
)
from batching.observer import CallReport
from upstream.forwarded import Forwarded, late
from upstream.outage import no_upstream
from upstream.places import LOOK_PERIOD, Places
from upstream.retries import RETRY_FLOOR, RETRY_SHARE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from batching.clock import Clock
    from batching.observer import Observer
    from upstream.endpoint import AnyEndpoint
    from upstream.member import Member
    from upstream.request import Request

#: The reason of an upstream call that passes a client's request on.
FORWARD = "forward"
#: After these another upstream is asked: what was asked for is not why it failed.
REPEATED = (UpstreamUnavailable, UpstreamBroke, UpstreamGateway, UpstreamOverloaded)


def choose(members: Sequence[Member], now: float, avoid: Member | None = None) -> tuple[Member | None, float]:
    """Return the upstream to be asked; or None, and the seconds until one may be asked.

    It has not been ejected, or all are and its time is over; and it has not asked for a pause. Of several, one that
    answers its health check comes first, then the one with the fewest requests passed on, then the one with the fewest
    batches. ``avoid``: not this one. Raises ``NoUpstream`` where all are ejected.
    """
    others = [each for each in members if each is not avoid]
    usable = [each for each in others if each.breaker.is_closed] or [each for each in others if each.wants_probe(now)]
    if not usable:
        raise no_upstream(members, now)
    rested = [each for each in usable if each.not_before <= now]
    if not rested:
        return None, min(each.not_before for each in usable) - now
    return min(rested, key=lambda each: (not each.is_up, each.forwards, each.in_flight)), 0.0


class Forwarding:
    """Lets requests pass to the pool's upstreams beside the batches: so many at once, and they take no batch's slot."""

    def __init__(
        self,
        members: Sequence[Member],
        lock: threading.Lock,
        clock: Clock,
        *,
        at_once: int,
        unavailable_wait: float,
        stopping: threading.Event,
        observer: Observer,
        adapt: Callable[[float], None],
        speaker: Callable[[float], AnyEndpoint],
    ) -> None:
        """``members`` are the pool's, and ``lock`` guards them. ``at_once``: requests under way.

        ``unavailable_wait``: seconds for which a request waits for an upstream that can be reached. ``stopping`` ends
        all waiting. ``adapt`` is called with the moment, under the lock, when an upstream was heard of. ``speaker``
        returns an upstream whose API is known.
        """
        self._members = members
        self._lock = lock
        self._clock = clock
        self._places = Places(at_once, clock)
        self._unavailable_wait = unavailable_wait
        self._stopping = stopping
        self._observer = observer
        self._adapt = adapt
        self._speaker = speaker
        self._retries = Budget(RETRY_SHARE, RETRY_FLOOR)

    def __repr__(self) -> str:
        return f"<Forwarding {self._places}, retries {self._retries}>"

    def enter(self, path: str, deadline: float, has_left: Callable[[], bool] | None = None) -> Passage:
        """Return the passage of a client's request, once it has a place; it has to be left.

        ``path``: at the upstream. ``deadline``: a moment on the clock. ``has_left``: whether the client has hung up.
        Raises ``Unsupported`` (404) where the upstreams do not have the path, ``UpstreamUnavailable`` where it is not
        known yet what they have, ``DeadlineExceeded``, ``ClientGone`` and ``ShuttingDown``.
        """
        self._check(path, deadline)

        def look() -> None:
            if has_left is not None and has_left():
                raise ClientGone("the client hung up before its answer was whole")
            if self._stopping.is_set():
                raise ShuttingDown("the service stopped before this request was served", retry_after=1)

        self._places.take(deadline, look)
        return Passage(self, deadline, look)

    def _check(self, path: str, deadline: float) -> None:
        """Raise ``Unsupported`` where the upstreams do not have the path: all speak the same API."""
        endpoint = self._speaker(deadline)
        if not endpoint.forwards(path):
            raise Unsupported(
                f"the upstream does not have {path}: its API is {endpoint.speaks}, and this route is one of a Text "
                "Embeddings Inference server (tei)",
                status=404,
            )

    # ---- what a passage asks for ----------------------------------------------------------------

    def open(self, passage: Passage, request: Request) -> Forwarded:
        """Send a request, and return its answer; again and again for a while where no upstream can be reached."""
        self._retries.earn()
        until = min(passage.deadline, self._clock.now() + self._unavailable_wait)
        reason: str | None = None
        while True:
            try:
                return self._try(passage, request, reason)
            except (UpstreamUnavailable, NoUpstream) as error:
                if error.status != UpstreamUnavailable.status or self._clock.now() + LOOK_PERIOD >= until:
                    raise
                reason = UpstreamUnavailable.retry_reason
            self._clock.wait_for(self._stopping, LOOK_PERIOD)
            passage.look()

    def _try(self, passage: Passage, request: Request, reason: str | None) -> Forwarded:
        """Send a request; where that fails before an answer comes, once more to another upstream, if there is one."""
        first = self._take(passage)
        try:
            return self._begin(first, passage, request, reason)
        except REPEATED as error:
            second = self._take_another(first)
            if second is None:
                raise
            reason = error.retry_reason
        return self._begin(second, passage, request, reason)

    def leave(self) -> None:
        """Let the next request have the place."""
        self._places.give_back()

    def _take(self, passage: Passage) -> Member:
        """Take the upstream for a call, after a pause that all have asked for; raises ``UpstreamOverloaded``."""
        while True:
            with self._lock:
                now = self._clock.now()
                member, pause = choose(self._members, now)
                if member is not None:
                    member.forwards += 1
                    return member
            if now + pause >= passage.deadline:
                raise UpstreamOverloaded("the upstream has asked for a pause", retry_after=max(1.0, pause))
            self._clock.wait_for(self._stopping, min(pause, LOOK_PERIOD))
            passage.look()

    def _take_another(self, first: Member) -> Member | None:
        """Take the upstream for a retry; None where there is no other, or no retry is left."""
        with self._lock:
            try:
                member, _ = choose(self._members, self._clock.now(), first)
            except UpstreamError:
                return None
            if member is not None and not self._retries.spend():
                return None
            if member is not None:
                member.forwards += 1
            return member

    def _begin(self, member: Member, passage: Passage, request: Request, retry_reason: str | None) -> Forwarded:
        began = self._clock.now()
        end = min(passage.deadline, began + member.endpoint.timeout)

        def ended(error: ProxyError | None) -> None:
            self._ended(member, request, error, began, retry_reason)

        try:
            stream = member.endpoint.forward(request, end, passage.look)
        except ProxyError as problem:
            # A copy is kept: an error that was raised holds on to every frame that it went through.
            if end == passage.deadline and (is_late := late(problem)) is not None:
                ended(is_late)
                raise is_late.copy() from None
            ended(problem.copy())
            raise
        except BaseException:  # a bug of ours says nothing about the upstream
            with self._lock:
                member.forwards -= 1
            raise
        with self._lock:
            if member.answered_beside(self._clock.now()):
                self._adapt(self._clock.now())
        return Forwarded(stream, passage.deadline, passage.look, ended)

    def _ended(
        self, member: Member, request: Request, error: ProxyError | None, began: float, retry_reason: str | None
    ) -> None:
        """Learn from the end of a call what it says of the upstream, and report it."""
        now = self._clock.now()
        ejected = False
        with self._lock:
            member.forwards -= 1
            if isinstance(error, REPEATED):
                ejected = member.failed_beside(error, request.body or b"", began, now)
                self._adapt(now)
        url = member.endpoint.url
        if error is None or isinstance(error, UpstreamError):  # else it was ended from this side
            self._observer.on_call(CallReport(url, 1, FORWARD, retry_reason, now - began, error))
        if ejected:
            self._observer.on_ejection(url)


class Passage:
    """One client's request on its way past the queue: it may make upstream calls, one after the other. One thread."""

    def __init__(self, forwarding: Forwarding, deadline: float, look: Callable[[], None]) -> None:
        """``look`` raises a ``ProxyError`` if the request is to end."""
        self.deadline = deadline
        self.look = look
        self._forwarding = forwarding
        self._has_left = False

    def open(self, request: Request) -> Forwarded:
        """Send a request upstream; return its answer once the first bytes are here. It has to be closed.

        Raises an ``UpstreamError`` for any status but 200, ``Unsupported`` (404) where the upstream does not know the
        path after all, ``DeadlineExceeded``, ``ClientGone`` and ``ShuttingDown``.
        """
        return self._forwarding.open(self, request)

    def leave(self) -> None:
        """Give the place to another request; a second time does nothing."""
        if not self._has_left:
            self._has_left = True
            self._forwarding.leave()
