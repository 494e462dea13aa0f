"""Spreads batches over the upstreams: the least busy first, failing ones left out, safe failures tried once more."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import (
    InputsInDoubt,
    NoUpstream,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamPaused,
)
from batching.observer import CallReport, Observer
from upstream.busy import QuotaExhausted
from upstream.choice import due_for_probe, elsewhere, least_busy, usable
from upstream.clamp import Clamp
from upstream.exhaustion import held_back, quota_outage
from upstream.forwarding import Forwarding
from upstream.member import Member
from upstream.outage import no_upstream, outage_of
from upstream.pacing import Pacing
from upstream.retries import Retries, Where
from upstream.speakers import Speakers
from upstream.witness import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from batching.call import Batch
    from batching.capacity import Capacity
    from batching.clock import Clock
    from batching.outcomes import Answer
    from upstream.endpoint import AnyEndpoint

#: Longest (s) that a retry waits where the upstream names no time; the wait is anything up to it ("full jitter").
BACKOFF = 0.1


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
        unavailable_wait: float = 0.0,
        observer: Observer | None = None,
        clamp: Clamp | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
        per_minute: tuple[int, int] = (0, 0),
    ) -> None:
        """``most_in_flight``: batches at each upstream at once.

        ``unavailable_wait``: seconds from the moment when no upstream can be reached for which calls wait for one.
        ``clamp``: learns from refusals how large calls may be. ``per_minute``: calls and tokens that each upstream may
        be sent; 0: no limit but those that it tells.
        """
        several = len(endpoints) > 1
        self._upstreams = [Member(endpoint, most_in_flight, has_others=several) for endpoint in endpoints]
        self._capacity = capacity
        self._clock = clock
        self._unavailable_wait = unavailable_wait
        self._observer = observer or Observer()
        self._clamp = clamp or Clamp(capacity, batch_size=capacity.full_batch_size, batches=most_in_flight)
        self._jitter = jitter
        self._retries = Retries(waits=unavailable_wait > 0)
        self._lock = threading.Lock()
        #: Tells the log and the metrics of the upstreams' limits.
        self.pacing = Pacing(self._upstreams, self._lock, clock, per_minute)
        self._stopping = threading.Event()
        #: Whether calls that end well leave the capacity as it is.
        self._is_steady = False
        self._outage_since: float | None = None
        self.speakers = Speakers(endpoints, clock, unavailable_wait)
        #: Requests that are passed on beside the batches.
        self.forwarding = Forwarding(
            self._upstreams,
            self._lock,
            clock,
            at_once=most_in_flight * len(endpoints),
            unavailable_wait=unavailable_wait,
            stopping=self._stopping,
            observer=self._observer,
            adapt=self._adapt,
            speaker=self.speakers.one,
        )
        if any(per_minute):
            self._adapt(clock.now())

    def __repr__(self) -> str:
        return f"<UpstreamPool {self._upstreams}, {self._retries}>"

    def send(self, batch: Batch) -> Answer:
        """Return one result for each item, in order; raises an ``UpstreamError``.

        Raises ``UpstreamPaused`` where the batch is to wait in the queue: the upstream has asked for a pause, or none
        can be reached and calls wait for that.
        """
        self._retries.earn()
        first, is_probe = self._choose(None, batch)
        try:
            return self._call(first, batch, batch.retry_reason)
        except UpstreamError as error:
            second = self._second_chance(first, batch, error, is_probe=is_probe)
            if second is None:
                raise self._ends_with(error, batch, first, is_probe=is_probe) from None
            batch.is_measurable = False
            problem, reason = error.bare(), error.retry_reason
        try:
            return self._call(second, batch, reason)
        except UpstreamError as error:
            if is_probe and isinstance(problem, InputsInDoubt) and isinstance(error, InputsInDoubt):
                self._forgive(first)  # both failed on it: an input is the likelier cause
            raise self._ends_with(error, batch, second, is_probe=is_probe) from None

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopping.set()

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:  # noqa: ARG002
        """Leave out what does not answer while others do; an ejected upstream that answers is tried again at once."""
        if not ready:
            self._clamp.went_away(upstream)
        with self._lock:
            for each in self._upstreams:
                if each.endpoint.url == upstream:
                    each.is_up = ready
                    if ready:
                        each.readmit()
            self._adapt(self._clock.now())
        self.speakers.look()

    # ---- which ----------------------------------------------------------------------------------

    def _choose(self, avoid: Member | None, batch: Batch) -> tuple[Member, bool]:
        """Take the upstream for the next call, and say whether it is a probe.

        1. One whose probe is due. 2. Of those that are closed and have not asked for a pause, the one that answers its
        health check, with room and least to do. Raises ``UpstreamPaused`` where all are ejected, or the others have
        asked for a pause or have no calls left.
        """
        with self._lock:
            now = self._clock.now()
            chosen = due_for_probe(self._upstreams, avoid, now)
            if chosen is not None:
                chosen.breaker.probe()
                chosen.probed_at = now
            else:
                chosen = least_busy(self._upstreams, avoid, now)
                if chosen is None:
                    raise UpstreamPaused(no_upstream(self._upstreams, now))
                if not chosen.may_have_call(now):
                    self._adapt(now)
                    raise UpstreamPaused(held_back(chosen, now))
            self._take(chosen, batch, now)
            return chosen, not chosen.breaker.is_closed

    def _take(self, upstream: Member, batch: Batch, now: float) -> None:
        """Count a call in that is made now. With the lock held."""
        if upstream.leaves(batch, now):
            self.pacing.begins(upstream)
        if upstream.rations.are_limited or not upstream.breaker.is_closed:
            self._adapt(now)

    def _second_chance(self, first: Member, batch: Batch, error: UpstreamError, *, is_probe: bool) -> Member | None:
        """Return the upstream for a retry, once it may be made; None if it must not be.

        Raises ``UpstreamPaused`` if it may be made after a pause that the upstream has asked for.
        """
        if batch.deadline <= self._clock.now():
            return None
        # Free of the budget: a probe costs no client its answer, and a busy upstream is left alone now.
        if (is_probe or isinstance(error, UpstreamOverloaded | QuotaExhausted)) and (
            other := self._elsewhere(first, batch)
        ) is not None:
            return other
        where = self._retries.where(error, is_retry=batch.is_retry, has_others=len(self._upstreams) > 1)
        if where is not Where.ANYWHERE:
            return self._elsewhere(first, batch) if where is Where.ELSEWHERE else None
        try:
            second, _ = self._choose(first, batch)
        except UpstreamPaused as paused:
            if isinstance(paused.answer, NoUpstream):
                return None
            raise UpstreamPaused(error.bare(), error.retry_reason) from None
        if second is first:
            # Another may be asked at once; the same gets a moment.
            pause = self._jitter(0.0, BACKOFF)
            if self._clock.now() + pause >= batch.deadline or self._clock.wait_for(self._stopping, pause):
                self._give_back(second, batch)
                return None
        return second

    def _elsewhere(self, first: Member, batch: Batch) -> Member | None:
        """Take another upstream that gets calls as usual; None if there is none."""
        with self._lock:
            now = self._clock.now()
            chosen = elsewhere(self._upstreams, first, now)
            if chosen is not None:
                self._take(chosen, batch, now)
            return chosen

    def _ends_with(self, error: UpstreamError, batch: Batch, at: Member, *, is_probe: bool) -> UpstreamError:
        is_no_inputs_fault = is_probe or at.breaker.is_no_inputs_fault
        return self._retries.ends_with(error, is_retry=batch.is_retry, is_no_inputs_fault=is_no_inputs_fault)

    def _give_back(self, upstream: Member, batch: Batch) -> None:
        with self._lock:
            upstream.give_back(batch, now := self._clock.now())
            self._adapt(now)

    def _forgive(self, upstream: Member) -> None:
        with self._lock:
            upstream.breaker.readmit()
            self._adapt(self._clock.now())

    # ---- one call -------------------------------------------------------------------------------

    def _call(self, upstream: Member, batch: Batch, retry_reason: str | None) -> Answer:
        began = self._clock.now()
        try:
            answer = upstream.endpoint.send(batch)
        except UpstreamError as error:
            self._end(upstream, batch, retry_reason, began, error)
            raise
        except BaseException:  # a bug of ours says nothing about the upstream
            self._give_back(upstream, batch)
            raise
        self._end(upstream, batch, retry_reason, began, None, bad=answer.bad, tokens=answer.tokens)
        return answer

    def _end(
        self,
        upstream: Member,
        batch: Batch,
        retry_reason: str | None,
        began: float,
        error: UpstreamError | None,
        *,
        bad: Container[int] = (),
        tokens: int | None = None,
    ) -> None:
        now = self._clock.now()
        with self._lock:
            witness = None if error is None else upstream.witness(batch, error, now)
        if witness is not None:
            self._ask_witness(upstream, witness)
        with self._lock:
            window = upstream.window.size
            ejected = upstream.ended(batch, error, began, now, bad=bad, tokens=tokens)
            if isinstance(error, QuotaExhausted):
                self.pacing.shut(upstream, error)
            is_steady = self._is_steady and not upstream.rations.are_limited
            if error is not None or not is_steady or upstream.window.size != window:
                self._adapt(now)
        url = upstream.endpoint.url
        if error is not None or now >= self._clamp.rises_at:
            self._clamp.learn(url, batch, error, now)
        report = CallReport(url, len(batch.items), batch.reason, retry_reason, now - began, error, tokens)
        self._observer.on_call(report)
        if ejected:
            self._observer.on_ejection(url)

    def _ask_witness(self, upstream: Member, witness: Batch) -> None:
        is_well, report = ask(upstream.endpoint, witness, self._clock)
        with self._lock:
            upstream.heard_witness(is_well=is_well)
        self._observer.on_call(report)

    # ---- what the upstreams take ----------------------------------------------------------------

    def _adapt(self, now: float) -> None:
        """Let the queue give out as many batches as the upstreams take."""
        self._is_steady = all(each.is_steady(now) for each in self._upstreams)
        may_have_batches = usable(self._upstreams)
        slots: list[Slots] = []
        for each in self._upstreams:
            slots += each.slots(now) if each in may_have_batches else [Slots(NOW, each.in_flight)]
            if each.rations.are_limited:
                self._clamp.pace(each.endpoint.url, each.rations.most_bytes(each.most_in_flight - each.in_flight, now))
        if any(each.breaker.is_closed for each in self._upstreams):
            self._outage_since = None
            self._capacity.change(slots=slots, outage=quota_outage(self._upstreams, now))
        else:
            self._outage_since = now if self._outage_since is None else self._outage_since
            outage = outage_of(self._upstreams, self._outage_since, self._unavailable_wait, now)
            self._capacity.change(slots=slots, outage=outage)
