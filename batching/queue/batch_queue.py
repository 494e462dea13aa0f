"""Holds waiting calls, admits or refuses them, and says which batch is due; batcher threads block on it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from batching import relay
from batching.call import Batch, BatchKey, Call, Item, Part
from batching.clock import NEVER, NOW
from batching.errors import (
    BatcherDied,
    ClientGone,
    DeadlineExceeded,
    Hopeless,
    Overloaded,
    ProxyError,
    ShuttingDown,
    Unjudged,
    Unresolved,
    UpstreamRejected,
)
from batching.isolation.bisection import group_size
from batching.queue.padding import by_age, by_likeness
from batching.timing.rule import DRAIN, HOLD, Decision, Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from batching.clock import Clock

log = logging.getLogger(__name__)

#: Only calls that waited this long (s) are asked whether their client is still there: a system call each,
#: made under the lock, which would cost more than it saves where nobody waits.
HANGUP_CHECK_AFTER = 0.05
#: Ended calls that a lane may hold on to in any case, before it is worth clearing them out.
FEW_ENDED = 16

#: Weight of the newest item in the average share of refused items, and the share that counts as none.
GUILT_WEIGHT, NO_GUILT = 0.01, 0.0005
#: Innocent items that this average begins with.
THOUGHT_INNOCENT = 32

#: Weight of the newest batch in the average time from taking a batch to its end.
LATENCY_WEIGHT = 0.2

#: A crowd returns one by one, and each makes the next batch due somewhat sooner: a thread that looks after this share
#: of the last call's time need not be woken for each of them, only when the batch is due at once.
LOOK_AGAIN = 0.25

#: Lanes remembered for what their timing has learned; clients choose keys, so their number has to end.
MAX_IDLE_LANES = 64


@dataclass
class Limits:
    """The bounds of admission and of a batch. Mutable: the upstream may turn out to allow less."""

    max_batch_size: int
    max_batch_bytes: int
    max_calls: int
    max_queued_items: int
    max_inflight_batches: int
    #: Items that the upstream takes at once over all batches (its permits).
    max_inflight_items: int = 1_000_000
    #: Bytes of a batch, counted as items x the longest, for an upstream that pads; 0 where it does not.
    max_padded_bytes: int = 0
    #: Seconds after which nobody is passed over any more for others of a more suitable length.
    max_wait: float = NEVER


class Lane:
    """The waiting calls of one key, oldest first, with the timing object that learned their manners."""

    __slots__ = (
        "calls",
        "guilty_share",
        "in_flight_items",
        "is_full",
        "judged",
        "key",
        "latency",
        "oldest",
        "timing",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, key: BatchKey, timing: Timing) -> None:
        self.key = key
        self.timing = timing
        self.calls: deque[Call] = deque()
        self.waiting = 0
        self.waiting_bytes = 0
        self.is_full = False
        self.oldest = NEVER
        self.in_flight_items = 0
        #: Moving average of the seconds that a batch takes; 0 before the first.
        self.latency = 0.0
        #: Moving average of the share of items that the upstream refused, and over how many it was taken.
        self.guilty_share = 0.0
        self.judged = THOUGHT_INNOCENT


class _IdleThread:
    """A batcher thread that waits for work, and the moment it will wake by itself."""

    __slots__ = ("condition", "due")

    def __init__(self, lock: threading.RLock, due: float) -> None:
        self.condition = threading.Condition(lock)
        self.due = due


class BatchQueue:
    """A thread-safe queue of calls that gives out batches.

    Handler threads ``put`` and ``abandon``; batcher threads ``take`` and ``settle``. A batch is made up
    only when a thread is there to send it, so while the upstream is busy the next batch grows. Whoever
    changes the state works out when the next batch is due and wakes one idle thread only if none would
    wake in time by itself: 32 arrivals wake a batcher once, not 32 times.
    """

    def __init__(self, limits: Limits, timing: Callable[[], Timing], clock: Clock) -> None:
        """``timing`` makes the timing object of a new lane."""
        self.limits = limits
        self._timing = timing
        self._clock = clock
        # The lock guards all that follows, and every field of the calls and lanes inside (but the events).
        # It is re-entrant so that a test's clock may let a call arrive while this thread "waits".
        self._lock = threading.RLock()
        self._lanes: OrderedDict[BatchKey, Lane] = OrderedDict()
        self._busy: dict[BatchKey, Lane] = {}
        self._batches: set[Batch] = set()
        self._idle: list[_IdleThread] = []
        #: When the first idle thread wakes by itself; ``NEVER`` while none keeps the time.
        self._armed = NEVER
        #: When the thread that brought back a crowd's answers looks again, though nothing may be due by then.
        self._next_look = NEVER
        self._draining = False
        self._closed = False
        self.calls = 0
        self.queued_items = 0
        self.in_flight_items = 0

    # ---- handler threads ------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Queue all items of the call or none of them; never blocks.

        Raises ``Overloaded`` beyond the limits and ``ShuttingDown`` once closed.
        """
        count = call.missing
        with self._lock:
            if self._closed:
                raise ShuttingDown("the service is shutting down", retry_after=1)
            if self.calls >= self.limits.max_calls:
                raise Overloaded(f"{self.calls} requests are being served, no more are taken", retry_after=1)
            if self.queued_items + count > self.limits.max_queued_items:
                raise Overloaded(
                    f"{self.queued_items} inputs are waiting, {count} more would exceed the limit", retry_after=1
                )
            call.arrived = now = self._clock.now()
            self.calls += 1
            lane = self._busy.get(call.key) or self._open(call.key)
            if not lane.calls:
                lane.oldest = now
            lane.calls.append(call)
            self.queued_items += count
            self._resize(lane, count, sum(map(len, call.items)))
            lane.timing.arrived(lane, count, now)
            if self._has_room(lane):
                self._alert(self._decide(lane, now).due)

    def abandon(self, call: Call, error: ProxyError) -> bool:
        """End a call whose waiter gives up; its waiting items are never sent. False if it has ended already."""
        with self._lock:
            if call.done:
                return False
            self._drop(call, error)
            return True

    # ---- batcher threads ------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """Block until a batch is due and return it; None once closed and drained."""
        with self._lock:
            while True:
                now = self._clock.now()
                lane, decision = self._next(now)
                if lane is not None and decision.due <= now:
                    if batch := self._form(lane, decision.reason, now):
                        self._alert(self._next(now)[1].due)
                        return batch
                elif self._closed and not self.queued_items:
                    self._alert(NOW)  # the others that idle have nothing to wait for either
                    return None
                else:
                    look, self._next_look = self._next_look, NEVER
                    self._wait(min(decision.due, look) if look > now else decision.due, now)

    def settle(
        self,
        batch: Batch,
        results: list[bytes] | None,
        error: ProxyError | None,
        errors: Mapping[int, ProxyError] = MappingProxyType({}),
    ) -> list[Call]:
        """End the batch with one result per item, or with ``error`` for all; return the calls that ended.

        With results, ``errors`` holds those of single items, by their position; a call of several items ends with
        the first that concerns it. Where all that concern it are ``Unjudged`` it waits again instead, if it has the
        time. The caller wakes those that ended (``relay.wake``), outside the lock. A batch that has been settled
        already (its thread was given up for dead) changes nothing.
        """
        with self._lock:
            if batch not in self._batches:
                return []
            now = self._clock.now()
            self._batches.remove(batch)
            self._count_back(batch)
            ended: list[Call] = []
            position = 0
            for part in batch.parts:
                call, start, stop = part
                count = stop - start
                if not call.done:
                    if errors and (
                        own := {at: errors[position + at] for at in range(count) if position + at in errors}
                    ):
                        self._fail(part, own, (results or [])[position : position + count], now)
                    elif results is not None:
                        self._deliver(call, start, results[position : position + count])
                    else:
                        self._drop(call, error or ProxyError("the batch ended without a result"), wake=False)
                    if call.done:
                        _sign(call, batch, now)
                        ended.append(call)
                position += count
            relay.link(ended)
            self._learn(batch, now, error, errors.values())
            if len(batch.items) > 1:
                self._next_look = now + LOOK_AGAIN * (now - batch.taken_at)
            # The thread that settles goes on to `take`, so nobody else needs waking.
            return ended

    def deliver(self, batch: Batch, first: int, results: list[bytes]) -> list[Call]:
        """Hand out results of a batch that has not ended: those of its items from position ``first`` on.

        Only calls that are complete with them get theirs; ``settle`` brings the rest, and needs these again. Return
        the calls that ended, for the caller to wake.
        """
        with self._lock:
            if batch not in self._batches:
                return []
            now = self._clock.now()
            ended: list[Call] = []
            position = 0
            for call, start, stop in batch.parts:
                count = stop - start
                at = position - first
                if at >= 0 and at + count <= len(results) and count == call.missing and not call.done:
                    self._deliver(call, start, results[at : at + count])
                    _sign(call, batch, now)
                    ended.append(call)
                position += count
            relay.link(ended)
            return ended

    def _count_back(self, batch: Batch) -> None:
        self.in_flight_items -= len(batch.items)
        if (lane := self._lanes.get(batch.key)) is not None:
            lane.in_flight_items -= len(batch.items)

    def _learn(self, batch: Batch, now: float, error: ProxyError | None, errors: Collection[ProxyError]) -> None:
        lane = self._lanes.get(batch.key)
        if lane is not None:
            ok = error is None and batch.smooth
            if ok:
                seconds = now - batch.taken_at
                lane.latency += LATENCY_WEIGHT * (seconds - lane.latency) if lane.latency else seconds
            refused = isinstance(error, UpstreamRejected)
            if refused or errors or lane.guilty_share:
                guilty, judged = _judged(errors, len(batch.items))
                # A refused batch of which all are clean by themselves was too large: that too asks for smaller ones.
                self._learn_guilt(lane, max(guilty, 1) if refused else guilty, judged)
            try:
                lane.timing.completed(lane, batch, now, ok=ok)
            except Exception:  # what a rule makes of an answer must not cost the clients the answer
                log.exception("the timing rule failed")
        self._forget_idle_lanes()

    def _learn_guilt(self, lane: Lane, guilty: int, judged: int) -> None:
        """Where many inputs are refused, batches are smaller: less is refused with them, and less is searched."""
        if judged:
            # First the average of all, so that a flood is known by its first few; once they are many, of the newest.
            weight = max(1.0 - (1.0 - GUILT_WEIGHT) ** judged, judged / (lane.judged + judged))
            lane.judged += judged
            lane.guilty_share += weight * (guilty / judged - lane.guilty_share)
        if lane.guilty_share < NO_GUILT:
            lane.guilty_share, lane.judged = 0.0, THOUGHT_INNOCENT
        self._resize(lane, 0, 0)

    # ---- life and death -------------------------------------------------------------------------

    def drain(self) -> None:
        """From now on send whatever waits without delay; go on admitting calls."""
        with self._lock:
            self._draining = True
            self._alert(NOW)

    def close(self) -> None:
        """Admit nothing more, send what waits without delay, then let ``take`` return None."""
        with self._lock:
            self._closed = self._draining = True
            for thread in self._idle:
                thread.condition.notify()
            self._idle.clear()
            self._armed = NEVER

    def fail_orphans(self, living: Iterable[int]) -> list[Batch]:
        """Fail the batches whose threads are not among ``living`` (thread identities); return them."""
        with self._lock:
            alive = set(living)
            orphans = [batch for batch in self._batches if batch.owner not in alive]
            error = BatcherDied("the thread that served this batch died; try again", retry_after=1)
            for batch in orphans:
                for call in self.settle(batch, None, error):
                    call.event.set()
            self._alert(self._next(self._clock.now())[1].due)
            return orphans

    def reject_all(self) -> int:
        """Fail every call that has not ended; return how many there were."""
        with self._lock:
            error = ShuttingDown("the service stopped before this request was served", retry_after=1)
            calls = [call for lane in self._busy.values() for call in lane.calls]
            calls += [part.call for batch in self._batches for part in batch.parts]
            rejected = 0
            for call in calls:
                rejected += self.abandon(call, error)
            return rejected

    @property
    def in_flight(self) -> int:
        """Batches upstream at present."""
        return len(self._batches)

    # ---- all below with the lock held -----------------------------------------------------------

    def _open(self, key: BatchKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._timing())
        self._busy[key] = lane
        self._forget_idle_lanes()
        return lane

    def _forget_idle_lanes(self) -> None:
        """Keep what idle lanes have learned, but of no more than ``MAX_IDLE_LANES``: the longest idle go first."""
        while len(self._lanes) > MAX_IDLE_LANES:
            idle = (key for key, lane in self._lanes.items() if key not in self._busy and not lane.in_flight_items)
            key = next(idle, None)
            if key is None:
                return
            del self._lanes[key]

    def _resize(self, lane: Lane, items: int, size: int) -> None:
        """Count items and bytes in or out of a lane."""
        lane.waiting += items
        lane.waiting_bytes += size
        lane.is_full = lane.waiting >= self._most_items(lane) or lane.waiting_bytes >= self.limits.max_batch_bytes

    def _most_items(self, lane: Lane) -> int:
        if lane.key.alone:
            return 1
        most = self.limits.max_batch_size
        return group_size(lane.guilty_share, most) if lane.guilty_share else most

    def _decide(self, lane: Lane, now: float) -> Decision:
        if len(self._batches) >= self.limits.max_inflight_batches:
            return HOLD
        if self._draining:
            return DRAIN
        return lane.timing.decide(lane, len(self._batches), now)

    def _has_room(self, lane: Lane) -> bool:
        """Whether the upstream has permits left for the lane's next batch; a batch alone is always let through."""
        next_size = min(lane.waiting, self._most_items(lane))
        return not self.in_flight_items or self.in_flight_items + next_size <= self.limits.max_inflight_items

    def _next(self, now: float) -> tuple[Lane | None, Decision]:
        """Say which lane is due first; among those due already, the one whose head has waited longest."""
        best: Lane | None = None
        first = HOLD
        for lane in self._busy.values():
            decision = self._decide(lane, now)
            if best is None or (max(decision.due, now), lane.oldest) < (max(first.due, now), best.oldest):
                best, first = lane, decision
        if best is not None and not self._has_room(best):
            # The others wait too: small batches that slip past would keep a large one out for ever.
            return best, HOLD
        return best, first

    def _wait(self, due: float, now: float) -> None:
        """Sleep until woken, or until ``due`` unless another idle thread keeps that time already."""
        thread = _IdleThread(self._lock, due if due < self._armed else NEVER)
        self._armed = min(self._armed, due)
        self._idle.append(thread)
        try:
            self._clock.wait(thread.condition, None if thread.due == NEVER else thread.due - now)
        finally:  # a thread that dies here must not be the one that is woken
            if thread in self._idle:
                self._idle.remove(thread)
            self._armed = min((other.due for other in self._idle), default=NEVER)

    def _alert(self, due: float) -> None:
        """See to it that an idle thread looks again by ``due``; busy ones look when they come back."""
        if due < self._armed and self._idle:
            self._idle.pop().condition.notify()
            self._armed = due

    def _form(self, lane: Lane, reason: str, now: float) -> Batch | None:
        """Take the batch out of the lane; None if all that waited there had lost its readers."""
        batch = Batch(lane.key, reason, now)
        most = self._most_items(lane)  # read once: the monitor may change it meanwhile
        # Where more wait than can go, a place is not wasted on those who cannot be answered in time any more: in a
        # standing queue the oldest always come first, and each answer would come too late.
        in_time = now + lane.latency if lane.waiting > most else now
        size = 0
        chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) > 1 and self._has_choice(lane, most)
        if chooses:
            lane.calls = deque(by_likeness(lane.calls, now - self.limits.max_wait))
        while lane.calls and len(batch.items) < most:
            call = lane.calls[0]
            if call.done or self._has_no_reader(call, now, in_time):
                if lane.calls and lane.calls[0] is call:
                    lane.calls.popleft()
                continue
            stop, taken_bytes = self._share(call, batch.items, most - len(batch.items), size)
            if stop == call.taken:
                break
            batch.add(call, stop)
            self.queued_items -= stop - call.taken
            self._resize(lane, call.taken - stop, -taken_bytes)
            size += taken_bytes
            call.taken = stop
            if stop == len(call.items):
                lane.calls.popleft()
        if chooses:
            lane.calls = deque(by_age(lane.calls))
        self._close_gap(lane)
        if not batch.items:
            return None
        self._depart(batch, lane, now)
        return batch

    def _has_choice(self, lane: Lane, most: int) -> bool:
        """Whether more wait than fit, if each were as long as the average."""
        return lane.waiting > most or lane.waiting_bytes > self.limits.max_padded_bytes

    def _share(self, call: Call, beside: Sequence[Item], room: int, size: int) -> tuple[int, int]:
        """Say up to which item of the call fits beside others of ``size`` bytes, and how many bytes that adds."""
        added = 0
        stop = call.taken
        padded = self.limits.max_padded_bytes
        longest = max(map(len, beside), default=0) if padded else 0
        for item in call.items[call.taken : call.taken + room]:
            # An item that is too large for any batch travels alone: the upstream may judge it.
            if size + added and size + added + len(item) > self.limits.max_batch_bytes:
                break
            if padded:
                longest = max(longest, len(item))
                count = len(beside) + stop - call.taken
                if count and (count + 1) * longest > padded:
                    break
            added += len(item)
            stop += 1
        return stop, added

    def _depart(self, batch: Batch, lane: Lane, now: float) -> None:
        beside = len(self._batches)
        self._batches.add(batch)
        self.in_flight_items += len(batch.items)
        lane.in_flight_items += len(batch.items)
        lane.timing.sent(lane, batch, len(batch.items), beside, now)

    def _has_no_reader(self, call: Call, now: float, in_time: float) -> bool:
        """Whether nobody will be there to read this call's answer, which comes ``in_time``; if so it is ended here."""
        if call.deadline <= now:
            self._drop(call, DeadlineExceeded("the deadline passed while the request was waiting"))
        elif call.deadline < in_time:
            self._drop(call, Hopeless("too many wait for this request to be answered before its deadline"))
        elif call.is_gone is not None and now - call.arrived >= HANGUP_CHECK_AFTER and call.is_gone():
            self._drop(call, ClientGone("the client closed the connection while its request was waiting"))
        return call.done

    def _deliver(self, call: Call, start: int, results: list[bytes]) -> None:
        if len(results) == len(call.items):
            call.results = results
        else:
            if not call.results:
                call.results = [b""] * len(call.items)
            call.results[start : start + len(results)] = results
        call.missing -= len(results)
        if not call.missing:
            self._end(call)

    def _drop(self, call: Call, error: ProxyError, *, wake: bool = True) -> None:
        """End a call with an error and take what is still waiting of it out of its lane's counts."""
        call.error = error
        self._end(call)
        waiting = len(call.items) - call.taken
        if waiting:
            lane = self._busy[call.key]
            self.queued_items -= waiting
            self._resize(lane, -waiting, -sum(map(len, call.items[call.taken :])))
            if len(lane.calls) > 2 * lane.waiting + FEW_ENDED:
                # More than half have ended behind one that lives, and would hold on to their inputs.
                lane.calls = deque(each for each in lane.calls if not each.done)
            self._close_gap(lane)
        if wake:
            call.event.set()

    def _fail(self, part: Part, errors: Mapping[int, ProxyError], results: list[bytes], now: float) -> None:
        """End a call with the first error of its items, or let it wait again if nothing is known of them.

        ``errors`` and ``results`` are those of the part's items, by their position in it.
        """
        call, start, stop = part
        known = next((error for error in errors.values() if not isinstance(error, Unjudged)), None)
        has_time = now + self._lanes[call.key].latency < call.deadline
        if known is None and stop == len(call.items) and has_time:
            first = min(errors)
            self._deliver(call, start, results[:first])
            self._return(call, start + first, now)
        else:
            self._drop(call, known or errors[min(errors)], wake=False)

    def _return(self, call: Call, first: int, now: float) -> None:
        """Let the items of the call from ``first`` on wait again, in front of all that came later."""
        call.taken = first
        count = len(call.items) - first
        lane = self._busy.get(call.key) or self._open(call.key)
        lane.calls = deque(by_age([*lane.calls, call]))
        lane.oldest = lane.calls[0].arrived
        self.queued_items += count
        self._resize(lane, count, sum(map(len, call.items[first:])))
        lane.timing.arrived(lane, count, now)

    def _end(self, call: Call) -> None:
        call.done = True
        self.calls -= 1

    def _close_gap(self, lane: Lane) -> None:
        """Keep a living call at the head of the lane, and the lane among the busy ones only while it has any."""
        while lane.calls and lane.calls[0].done:
            lane.calls.popleft()
        if lane.calls:
            lane.oldest = lane.calls[0].arrived
        else:
            lane.oldest = NEVER
            self._busy.pop(lane.key, None)
            self._lanes.move_to_end(lane.key)


def _judged(errors: Collection[ProxyError], size: int) -> tuple[int, int]:
    """Count the items of a batch that were refused, or left in doubt by too many refusals, and all that were judged."""
    unjudged = sum(isinstance(each, Unjudged) for each in errors)
    refused = sum(isinstance(each, UpstreamRejected) for each in errors)
    doubtful = sum(isinstance(each, Unresolved) for each in errors) - unjudged
    # Not those whose upstream failed, nor those whom nobody was asked about for that reason.
    guilty = refused + (doubtful if refused + doubtful + unjudged == len(errors) else 0)
    return guilty, size - unjudged


def _sign(call: Call, batch: Batch, now: float) -> None:
    """Tell the call about the batch that ended it."""
    call.batch_size = len(batch.items)
    call.reason = batch.reason
    call.queue_delay = batch.taken_at - call.arrived
    call.inference_time = now - batch.taken_at
