"""Spreads batches over the upstreams: the least busy first, failing ones left out, safe failures tried once more."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from batching.budget import Budget
from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import (
    NoUpstream,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamPaused,
    UpstreamRejected,
    UpstreamTimeout,
)
from batching.observer import CallReport, Observer
from upstream.breaker import Breaker, State
from upstream.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batching.call import Batch
    from batching.capacity import Capacity
    from batching.clock import Clock
    from batching.key import BatchKey
    from batching.outcomes import Answer
    from upstream.endpoint import AnyEndpoint

#: Retries that each ordinary call allows, and those allowed at the start.
RETRY_SHARE, RETRY_FLOOR = 0.1, 10.0
#: Longest (s) that a retry waits where the upstream names no time; the wait is anything up to it ("full jitter").
BACKOFF = 0.1
#: Longest (s) that an upstream is left alone because it asked for it: then it is asked again how it is.
LONGEST_PAUSE = 60.0
#: Where all upstreams are ejected and one is being tried, the others' batches wait so long (s) for it to answer.
PROBE_GRACE = 1.0
#: A call that timed out sooner (s) than this had little time, and says nothing about the upstream.
HUNG = 5.0


class _Upstream:
    """An endpoint and how it fares. The pool's lock guards it."""

    def __init__(self, endpoint: AnyEndpoint, most_in_flight: int) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker()
        self.window = Window(most_in_flight)
        self.in_flight = 0
        self.calls = 0
        #: It has asked to be left alone until this moment.
        self.not_before = NOW
        #: When its latest probe began.
        self.probed_at = NOW

    def __repr__(self) -> str:
        return f"<{self.endpoint.url}: {self.in_flight} in flight, {self.breaker}, {self.window}>"

    @property
    def probe_due(self) -> float:
        """When one batch may try it, while it is ejected."""
        return max(self.breaker.until, self.not_before)

    def wants_probe(self, now: float) -> bool:
        """Whether one batch is to try it."""
        return self.breaker.wants_probe(now) and self.not_before <= now

    def readmit(self) -> None:
        """It was seen to answer: if it is ejected it may be tried at once, even where it had asked for a pause."""
        if not self.breaker.is_closed:
            self.breaker.readmit()
            self.not_before = NOW

    def is_steady(self, now: float) -> bool:
        """Whether its slots do not depend on its calls in flight."""
        return self.breaker.is_closed and self.not_before <= now and self.in_flight <= self.window.size

    def slots(self, now: float) -> Iterator[Slots]:
        """Yield how many batches it may have, and from when on.

        Calls that are under way count even where no other may follow them: they hold none of the others' slots.
        """
        yield Slots(NOW, self.in_flight)
        if self.breaker.is_closed:
            start = NOW if self.not_before <= now else self.not_before
            yield Slots(start, max(self.window.size - self.in_flight, 0))
        elif self.breaker.state is State.OPEN:
            yield Slots(self.probe_due, 1)


class UpstreamPool(Observer):
    """Sends each batch to one upstream, and after a failure that is safe to repeat once more, elsewhere if possible.

    A retry has to fit into the batch's deadline and into a budget of a tenth of the calls, so that a failing
    upstream is not given more to do than a well one. What the upstreams take at present, the pool writes into the
    capacity, which the queue obeys. Thread-safe: one lock guards the upstreams; the queue's lock is taken inside it
    (by a change of the capacity), never the other way round.
    """

    def __init__(
        self,
        endpoints: Sequence[AnyEndpoint],
        capacity: Capacity,
        most_in_flight: int,
        clock: Clock,
        *,
        observer: Observer | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``most_in_flight``: batches at each upstream at once."""
        self._upstreams = [_Upstream(endpoint, most_in_flight) for endpoint in endpoints]
        self._capacity = capacity
        self._clock = clock
        self._observer = observer or Observer()
        self._jitter = jitter
        self._budget = Budget(RETRY_SHARE, RETRY_FLOOR)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        #: Whether calls that end well leave the capacity as it is.
        self._is_steady = False

    def __repr__(self) -> str:
        return f"<UpstreamPool {self._upstreams}, retries: {self._budget}>"

    def cannot(self, key: BatchKey) -> str | None:
        """Say why the upstreams cannot do what the key asks for; None if they can. All serve the same model."""
        return self._upstreams[0].endpoint.cannot(key)

    def send(self, batch: Batch) -> Answer:
        """Return one result for each item, in order; raises an ``UpstreamError``.

        Raises ``UpstreamPaused`` where the upstream has asked for a pause: the batch is to wait in the queue.
        """
        self._budget.earn()
        first = self._choose(None)
        try:
            return self._call(first, batch, batch.retry_reason)
        except UpstreamError as error:
            if error.retry_reason is None or batch.is_retry:
                raise
            batch.is_measurable = False
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
                if each.endpoint.url == upstream:
                    each.readmit()
            self._adapt(self._clock.now())

    # ---- which ----------------------------------------------------------------------------------

    def _choose(self, avoid: _Upstream | None) -> _Upstream:
        """Take the upstream for the next call.

        1. One whose probe is due. 2. Of those that are closed and have not asked for a pause, the one with room and
        least to do. Raises ``NoUpstream`` where all are ejected, ``UpstreamPaused`` where the others have asked for a
        pause.
        """
        with self._lock:
            now = self._clock.now()
            due = (each for each in self._upstreams if each is not avoid and each.wants_probe(now))
            chosen = next(due, None)
            if chosen is not None:
                chosen.breaker.probe()
                chosen.probed_at = now
            else:
                closed = [each for each in self._upstreams if each.breaker.is_closed]
                if not closed:
                    soonest = min(each.probe_due for each in self._upstreams)
                    raise NoUpstream("no upstream answers at present", retry_after=max(1.0, soonest - now))
                # Of those equally busy the one asked least, which spreads the load also where it is low.
                chosen = min(
                    closed,
                    key=lambda each: (
                        each.not_before > now,
                        each is avoid,
                        each.in_flight >= each.window.size,
                        each.in_flight,
                        each.calls,
                    ),
                )
                if chosen.not_before > now:
                    pause = chosen.not_before - now
                    raise UpstreamPaused(
                        UpstreamOverloaded("the upstream has asked for a pause", retry_after=max(1.0, pause))
                    )
            chosen.in_flight += 1
            chosen.calls += 1
            if not chosen.breaker.is_closed:
                self._adapt(now)
            return chosen

    def _second_chance(self, first: _Upstream, batch: Batch, error: UpstreamError) -> _Upstream | None:
        """Return the upstream for a retry, once it may be made; None if it must not be.

        Raises ``UpstreamPaused`` if it may be made after a pause that the upstream has asked for.
        """
        if not self._budget.spend():
            return None
        try:
            second = self._choose(first)
        except UpstreamPaused:
            raise UpstreamPaused(error.bare(), error.retry_reason) from None
        except NoUpstream:
            return None
        if second is first:
            # Another may be asked at once; the same gets a moment.
            pause = self._jitter(0.0, BACKOFF)
            if self._clock.now() + pause >= batch.deadline or self._clock.wait_for(self._stopping, pause):
                self._give_back(second)
                return None
        return second

    def _give_back(self, upstream: _Upstream) -> None:
        with self._lock:
            upstream.in_flight -= 1
            upstream.breaker.ignore()
            self._adapt(self._clock.now())

    # ---- one call -------------------------------------------------------------------------------

    def _call(self, upstream: _Upstream, batch: Batch, retry_reason: str | None) -> Answer:
        began = self._clock.now()
        try:
            answer = upstream.endpoint.send(batch)
        except UpstreamError as error:
            self._end(upstream, batch, retry_reason, began, error)
            raise
        except BaseException:  # a bug of ours says nothing about the upstream
            self._give_back(upstream)
            raise
        self._end(upstream, batch, retry_reason, began, None)
        return answer

    def _end(
        self, upstream: _Upstream, batch: Batch, retry_reason: str | None, began: float, error: UpstreamError | None
    ) -> None:
        now = self._clock.now()
        ejected = self._learn(upstream, error, began, now)
        url = upstream.endpoint.url
        self._observer.on_call(CallReport(url, len(batch.items), batch.reason, retry_reason, now - began, error))
        if ejected:
            self._observer.on_ejection(url)

    def _learn(self, upstream: _Upstream, error: UpstreamError | None, began: float, now: float) -> bool:
        """Learn from a call; return whether it ejected the upstream."""
        with self._lock:
            upstream.in_flight -= 1
            ejected = False
            window = upstream.window.size
            if error is None or isinstance(error, UpstreamRejected):
                if upstream.breaker.is_closed:
                    upstream.window.grow()
                upstream.breaker.succeeded()
            elif _counts_against_upstream(error, now - began, upstream.endpoint.timeout):
                ejected = upstream.breaker.failed(now)
            else:
                upstream.breaker.ignore()
            if error is not None and error.pause is not None:
                upstream.window.cut(began, now)
                if error.pause:
                    upstream.not_before = max(upstream.not_before, now + min(error.pause, LONGEST_PAUSE))
            if error is not None or not self._is_steady or upstream.window.size != window:
                self._adapt(now)
            return ejected

    def _adapt(self, now: float) -> None:
        """Let the queue give out as many batches as the upstreams take."""
        self._is_steady = all(each.is_steady(now) for each in self._upstreams)
        slots = [slots for each in self._upstreams for slots in each.slots(now)]
        if not any(each.breaker.is_closed for each in self._upstreams):
            slots = self._without_any(slots)
        self._capacity.change(slots=slots)

    def _without_any(self, slots: list[Slots]) -> list[Slots]:
        """Return the slots where all upstreams are ejected: a batch leaves, to be answered that none is there.

        Not at once while one is being tried: it may be back, and the batches that wait are its next ones.
        """
        trying = [each.probed_at for each in self._upstreams if each.breaker.state is State.HALF_OPEN]
        if trying:
            return [*slots, Slots(max(trying) + PROBE_GRACE, 1)]
        # The slot of the first probe is there before its time, so that no second batch leaves beside the probe.
        slots.remove(Slots(min(each.probe_due for each in self._upstreams), 1))
        return [*slots, Slots(NOW, 1)]


def _counts_against_upstream(error: UpstreamError, latency: float, timeout: float) -> bool:
    """Whether a failure counts against the upstream."""
    if isinstance(error, UpstreamTimeout):
        return latency >= min(HUNG, timeout)
    return not isinstance(error, UpstreamOverloaded)
