"""Holds waiting calls, admits or refuses them, and says which batch is due; batcher threads block on it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from batching import relay
from batching.call import Batch
from batching.clock import NEVER, NOW
from batching.errors import BatcherDied, ProxyError, ShuttingDown
from batching.outcomes import UNKNOWN, Outcomes, Result, Source
from batching.queue.admission import Admission
from batching.queue.endings import Endings
from batching.queue.in_flight import InFlight
from batching.queue.lanes import Lane, Lanes
from batching.queue.loss import loss_at
from batching.queue.mixing import decide, join, make_up, take_out
from batching.queue.turns import Turns
from batching.queue.wakeups import IdleThreads
from batching.rank import ORDINARY
from batching.timing.rule import DRAIN, HOLD, SUSPECT, Decision, Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batching.call import Call
    from batching.capacity import Capacity
    from batching.clock import Clock
    from batching.limits import Limits

log = logging.getLogger(__name__)

#: The thread that brought back a batch looks again after this share of the call's time (``IdleThreads.look_again_at``).
LOOK_AGAIN = 0.25
#: The reason of a decision to end calls that have waited for the end of an outage.
OUTAGE = "outage"


class BatchQueue:
    """A thread-safe queue of calls that gives out batches.

    Handler threads ``put`` and ``abandon``; batcher threads ``take``, ``deliver`` and ``settle``. A batch is made up
    only when a thread is there to send it, so while the upstream is busy the next batch grows. One lock guards the
    queue, its lanes, and every field of the calls inside (but the events).
    """

    def __init__(self, limits: Limits, capacity: Capacity, make_timing: Callable[[], Timing], clock: Clock) -> None:
        """``make_timing`` makes the timing object of a new lane."""
        self._capacity = capacity
        self._clock = clock
        # Re-entrant so that a test's clock may let a call arrive while this thread "waits".
        self._lock = threading.RLock()
        self._admission = Admission(limits, capacity)
        self._lanes = Lanes(make_timing, limits, capacity)
        self._in_flight = InFlight(self._lanes)
        self._endings = Endings(self._admission, self._lanes, capacity)
        self._idle = IdleThreads(self._lock, clock)
        self._turns = Turns()
        self._draining = False
        capacity.on_change(self._on_capacity)

    def __repr__(self) -> str:
        state = "closed" if self._admission.is_closed else "draining" if self._draining else "open"
        return (
            f"<BatchQueue {state}: {self.calls} calls, {self.queued_items} items waiting, "
            f"{self.in_flight_items} in {self.in_flight} batches, {self._lanes}>"
        )

    @property
    def calls(self) -> int:
        """Calls that have not ended."""
        return self._admission.calls

    @property
    def queued_items(self) -> int:
        """Items that wait for a batch."""
        return self._admission.queued_items

    @property
    def in_flight(self) -> int:
        """Batches upstream at present."""
        return len(self._in_flight.batches)

    @property
    def in_flight_items(self) -> int:
        """Items upstream at present."""
        return self._in_flight.items

    # ---- handler threads ------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Queue all items of the call or none of them; never blocks.

        Raises ``Overloaded`` beyond the limits, ``ShuttingDown`` once closed, ``UpstreamOverloaded`` if the upstream
        has asked for a pause that ends after the call's deadline, and ``NoUpstream`` in an outage for whose end calls
        do not wait any more.
        """
        with self._lock:
            call.arrived = now = self._clock.now()
            self._admission.admit(call, now)
            lane = self._lanes.open(call.key)
            if (in_flight := lane.in_flight) is not None and in_flight.has_any(call.items):
                self._admission.queued_items -= join(call, in_flight)
                if call.is_emptied:
                    self._lanes.close_if_empty(lane)
                    return
            rank = call.rank
            if rank is ORDINARY:  # what `enter` does with such a call, on the way of every request
                lane.append(call)
                lane.seen.at = now
            else:
                lane.enter(call)
            if rank is ORDINARY or not rank.is_bulk:
                lane.timing.arrived(lane, call.waiting if call.taken else len(call.items), now)
            if self._has_room(lane):
                self._idle.alert(self._decide(lane, now).due)

    def abandon(self, call: Call, error: ProxyError) -> bool:
        """End a call whose waiter gives up; its waiting items are never sent. False if it has ended already."""
        with self._lock:
            if call.done:
                return False
            waited = not call.is_emptied
            self._endings.drop(call, error)
            call.event.set()
            if waited:  # what waited behind it may be due sooner
                self._idle.alert(self._next(self._clock.now())[1].due)
            return True

    def admit_guest(self) -> None:
        """Count in a request that goes upstream beside the queue; raises ``Overloaded`` and ``ShuttingDown``."""
        with self._lock:
            self._admission.admit_guest()

    def guest_left(self) -> None:
        """Count out a request that ``admit_guest`` has counted in."""
        with self._lock:
            self._admission.guest_left()

    # ---- batcher threads ------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """Block until a batch is due and return it; None once closed and drained."""
        with self._lock:
            while True:
                now = self._clock.now()
                lane, decision = self._next(now)
                if lane is not None and decision.due <= now:
                    if decision.reason == OUTAGE:
                        self._drop_hopeless(now)
                    elif batch := self._form(lane, decision.reason, now):
                        self._idle.alert(self._next(now)[1].due)
                        return batch
                elif self._admission.is_closed and not self.queued_items:
                    self._idle.alert(NOW)  # the other idle threads have nothing to wait for either
                    return None
                else:
                    self._idle.wait(decision.due, now)

    def settle(self, batch: Batch, outcomes: Outcomes) -> list[Call]:
        """End the batch; return the calls that ended, for the caller to wake (``relay.wake``) outside the lock.

        A call of several items ends with the first error that concerns it. Where all that concern it are ``Again`` its
        items wait again instead, if it has the time. A batch that has been settled already (its thread was given up
        for dead) changes nothing.
        """
        with self._lock:
            if batch not in self._in_flight.batches:
                return []
            now = self._clock.now()
            self._in_flight.remove(batch)
            ended = self._endings.settle_batch(batch, outcomes, now)
            relay.link(ended)
            self._learn(batch, outcomes, now)
            if len(batch.items) > 1:
                self._idle.look_again_at(now + LOOK_AGAIN * (now - batch.taken_at))
            # The thread that settles goes on to `take`, so no other needs waking.
            return ended

    def deliver(self, batch: Batch, first: int, results: list[Result], source: Source = UNKNOWN) -> list[Call]:
        """Hand out results of a batch that has not ended: those of its items from position ``first`` on.

        Only calls that are complete with them get theirs; ``settle`` brings the rest, and needs these again. Return
        the calls that ended, for the caller to wake.
        """
        with self._lock:
            if batch not in self._in_flight.batches:
                return []
            now = self._clock.now()
            ended = self._endings.deliver(batch, first, results, now, source)
            relay.link(ended)
            return ended

    # ---- life and death -------------------------------------------------------------------------

    def drain(self) -> None:
        """From now on send what waits without delay; go on admitting calls."""
        with self._lock:
            self._draining = True
            self._idle.alert(NOW)

    def close(self) -> None:
        """Admit nothing more, send what waits without delay, then let ``take`` return None."""
        with self._lock:
            self._admission.is_closed = self._draining = True
            self._idle.release_all()

    def fail_orphans(self, living: Iterable[int]) -> list[Batch]:
        """Fail the batches whose threads are not among ``living`` (thread identities); return them."""
        with self._lock:
            orphans = self._in_flight.orphans(set(living))
            error = BatcherDied("the thread that served this batch died; try again", retry_after=1)
            for batch in orphans:
                for call in self.settle(batch, Outcomes.failed(error, len(batch.items))):
                    call.event.set()
            self._idle.alert(self._next(self._clock.now())[1].due)
            return orphans

    def reject_all(self) -> int:
        """Fail every call that has not ended; return how many there were."""
        with self._lock:
            error = ShuttingDown("the service stopped before this request was served", retry_after=1)
            calls = [call for lane in self._lanes for call in lane.all_calls]
            for batch in self._in_flight.batches:
                calls += [part.call for part in batch.parts]
                calls += [shared.part.call for shared in batch.shared]
            return sum(self.abandon(call, error) for call in calls)

    # ---- which batch is due (all below with the lock held) --------------------------------------

    def _decide(self, lane: Lane, now: float) -> Decision:
        """Say when the lane's next batch is due: 1. not before there is a slot, 2. then at once or by the rule."""
        if len(self._in_flight.batches) >= self._capacity.batches(now):
            rise = self._capacity.next_rise(now)
            if (outage := self._capacity.outage) is not None and outage.ends_at < rise:
                # Where a batch has left through a probe's slot, its end decides.
                return HOLD if self._capacity.batches(now) > outage.under_way else Decision(outage.ends_at, OUTAGE)
            return HOLD if rise == NEVER else Decision(rise, HOLD.reason)
        if self._draining:
            return DRAIN
        if lane.starts_with_suspect:
            return SUSPECT
        in_flight = len(self._in_flight.batches)
        if lane.bulk is None and lane.demands is None and lane.pressing == NEVER:  # nearly always
            return lane.timing.decide(lane, in_flight, now)
        return decide(lane, in_flight, now)

    def _has_room(self, lane: Lane) -> bool:
        """Whether the upstream has permits left for the lane's next batch; a batch alone is always let through."""
        in_flight, most = self._in_flight.items, self._capacity.items
        if not in_flight or in_flight + self._admission.queued_items <= most:  # nearly always
            return True
        return in_flight + (1 if lane.starts_with_suspect else min(lane.all_waiting, lane.most_items)) <= most

    def _next(self, now: float) -> tuple[Lane | None, Decision]:
        """Say which lane's batch leaves next, and when."""
        best, first = self._turns.first(self._lanes, self._decide, now)
        if best is not None and first.reason != OUTAGE and not self._has_room(best):
            # The others wait too: small batches that slip past would keep a large one out for ever.
            return best, HOLD
        return best, first

    def _on_capacity(self) -> None:
        """Obey a change of the capacity at once: what waits may fill a smaller batch, or leave through a new slot."""
        with self._lock:
            now = self._clock.now()
            for lane in self._lanes:
                lane.resize(0, 0)
            self._drop_hopeless(now)
            self._idle.alert(self._next(now)[1].due)

    def _drop_hopeless(self, now: float) -> None:
        """End the waiting calls that wait for the upstreams in vain."""
        for lane in list(self._lanes):
            for call in lane.all_calls:
                if not call.done and (hopeless := self._admission.hopeless(call, now)) is not None:
                    self._endings.drop(call, hopeless)
                    call.event.set()

    # ---- taking a batch out of its lane ---------------------------------------------------------

    def _form(self, lane: Lane, reason: str, now: float) -> Batch | None:
        """Take the batch out of the lane; None if every waiting call had expired or its client had disconnected."""
        # Where more waits than can go, no place is given to a call that cannot be answered in time any more: in a
        # standing queue the oldest always come first, and each answer would come too late.
        in_time = now + lane.latency if lane.all_waiting > lane.most_items else now
        composed = make_up(lane, now, loss_at(now, in_time))
        batch = Batch(lane.key, reason, now)
        batch.owner = threading.get_ident()
        batch.is_suspect = composed.is_suspect
        for part in composed.parts:
            batch.add(part)
        for shared in composed.shared:
            batch.share(*shared)
        for part, under_way in composed.joined:
            under_way.share_equal(part)
        self._admission.queued_items -= take_out(lane, composed, batch)
        for call, error in composed.lost:
            self._endings.drop(call, error)
            call.event.set()
        self._lanes.close_if_empty(lane)
        if not batch.items:
            return None
        self._turns.left(lane, batch, self._lanes)
        beside = len(self._in_flight.batches)
        self._in_flight.add(batch)
        if lane.in_flight is not None:
            lane.in_flight.left(batch)
        lane.timing.sent(lane, batch, len(batch.items), beside, now)
        return batch

    def _learn(self, batch: Batch, outcomes: Outcomes, now: float) -> None:
        lane = self._lanes.find(batch.key)
        if lane is not None:
            if lane.in_flight is not None:
                lane.in_flight.ended(batch)
            ok = outcomes.error is None and batch.is_measurable
            if ok:
                lane.learn_latency(now - batch.taken_at)
            lane.rejections.add(outcomes.rejected, outcomes.judged)
            lane.resize(0, 0)
            try:
                lane.timing.completed(lane, batch, now, ok=ok)
            except Exception:  # what a rule makes of an answer must not cost the clients the answer
                log.exception("the timing rule failed")
        self._lanes.forget_idle()
