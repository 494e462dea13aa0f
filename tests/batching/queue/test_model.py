"""Whatever happens to the queue, in whatever order, it agrees with a simple model and ends every call once."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching import Batch, BatchKey, Call, Capacity, Options, Outcomes, Task
from batching.capacity import Outage, Slots
from batching.clock import NEVER, NOW
from batching.errors import (
    ClientGone,
    DeadlineExceeded,
    NoUpstream,
    Overloaded,
    ProxyError,
    ShuttingDown,
    UpstreamError,
    UpstreamOverloaded,
)
from batching.outcomes import Again
from batching.queue.loss import HANGUP_CHECK_AFTER
from tests.batching.queue.steps import REFUSAL, UNTESTED, lanes_of
from tests.support.fakes import Deadlock, FakeClock, queue_of, results_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching import Result
    from batching.call import Part

KEYS = [BatchKey(Task.EMBED, Options(dimensions=number)) for number in range(3)]
MAX_WAIT = 0.1
BATCH_SIZE, BATCH_BYTES, CALLS, QUEUED, SLOTS, PERMITS = 4, 60, 8, 14, 3, 7
BUSY = UpstreamOverloaded("too much", retry_after=1)
#: What may become of an item that has no result.
NO_RESULTS = (REFUSAL, Again(UNTESTED), Again(BUSY, "overloaded"), Again(BUSY, "failed", alone=True))
NO_UPSTREAM = NoUpstream("down")


class CountingEvent(threading.Event):
    """Counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


class QueueMachine(RuleBasedStateMachine):
    """Handler threads, batcher threads, upstreams whose capacity changes, and time, one step after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.capacity = Capacity(batches=SLOTS, batch_size=BATCH_SIZE, items=PERMITS)
        self.queue = queue_of(
            self.clock,
            capacity=self.capacity,
            max_batch_bytes=BATCH_BYTES,
            max_calls=CALLS,
            max_queued_items=QUEUED,
        )
        self.numbers = itertools.count()
        self.calls: list[Call] = []
        #: Positions of the items that wait, and of those that were sent again for a reason.
        self.waits: dict[Call, set[int]] = {}
        self.retried: dict[Call, set[int]] = {}
        #: Positions of the items that travel by themselves.
        self.alone: dict[Call, set[int]] = {}
        self.flights: list[Batch] = []
        self.gone: set[Call] = set()
        self.closed = self.draining = False
        #: The model's own idea of the capacity.
        self.slots: list[Slots] = [Slots(NOW, SLOTS)]
        self.full_batch_size, self.permits = BATCH_SIZE, PERMITS
        #: Until when calls wait for the end of an outage; None without one.
        self.outage: float | None = None
        self.under_way = 0

    # ---- what the model knows ---------------------------------------------------------------

    @property
    def living(self) -> list[Call]:
        return [call for call in self.calls if not call.done]

    def waiting(self, key: BatchKey | None = None) -> list[Call]:
        """Living calls with items in the queue, oldest first."""
        return [call for call in self.living if self.waits[call] and key in {None, call.key}]

    def is_lost(self, call: Call) -> bool:
        """Whether the queue has to notice that no client reads this call's answer."""
        waited = self.clock.now() - call.arrived
        return call.deadline <= self.clock.now() or (call in self.gone and waited >= HANGUP_CHECK_AFTER)

    def slots_at(self, moment: float) -> int:
        return sum(slots.batches for slots in self.slots if slots.start <= moment)

    def free_from(self, in_flight: int) -> float:
        """Return from when on a batch may leave beside so many others, if nothing else happens."""
        now = self.clock.now()
        moments = [now, *sorted(slots.start for slots in self.slots if slots.start > now)]
        return next((moment for moment in moments if self.slots_at(moment) > in_flight), NEVER)

    @property
    def batch_size(self) -> int:
        """Items of a batch at most: in an outage one tries the upstream."""
        return self.full_batch_size if self.outage is None else 1

    def hopeless(self, call: Call) -> type[ProxyError] | None:
        """Return what ends a call that waits now for the upstreams in vain."""
        now = self.clock.now()
        if self.outage is not None:
            may_try = self.slots_at(now) > self.under_way
            return None if may_try or self.outage > now else NoUpstream
        opens_at = self.free_from(0)
        return UpstreamOverloaded if now < opens_at < NEVER and opens_at >= call.deadline else None

    def latency(self, key: BatchKey) -> float:
        lane = lanes_of(self.queue).find(key)
        return lane.latency if lane else 0.0

    # ---- handler threads --------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS),
        sizes=st.lists(st.sampled_from([2, 10, 25, 70]), min_size=1, max_size=6),
        time_left=st.sampled_from([0.03, 0.25, 5.0]),
        suspects=st.one_of(st.just(frozenset[int]()), st.frozensets(st.integers(0, 5))),
    )
    def put(self, key: BatchKey, sizes: list[int], time_left: float, suspects: frozenset[int]) -> None:
        self.clock.time += 1e-6  # so that no two calls are of the same age
        items = [f"{next(self.numbers)}".encode().ljust(size, b" ") for size in sizes]
        call = Call(items, key, self.clock.now() + time_left)
        call.suspects = frozenset(position for position in suspects if position < len(items))
        call.is_gone = lambda: call in self.gone
        call.event = CountingEvent()
        queued = sum(len(self.waits[call]) for call in self.waiting())
        if self.closed:
            refusal: type[ProxyError] | None = ShuttingDown
        elif len(self.living) >= CALLS or queued + len(items) > QUEUED:
            refusal = Overloaded
        else:
            refusal = self.hopeless(call)
        if refusal is None:
            self.queue.put(call)
            self.calls.append(call)
            self.waits[call], self.retried[call] = set(range(len(items))), set()
            self.alone[call] = set(call.suspects)
        else:
            with pytest.raises(refusal):
                self.queue.put(call)
            assert not call.event.is_set()

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.living))
        assert self.queue.abandon(call, DeadlineExceeded("too late"))
        assert not self.queue.abandon(call, DeadlineExceeded("too late"))

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        self.gone.add(data.draw(st.sampled_from(self.living)))

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.2]))
    def tick(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    # ---- the upstream side ------------------------------------------------------------------

    @rule(batch_size=st.sampled_from([1, 2, 3, BATCH_SIZE]))
    def change_batch_size(self, batch_size: int) -> None:
        before, self.full_batch_size = self.batch_size, batch_size
        self.change(is_new=self.batch_size != before, batch_size=batch_size)

    @rule(permits=st.sampled_from([2, 5, PERMITS]))
    def change_permits(self, permits: int) -> None:
        is_new, self.permits = self.permits != permits, permits
        self.change(is_new=is_new, items=permits)

    @rule(batches=st.integers(1, SLOTS))
    def change_slots(self, batches: int) -> None:
        self.change_capacity([Slots(NOW, batches)])

    @rule(at_once=st.integers(0, 2), later=st.integers(1, 2), seconds=st.sampled_from([0.05, 0.3, 2.0]))
    def pause(self, at_once: int, later: int, seconds: float) -> None:
        """An upstream asks to be left alone until a moment; another may go on, or batches may still be at the first."""
        self.change_capacity([Slots(NOW, at_once), Slots(self.clock.now() + seconds, later)])

    @rule(
        at_once=st.integers(0, 2),
        probe=st.sampled_from([None, 0.05, 0.3, 2.0]),
        lasts=st.sampled_from([NOW, 0.0, 0.1, 0.5, 3.0]),
    )
    def lose_all_upstreams(self, at_once: int, probe: float | None, lasts: float) -> None:
        """Calls wait so long, or only for a slot for the probe: one that there is, or one that opens in time."""
        now = self.clock.now()
        later = [] if probe is None else [Slots(now + probe, 1)]
        self.change_capacity([Slots(NOW, at_once), *later], outage=now + lasts)

    def change_capacity(self, slots: list[Slots], *, outage: float | None = None) -> None:
        under_way = min(self.queue.in_flight, sum(each.batches for each in slots if each.start == NOW))
        is_new = (slots, outage, under_way) != (self.slots, self.outage, self.under_way)
        self.slots, self.outage, self.under_way = slots, outage, under_way
        told = None if outage is None else Outage(outage, NO_UPSTREAM, under_way)
        self.change(is_new=is_new, slots=slots, outage=told)

    def change(self, *, is_new: bool, **figures: Any) -> None:
        """Calls that have no hope any more end at once, and no others."""
        waiting = self.waiting()
        self.capacity.change(**figures)
        for call in waiting:
            ends_with = self.hopeless(call) if is_new else None
            assert (None if call.error is None else type(call.error)) is ends_with
            assert call.done is (ends_with is not None)

    # ---- batcher threads --------------------------------------------------------------------

    @rule()
    def take(self) -> None:
        began = self.clock.now()
        heads = {key: self.waiting(key)[0] for key in KEYS if self.waiting(key)}
        free_from = self.free_from(len(self.flights))
        due = {key: self.due(call) for key, call in heads.items()}
        # A call whose deadline comes before its batch is due, or whose client has gone, may be dropped then.
        latest = [
            max(due[key], free_from)
            for key, call in heads.items()
            if call not in self.gone and call.deadline > max(due[key], free_from) + self.latency(key)
        ]
        try:
            batch = self.queue.take()
        except Deadlock:
            self.check_that_there_was_nothing_to_send()
            return
        if batch is None:
            assert self.closed
            assert not self.waiting()
            return
        self.flights.append(batch)
        self.check_bounds(batch)
        now = self.clock.now()
        # No call waits longer than that while a thread is free; a batch never leaves before there is a slot for it.
        assert free_from - 1e-9 <= now <= max(began, min(latest, default=now)) + 1e-9
        # Among those that were due, the one that had waited longest (a lost call may still count as the oldest).
        overdue = [call for key, call in heads.items() if due[key] <= began and not call.done]
        assert all(heads[batch.key].arrived <= call.arrived for call in overdue)
        self.check_parts(batch)

    def due(self, head: Call) -> float:
        """Return when the batch of a lane with this head is due at the latest."""
        if self.draining or min(self.waits[head]) in head.suspects:
            return self.clock.now()
        return head.arrived + MAX_WAIT

    def check_that_there_was_nothing_to_send(self) -> None:
        no_slot = self.slots_at(self.clock.now()) <= len(self.flights)
        no_permits = bool(self.flights) and self.queue.in_flight_items + self.batch_size > self.permits
        assert not self.waiting() or no_slot or no_permits

    def check_bounds(self, batch: Batch) -> None:
        assert 1 <= len(batch.items) <= self.batch_size
        assert len(batch.items) == 1 or sum(map(len, batch.items)) <= BATCH_BYTES
        assert len(self.flights) <= self.slots_at(self.clock.now())
        assert len(self.flights) == 1 or sum(len(each.items) for each in self.flights) <= self.permits

    def check_parts(self, batch: Batch) -> None:
        """Only living calls of one key, oldest first, and items that waited; a suspect only by itself."""
        assert batch.items == [item for call, start, stop, _ in batch.parts for item in call.items[start:stop]]
        order = [(part.call.arrived, part.start) for part in batch.parts]
        assert order == sorted(set(order))
        # The call that had waited longest moves on in any case, with its first waiting item.
        first = self.waiting(batch.key)[0]
        assert (batch.parts[0].call, batch.parts[0].start) == (first, min(self.waits[first]))
        for call, start, stop, reason in batch.parts:
            own = set(range(start, stop))
            assert call.key == batch.key
            assert not call.done
            assert not self.is_lost(call)
            assert own <= self.waits[call]
            assert own <= self.retried[call] if reason else not own & self.retried[call]
            assert batch.is_suspect is bool(call.suspects & own)
            self.waits[call] -= own
        assert batch.retry_reason == next((part.retry_reason for part in batch.parts if part.retry_reason), None)
        assert len(batch.items) == 1 or not batch.is_suspect

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_ok(self, data: st.DataObject) -> None:
        batch = self.land(data)
        complete = [part.call for part in batch.parts if not part.call.done]
        ended = self.queue.settle(batch, Outcomes.results(results_of(batch)))
        self.wake(ended)
        assert set(ended) <= set(complete)
        assert all(call.error is None for call in ended)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_error(self, data: st.DataObject) -> None:
        batch = self.land(data)
        alive = [part.call for part in batch.parts if not part.call.done]
        outcomes = Outcomes.failed(UpstreamError("boom"), len(batch.items))
        ended = self.queue.settle(batch, outcomes)
        assert ended == alive
        self.wake(ended)
        assert self.queue.settle(batch, outcomes) == []

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_refused(self, data: st.DataObject) -> None:
        """A search found some items bad and learned nothing of others, which wait again if their call can."""
        batch = self.land(data)
        told = [data.draw(st.sampled_from([None, *NO_RESULTS])) for _ in batch.items]
        self.settle_mixed(batch, told, REFUSAL)

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), again=st.sampled_from([Again(BUSY), Again(BUSY, "overloaded")]), seconds=st.just(0.3))
    def settle_paused(self, data: st.DataObject, again: Again, seconds: float) -> None:
        """The upstream asks for a pause: the capacity is changed, and then the whole batch goes back."""
        batch = self.land(data)
        self.change_capacity([Slots(NOW, len(self.flights)), Slots(self.clock.now() + seconds, SLOTS)])
        self.settle_mixed(batch, [again] * len(batch.items), BUSY)

    def settle_mixed(self, batch: Batch, told: Sequence[ProxyError | Again | None], error: ProxyError) -> None:
        """Settle a batch with results for those items of which nothing else is told, and compare with the model."""
        ends: list[tuple[Call, ProxyError | None]] = []
        ended_calls: set[Call] = set()
        missing = {part.call: part.call.missing for part in batch.parts}
        position = 0
        for part in batch.parts:
            call, start, stop, _ = part
            own = told[position : position + stop - start]
            position += stop - start
            if call.done or call in ended_calls:
                continue
            again = {start + at: each for at, each in enumerate(own) if isinstance(each, Again)}
            missing[call] -= len(own) - len(again)
            end: ProxyError | None = REFUSAL if REFUSAL in own else None
            if end is None and again and not self.may_go_again(part, first := next(iter(again.values()))):
                end = first.error
            if end is not None or not missing[call]:
                ends.append((call, end))
                ended_calls.add(call)
            else:
                self.waits[call] |= again.keys()
                self.retried[call] |= {at for at, each in again.items() if each.retry_reason is not None}
                self.alone[call] |= {at for at, each in again.items() if each.alone}
        results: list[Result] = results_of(batch)
        of = [result if what is None else what for what, result in zip(told, results, strict=True)]
        rejected, judged = told.count(REFUSAL), sum(not isinstance(each, Again) for each in told)
        ended = self.queue.settle(batch, Outcomes(of, error, rejected, judged))
        self.wake(ended)
        assert [(call, call.error) for call in ended] == ends

    def may_go_again(self, part: Part, again: Again) -> bool:
        """Whether there is time for it, and these items were not put back for a reason to try again before."""
        if again.retry_reason is not None and self.retried[part.call] & set(range(part.start, part.stop)):
            return False
        now, opens_at = self.clock.now(), self.free_from(0)
        if self.outage is not None:
            if self.outage <= now:
                return False
            opens_at = now if opens_at == NEVER else opens_at
        return opens_at + self.latency(part.call.key) < part.call.deadline

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """A search hands out the results of some items before the batch ends."""
        batch = data.draw(st.sampled_from(self.flights))
        first = data.draw(st.integers(0, len(batch.items) - 1))
        stop = data.draw(st.integers(first + 1, len(batch.items)))
        complete = []
        position = 0
        for part in batch.parts:
            count = part.stop - part.start
            covered = first <= position and position + count <= stop
            if covered and not part.call.done and part.call.missing == count:
                complete.append(part.call)
            position += count
        ended = self.queue.deliver(batch, first, results_of(batch)[first:stop])
        self.wake(ended)
        assert ended == complete
        assert all(call.done and call.error is None for call in ended)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        batch = self.land(data)
        batch.owner = -1
        assert self.queue.fail_orphans([threading.get_ident()]) == [batch]
        assert all(part.call.done for part in batch.parts)
        assert self.queue.settle(batch, Outcomes.results([b""] * len(batch.items))) == []

    def land(self, data: st.DataObject) -> Batch:
        batch = data.draw(st.sampled_from(self.flights))
        self.flights.remove(batch)
        return batch

    def wake(self, ended: list[Call]) -> None:
        """Do what the batcher thread and the chain of waiters do."""
        for call in ended:
            call.event.set()

    # ---- the end ----------------------------------------------------------------------------

    @rule()
    def drain(self) -> None:
        self.queue.drain()
        self.draining = True

    @precondition(lambda self: len(self.calls) > 12)
    @rule()
    def close(self) -> None:
        self.queue.close()
        self.closed = self.draining = True

    def teardown(self) -> None:
        self.close()
        while True:
            if self.flights:
                batch = self.flights.pop()
                self.wake(self.queue.settle(batch, Outcomes.results(results_of(batch))))
            elif self.waiting():
                self.take()
            else:
                break
        assert self.queue.take() is None
        assert not self.living
        self.check_outcomes()
        self.check_counts()

    # ---- what always holds ------------------------------------------------------------------

    @invariant()
    def check_outcomes(self) -> None:
        for call in self.calls:
            assert call.event.count == call.done  # type: ignore[attr-defined]
            if not call.done:
                assert call.error is None
                assert call.suspects == self.alone[call]
            elif call.error is None:
                assert call.results == [vector_of(item) for item in call.items]
            elif isinstance(call.error, ClientGone):
                assert call in self.gone

    @invariant()
    def check_counts(self) -> None:
        queue = self.queue
        assert queue.calls == len(self.living)
        assert queue.queued_items == sum(len(self.waits[call]) for call in self.waiting())
        assert queue.in_flight == len(self.flights)
        assert queue.in_flight_items == sum(len(batch.items) for batch in self.flights)
        lanes = lanes_of(queue)
        assert {lane.key for lane in lanes} == {call.key for call in self.waiting()}
        for key in KEYS:
            lane = lanes.find(key)
            if lane is None:
                assert not any(call.key == key for call in self.calls)
                continue
            waiting = self.waiting(key)
            assert lane.waiting == sum(len(self.waits[call]) for call in waiting)
            assert lane.waiting_bytes == sum(len(call.items[at]) for call in waiting for at in self.waits[call])
            assert lane.in_flight_items == sum(len(batch.items) for batch in self.flights if batch.key == key)
            assert lane.oldest == (waiting[0].arrived if waiting else NEVER)
            if waiting:  # an idle lane looks again with the next arrival
                assert lane.most_items == lane.rejections.batch_size(self.batch_size)
                assert lane.is_full == (lane.waiting >= lane.most_items or lane.waiting_bytes >= BATCH_BYTES)
                assert lane.starts_with_suspect == (min(self.waits[waiting[0]]) in waiting[0].suspects)


# The same examples each time, so that a change to the code alone can make this fail; for others, raise their number.
QueueMachine.TestCase.settings = settings(
    derandomize=True, max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestQueueMachine(QueueMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine."""
