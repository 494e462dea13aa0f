"""Spreads batches over the upstreams: the least busy first, failing ones left out, safe failures tried once more."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Protocol

from batching.budget import Budget
from batching.clock import NOW
from batching.errors import NoUpstream, UpstreamError, UpstreamOverloaded, UpstreamRejected, UpstreamTimeout
from batching.observer import CallReport, Observer, tell
from upstream.breaker import Breaker, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Batch
    from batching.clock import Clock
    from batching.queue.batch_queue import Limits

#: Retries that each ordinary call allows, and those allowed at the start.
RETRY_SHARE, RETRY_FLOOR = 0.1, 10.0
#: Longest (s) that a retry waits where the upstream names no time; the wait is anything up to it ("full jitter").
BACKOFF = 0.1
#: Longest (s) that an upstream is left alone because it asked for it: then it is asked again how it is.
LONGEST_PAUSE = 60.0
#: A call that timed out sooner (s) than this was a client's in a hurry, and says nothing about the upstream.
HUNG = 5.0


class Member(Protocol):
    """One upstream."""

    url: str
    timeout: float

    def send(self, batch: Batch) -> list[bytes]: ...


class _Upstream:
    """An upstream and how it fares. The pool's lock guards it."""

    def __init__(self, client: Member, most_in_flight: int) -> None:
        self.client = client
        self.breaker = Breaker()
        self.window = Window(most_in_flight)
        self.in_flight = 0
        self.calls = 0
        #: It has asked to be left alone until this moment.
        self.not_before = NOW


class UpstreamPool(Observer):
    """Sends each batch to one upstream, and after a failure that is safe to repeat once more, elsewhere if possible.

    A retry has to fit into the batch's deadline and into a budget of a tenth of the calls, so that a failing
    upstream is not given more to do than a well one.
    """

    def __init__(
        self,
        clients: Sequence[Member],
        limits: Limits,
        most_in_flight: int,
        clock: Clock,
        *,
        observers: Sequence[Observer] = (),
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``limits``: the queue's own, whose ``max_inflight_batches`` follows what the upstreams bear.

        ``most_in_flight``: batches at each upstream at once.
        """
        self._upstreams = [_Upstream(client, most_in_flight) for client in clients]
        self._limits = limits
        self._clock = clock
        self._observers = observers
        self._jitter = jitter
        self._budget = Budget(RETRY_SHARE, RETRY_FLOOR)
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def send(self, batch: Batch) -> list[bytes]:
        """Return one result for each item, in order; raises an ``UpstreamError``."""
        self._budget.earn()
        first = self._choose(None)
        try:
            return self._call(first, batch, None)
        except UpstreamError as error:
            if error.retry_reason is None:
                raise
            batch.smooth = False
            second = self._second_chance(first, batch, error)
            if second is None:
                raise
            return self._call(second, batch, error.retry_reason)

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopping.set()

    def on_state(self, upstream: str, ready: bool) -> None:
        """An ejected upstream that was seen to answer is tried again at once."""
        if not ready:
            return
        with self._lock:
            for each in self._upstreams:
                if each.client.url == upstream:
                    each.breaker.readmit()
            self._adapt()

    # ---- which ----------------------------------------------------------------------------------

    def _choose(self, avoid: _Upstream | None) -> _Upstream:
        """Take the upstream for the next call; raises ``NoUpstream`` where none may be asked."""
        with self._lock:
            now = self._clock.now()
            chosen = next((each for each in self._upstreams if each.breaker.wants_probe(now)), None)
            if chosen is not None and chosen is not avoid:
                chosen.breaker.probe()
            else:
                closed = [each for each in self._upstreams if each.breaker.is_closed]
                if len(closed) > 1 and avoid in closed:
                    closed.remove(avoid)
                if not closed:
                    soonest = min(each.breaker.until for each in self._upstreams)
                    raise NoUpstream("no upstream answers at present", retry_after=max(1.0, soonest - now))
                # Of those equally busy the one asked least, which spreads the load also where it is low.
                chosen = min(closed, key=lambda each: (each.not_before > now, each.in_flight, each.calls))
            chosen.in_flight += 1
            chosen.calls += 1
            return chosen

    def _second_chance(self, first: _Upstream, batch: Batch, error: UpstreamError) -> _Upstream | None:
        """Return the upstream for a retry, once it may be made; None if it must not be."""
        if not self._budget.spend():
            return None
        try:
            second = self._choose(first)
        except NoUpstream:
            return None
        if second is first:
            # Another may be asked at once; the same gets the time it asked for, or a moment.
            pause = error.pause + self._jitter(0.0, max(BACKOFF, 0.1 * error.pause))
            if self._clock.now() + pause >= batch.deadline or self._clock.wait_for(self._stopping, pause):
                self._give_back(second)
                return None
        return second

    def _give_back(self, upstream: _Upstream) -> None:
        with self._lock:
            upstream.in_flight -= 1
            upstream.breaker.left()

    # ---- one call -------------------------------------------------------------------------------

    def _call(self, upstream: _Upstream, batch: Batch, retry_of: str | None) -> list[bytes]:
        began = self._clock.now()
        try:
            if upstream.not_before > began:
                self._hold(upstream, batch)
                began = self._clock.now()
            results = upstream.client.send(batch)
        except UpstreamError as error:
            self._end(upstream, batch, retry_of, began, error)
            raise
        except BaseException:  # a bug of ours says nothing about the upstream
            self._give_back(upstream)
            raise
        self._end(upstream, batch, retry_of, began, None)
        return results

    def _end(
        self, upstream: _Upstream, batch: Batch, retry_of: str | None, began: float, error: UpstreamError | None
    ) -> None:
        now = self._clock.now()
        ejected = self._note(upstream, error, began, now)
        report = CallReport(upstream.client.url, len(batch.items), batch.reason, retry_of, now - began, error)
        tell(self._observers, "on_call", report)
        if ejected:
            tell(self._observers, "on_ejection", upstream.client.url)

    def _hold(self, upstream: _Upstream, batch: Batch) -> None:
        """Wait as long as the upstream has asked for; raises ``UpstreamOverloaded`` if the batch has not that long."""
        batch.smooth = False
        pause = upstream.not_before - self._clock.now()
        if upstream.not_before >= batch.deadline or self._clock.wait_for(self._stopping, pause):
            raise UpstreamOverloaded("the upstream has asked for a pause", retry_after=max(1.0, pause))

    def _note(self, upstream: _Upstream, error: UpstreamError | None, began: float, now: float) -> bool:
        """Learn from a call; return whether it made the upstream one that is left out."""
        with self._lock:
            upstream.in_flight -= 1
            ejected = False
            if error is None or isinstance(error, UpstreamRejected):
                if upstream.breaker.is_closed:
                    upstream.window.grow()
                upstream.breaker.succeeded()
            elif _says_something(error, now - began, upstream.client.timeout):
                ejected = upstream.breaker.failed(now)
            else:
                upstream.breaker.left()
            if error is not None and error.too_much:
                upstream.window.cut(began, now)
                upstream.not_before = max(upstream.not_before, now + min(error.pause, LONGEST_PAUSE))
            self._adapt()
            return ejected

    def _adapt(self) -> None:
        """Let the queue give out as many batches as the upstreams bear."""
        windows = sum(each.window.size for each in self._upstreams if each.breaker.is_closed)
        self._limits.max_inflight_batches = max(windows, 1)


def _says_something(error: UpstreamError, latency: float, timeout: float) -> bool:
    """Whether a failure counts against the upstream."""
    if isinstance(error, UpstreamTimeout):
        return latency >= min(HUNG, timeout)
    return not isinstance(error, UpstreamOverloaded)
