"""Whatever happens to the queue, in whatever order, it agrees with a simple model and ends every call once."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching import Batch, BatchKey, Call
from batching.errors import (
    ClientGone,
    DeadlineExceeded,
    Overloaded,
    ShuttingDown,
    Unjudged,
    UpstreamError,
    UpstreamRejected,
)
from batching.isolation.bisection import group_size
from batching.queue.batch_queue import HANGUP_CHECK_AFTER
from tests.support.fakes import Deadlock, FakeClock, queue_of, vector_of

KEYS = [BatchKey("/embed", name) for name in (b"", b"x", b"y")]
MAX_WAIT = 0.1
REFUSED, UNJUDGED = UpstreamRejected("no", status=422), Unjudged("nothing is known")
BATCH_SIZE, BATCH_BYTES, CALLS, QUEUED, SLOTS, PERMITS = 4, 60, 8, 14, 3, 7


class CountingEvent(threading.Event):
    """Counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


class QueueMachine(RuleBasedStateMachine):
    """Handler threads, batcher threads and time, one step after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue = queue_of(
            self.clock,
            max_batch_size=BATCH_SIZE,
            max_batch_bytes=BATCH_BYTES,
            max_calls=CALLS,
            max_queued_items=QUEUED,
            max_inflight_batches=SLOTS,
            max_inflight_items=PERMITS,
        )
        self.numbers = itertools.count()
        self.calls: list[Call] = []
        self.flights: list[Batch] = []
        self.gone: set[Call] = set()
        self.closed = self.draining = False

    # ---- what the model knows ---------------------------------------------------------------

    @property
    def living(self) -> list[Call]:
        return [call for call in self.calls if not call.done]

    def waiting(self, key: BatchKey | None = None) -> list[Call]:
        """Living calls with items in the queue, oldest first."""
        return [call for call in self.living if call.taken < len(call.items) and key in {None, call.key}]

    def is_lost(self, call: Call) -> bool:
        """Whether the queue has to notice that nobody reads this call's answer."""
        waited = self.clock.now() - call.arrived
        return call.deadline <= self.clock.now() or (call in self.gone and waited >= HANGUP_CHECK_AFTER)

    # ---- handler threads --------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS),
        sizes=st.lists(st.sampled_from([2, 10, 25, 70]), min_size=1, max_size=6),
        patience=st.sampled_from([0.03, 0.25, 5.0]),
    )
    def put(self, key: BatchKey, sizes: list[int], patience: float) -> None:
        items = [f"{next(self.numbers)}".encode().ljust(size, b" ") for size in sizes]
        call = Call(items, key, self.clock.now() + patience)
        call.is_gone = lambda: call in self.gone
        call.event = CountingEvent()
        queued = sum(len(call.items) - call.taken for call in self.waiting())
        if self.closed:
            with pytest.raises(ShuttingDown):
                self.queue.put(call)
        elif len(self.living) >= CALLS or queued + len(items) > QUEUED:
            with pytest.raises(Overloaded):
                self.queue.put(call)
        else:
            self.queue.put(call)
            self.calls.append(call)

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

    # ---- batcher threads --------------------------------------------------------------------

    @rule()
    def take(self) -> None:
        began = self.clock.now()
        heads = {key: self.waiting(key)[0] for key in KEYS if self.waiting(key)}
        taken = {call: call.taken for call in self.calls}
        # A call whose deadline comes before its patience ends, or whose client has gone, is dropped then.
        living = [call for call in heads.values() if call not in self.gone and call.deadline > call.arrived + MAX_WAIT]
        patience_ends = [call.arrived + MAX_WAIT for call in living]
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
        self.check_limits(batch)
        now = self.clock.now()
        # Nobody waits longer than that while a thread is free, and nobody at all while draining.
        assert now == began or (not self.draining and now <= min(patience_ends, default=now) + 1e-9)
        # Among those that were due, the one that had waited longest (a lost call may still count as the oldest).
        overdue = [call for call in heads.values() if call.arrived + MAX_WAIT <= began and not call.done]
        assert all(heads[batch.key].arrived <= call.arrived for call in overdue)
        self.check_parts(batch, taken)

    def check_that_there_was_nothing_to_send(self) -> None:
        most = min((len(call.items) for call in self.waiting()), default=0)
        held = len(self.flights) == SLOTS or self.queue.in_flight_items + BATCH_SIZE > PERMITS
        assert not most or held

    def check_limits(self, batch: Batch) -> None:
        assert 1 <= len(batch.items) <= BATCH_SIZE
        assert len(batch.items) == 1 or sum(map(len, batch.items)) <= BATCH_BYTES
        assert len(self.flights) <= SLOTS
        assert len(self.flights) == 1 or sum(len(each.items) for each in self.flights) <= PERMITS

    def check_parts(self, batch: Batch, taken: dict[Call, int]) -> None:
        """Only living calls of one key, oldest first, each going on where it was."""
        assert batch.items == [item for call, start, stop in batch.parts for item in call.items[start:stop]]
        assert len({part.call for part in batch.parts}) == len(batch.parts)
        arrivals = [part.call.arrived for part in batch.parts]
        assert arrivals == sorted(arrivals)
        for call, start, stop in batch.parts:
            assert call.key == batch.key
            assert not call.done
            assert not self.is_lost(call)
            assert (start, stop) == (taken[call], call.taken)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_ok(self, data: st.DataObject) -> None:
        batch = self.land(data)
        complete = [part.call for part in batch.parts if not part.call.done]
        ended = self.queue.settle(batch, [vector_of(item) for item in batch.items], None)
        self.wake(ended)
        assert set(ended) <= set(complete)
        assert all(call.error is None for call in ended)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_error(self, data: st.DataObject) -> None:
        batch = self.land(data)
        alive = [part.call for part in batch.parts if not part.call.done]
        ended = self.queue.settle(batch, None, UpstreamError("boom"))
        assert ended == alive
        self.wake(ended)
        assert self.queue.settle(batch, None, UpstreamError("boom")) == []

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_refused(self, data: st.DataObject) -> None:
        """A search found some items guilty and learned nothing of others, which wait again if their call can."""
        batch = self.land(data)
        told = [data.draw(st.sampled_from([None, REFUSED, UNJUDGED])) for _ in batch.items]
        needed = self.queue._lanes[batch.key].latency
        ends, returns = [], {}
        position = 0
        for call, start, stop in batch.parts:
            own = told[position : position + stop - start]
            can_return = stop == len(call.items) and call.deadline > self.clock.now() + needed
            if not call.done and can_return and UNJUDGED in own and REFUSED not in own:
                returns[call] = start + own.index(UNJUDGED)
            elif not call.done and (any(own) or call.missing == stop - start):
                ends.append((call, REFUSED if REFUSED in own else UNJUDGED if any(own) else None))
            position += stop - start
        errors = {position: error for position, error in enumerate(told) if error}
        ended = self.queue.settle(batch, [vector_of(item) for item in batch.items], REFUSED, errors)
        self.wake(ended)
        assert [(call, call.error) for call in ended] == ends
        for call, first in returns.items():
            assert (call.taken, call.done) == (first, False)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        batch = self.land(data)
        batch.owner = -1
        assert self.queue.fail_orphans([threading.get_ident()]) == [batch]
        assert all(part.call.done for part in batch.parts)
        assert self.queue.settle(batch, [b""] * len(batch.items), None) == []

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
                self.wake(self.queue.settle(batch, [vector_of(item) for item in batch.items], None))
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
            elif call.error is None:
                assert call.results == [vector_of(item) for item in call.items]
            elif isinstance(call.error, ClientGone):
                assert call in self.gone

    @invariant()
    def check_counts(self) -> None:
        queue = self.queue
        assert queue.calls == len(self.living)
        assert queue.queued_items == sum(len(call.items) - call.taken for call in self.waiting())
        assert queue.in_flight == len(self.flights)
        assert queue.in_flight_items == sum(len(batch.items) for batch in self.flights)
        assert set(queue._busy) == {call.key for call in self.waiting()}
        for key, lane in queue._lanes.items():
            waiting = self.waiting(key)
            assert lane.waiting == sum(len(call.items) - call.taken for call in waiting)
            assert lane.waiting_bytes == sum(len(item) for call in waiting for item in call.items[call.taken :])
            assert lane.in_flight_items == sum(len(batch.items) for batch in self.flights if batch.key == key)
            assert lane.oldest == (waiting[0].arrived if waiting else float("inf"))
            most = group_size(lane.guilty_share, BATCH_SIZE)
            assert lane.is_full == (lane.waiting >= most or lane.waiting_bytes >= BATCH_BYTES)
        assert not queue._idle


# The same examples each time, so that a change to the code alone can make this fail; for others, raise their number.
QueueMachine.TestCase.settings = settings(
    derandomize=True, max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestQueueMachine(QueueMachine.TestCase):  # type: ignore[misc]
    """Runs the machine."""
