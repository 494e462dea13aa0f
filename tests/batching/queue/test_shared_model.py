"""With classes, flows and equal items too, each item is in one place, and each call ends once, with what is its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching import Batch, BatchKey, Call, Options, Outcomes, Task
from batching.clock import NEVER
from batching.errors import BatcherDied, ClientGone, DeadlineExceeded, Hopeless, ProxyError, Unresolved, UpstreamError
from batching.outcomes import Again
from batching.rank import Flow, Rank
from tests.batching.queue.steps import REFUSAL, UNTESTED, lanes_of
from tests.support.fakes import Deadlock, FakeClock, items_of, queue_of, vector_of

if TYPE_CHECKING:
    from batching import Result
    from batching.queue.waiting import Waiting

KEYS = [BatchKey(Task.EMBED, Options(dimensions=number)) for number in range(2)]
#: So few that equal ones meet often; the upstream refuses the last one.
TEXTS = items_of("a", "b", "c", "d", "a long one", "bad")
BAD = TEXTS[-1]
BATCH_SIZE, BATCH_BYTES, SLOTS = 4, 16, 3
BUSY = UpstreamError("too much")
AGAIN = (Again(UNTESTED), Again(BUSY, "overloaded"), Again(BUSY, "failed", alone=True))
LONGEST = 1000


class CountingEvent(threading.Event):
    """Counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


def answer_to(key: BatchKey, item: bytes) -> bytes:
    """Return a result that no other item has, nor the same one of another key."""
    return vector_of(repr(key).encode() + item)


class SharingMachine(RuleBasedStateMachine):
    """Handler threads, batcher threads and time, one step after the other; equal items are computed once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue = queue_of(
            self.clock,
            deduplicate=True,
            bulk_max_wait=0.3,
            max_batch_size=BATCH_SIZE,
            max_batch_bytes=BATCH_BYTES,
            max_inflight_batches=SLOTS,
        )
        self.flows = [None, Flow("one"), Flow("two", weight=2), Flow("few", weight=4, most_calls=3)]
        self.calls: list[Call] = []
        self.flights: list[Batch] = []
        self.gone: set[Call] = set()

    @property
    def living(self) -> list[Call]:
        return [call for call in self.calls if not call.done]

    # ---- handler threads --------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS),
        items=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6),
        flow=st.integers(0, 3),
        is_bulk=st.booleans(),
        max_wait=st.sampled_from([None, None, 0.0, 0.02]),
        time_left=st.sampled_from([0.05, 0.4, 50.0, 50.0]),
        suspects=st.one_of(st.just(frozenset[int]()), st.frozensets(st.integers(0, 5), max_size=2)),
    )
    def put(
        self,
        *,
        key: BatchKey,
        items: list[bytes],
        flow: int,
        is_bulk: bool,
        max_wait: float | None,
        time_left: float,
        suspects: frozenset[int],
    ) -> None:
        self.clock.time += 1e-6  # so that no two calls are of the same age
        own = self.flows[flow]
        call = Call(items, key, self.clock.now() + time_left, rank=Rank(is_bulk, own, max_wait))
        call.suspects = frozenset(position for position in suspects if position < len(items))
        call.is_gone = lambda: call in self.gone
        call.event = CountingEvent()
        if own is not None and own.most_calls == own.calls:
            return
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
        try:
            batch = self.queue.take()
        except Deadlock:
            assert len(self.flights) == SLOTS or not any(call.waiting for call in self.living)
            return
        if batch is None:  # it was closed, and what waited was lost
            assert not self.queue.queued_items
            return
        self.flights.append(batch)
        assert 1 <= len(batch.items) <= BATCH_SIZE
        assert len(batch.items) == 1 or sum(map(len, batch.items)) <= BATCH_BYTES
        assert batch.items == [item for call, start, stop, _ in batch.parts for item in call.items[start:stop]]
        assert batch.bulk_items == sum(stop - start for call, start, stop, _ in batch.parts if call.rank.is_bulk)
        assert len(set(batch.items)) == len(batch.items)
        if any(part.start in part.call.suspects for part in batch.parts):
            assert batch.is_suspect
            assert len(batch.items) == 1

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_judged(self, data: st.DataObject) -> None:
        """The upstream answers; a refused batch is searched unless it is of one call, which all of it then fails."""
        self.judge(self.land(data))

    def judge(self, batch: Batch) -> None:
        results: list[Result | ProxyError] = [answer_to(batch.key, item) for item in batch.items]
        if BAD not in batch.items:
            self.end(batch, Outcomes(results))
        elif batch.is_of_one_call:
            self.end(batch, Outcomes.failed(REFUSAL, len(batch.items)))
        else:
            of = [REFUSAL if item == BAD else result for item, result in zip(batch.items, results, strict=True)]
            self.end(batch, Outcomes(of, REFUSAL))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle_failed(self, data: st.DataObject) -> None:
        """The upstream fails: that is told to all, to those that share too."""
        batch = self.land(data)
        alive = {part.call for part in batch.parts if not part.call.done}
        alive |= {shared.part.call for shared in batch.shared if not shared.part.call.done}
        assert set(self.end(batch, Outcomes.failed(BUSY, len(batch.items)))) == alive

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), alone=st.booleans())
    def settle_again(self, data: st.DataObject, alone: bool) -> None:
        """Some items go back, for one reason or another."""
        batch = self.land(data)
        told = [data.draw(st.sampled_from([None, *AGAIN])) for _ in batch.items]
        of = [
            (REFUSAL if item == BAD else answer_to(batch.key, item)) if again is None else again
            for item, again in zip(batch.items, told, strict=True)
        ]
        self.end(batch, Outcomes(of, BUSY))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """A search hands out the results of some items before the batch ends."""
        batch = data.draw(st.sampled_from(self.flights))
        first = data.draw(st.integers(0, len(batch.items) - 1))
        stop = first
        while stop < len(batch.items) and batch.items[stop] != BAD:
            stop += 1
        if first < stop:
            results = [answer_to(batch.key, item) for item in batch.items[first:stop]]
            self.wake(self.queue.deliver(batch, first, results))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        batch = self.land(data)
        batch.owner = -1
        assert self.queue.fail_orphans([threading.get_ident()]) == [batch]
        assert all(part.call.done for part in batch.parts)
        assert all(shared.part.call.done for shared in batch.shared)

    def land(self, data: st.DataObject) -> Batch:
        batch = data.draw(st.sampled_from(self.flights))
        self.flights.remove(batch)
        return batch

    def end(self, batch: Batch, outcomes: Outcomes) -> list[Call]:
        ended = self.queue.settle(batch, outcomes)
        assert len(set(ended)) == len(ended)
        self.wake(ended)
        return ended

    def wake(self, ended: list[Call]) -> None:
        for call in ended:
            call.event.set()

    # ---- the end ----------------------------------------------------------------------------

    @rule()
    def drain(self) -> None:
        self.queue.drain()

    def teardown(self) -> None:
        self.queue.close()
        for _ in range(LONGEST):
            if self.flights:
                self.judge(self.flights.pop())
            elif self.queue.queued_items:
                self.take()
            else:
                break
        assert self.queue.take() is None
        assert not self.living
        self.check_outcomes()
        self.check_places()
        assert not any(flow.calls for flow in self.flows if flow is not None)
        for key in KEYS:
            if (lane := lanes_of(self.queue).find(key)) is not None:
                assert lane.in_flight is not None
                assert not lane.in_flight.batches
                assert lane.bulk is None
                assert lane.demands is None

    # ---- what always holds ------------------------------------------------------------------

    @invariant()
    def check_outcomes(self) -> None:
        """A call has its own results, or an error that concerns one of its items, or all."""
        for call in self.calls:
            assert call.event.count == call.done  # type: ignore[attr-defined]
            if call.done and call.error is None:
                assert call.results == [answer_to(call.key, item) for item in call.items]
            elif call.error is REFUSAL:
                assert BAD in call.items
            elif isinstance(call.error, ClientGone):
                assert call in self.gone
            elif call.error is not None:
                assert isinstance(call.error, DeadlineExceeded | Hopeless | UpstreamError | Unresolved | BatcherDied)

    @invariant()
    def check_places(self) -> None:
        """Each item without a result is in one place: it waits, or travels, or shares."""
        places: dict[Call, list[int]] = {call: [] for call in self.living}
        in_flight = [*self.flights]
        for batch in in_flight:
            for call, start, stop, _ in [*batch.parts, *(shared.part for shared in batch.shared)]:
                if call in places:
                    places[call] += range(start, stop)
            for shared in batch.shared:
                assert shared.part.call.items[shared.part.start] == batch.items[shared.at]
                assert shared.part.call.key == batch.key
                assert shared.part.call.done or shared.part.call.deadline <= batch.deadline
        for call, positions in places.items():
            positions += [at for at in range(len(call.items)) if call.waits(at)]
            assert len(set(positions)) == len(positions) == call.missing

    @invariant()
    def check_counts(self) -> None:
        queue, living = self.queue, self.living
        assert queue.calls == len(living)
        assert queue.queued_items == sum(call.waiting for call in living)
        assert queue.in_flight_items == sum(len(batch.items) for batch in self.flights)
        for flow in self.flows:
            if flow is not None:
                assert flow.calls == sum(call.rank.flow is flow for call in living)
        assert {lane.key for lane in lanes_of(queue)} == {call.key for call in living if call.waiting}
        for key in KEYS:
            lane = lanes_of(queue).find(key)
            if lane is None:
                continue
            flights = [batch for batch in self.flights if batch.key == key]
            bulk = sum(batch.bulk_items for batch in flights)
            assert lane.in_flight_bulk == bulk
            assert lane.in_flight_items == sum(len(batch.items) for batch in flights) - bulk
            waiting = [call for call in living if call.key == key and call.waiting]
            self.check_class(lane, [call for call in waiting if not call.rank.is_bulk])
            assert (lane.bulk is None) is not any(call.rank.is_bulk for call in waiting)
            if lane.bulk is not None:
                self.check_class(lane.bulk, [call for call in waiting if call.rank.is_bulk])
                assert lane.bulk.aged_at == min(
                    call.arrived + min(0.3 if call.rank.max_wait is None else call.rank.max_wait, 0.3)
                    for call in waiting
                    if call.rank.is_bulk
                )

    def check_class(self, of_class: Waiting, waiting: list[Call]) -> None:
        assert of_class.waiting == sum(call.waiting for call in waiting)
        assert of_class.waiting_bytes == sum(call.waiting_bytes for call in waiting)
        assert of_class.oldest == min((call.arrived for call in waiting), default=NEVER)
        assert [call for call in of_class.calls if call in waiting] == sorted(waiting, key=lambda call: call.arrived)
        if of_class.demands is not None:
            told = {flow: (demand.items, demand.size) for flow, demand in of_class.demands.items()}
            assert told == {
                flow: (
                    sum(call.waiting for call in waiting if call.rank.flow is flow),
                    sum(call.waiting_bytes for call in waiting if call.rank.flow is flow),
                )
                for flow in {call.rank.flow for call in waiting}
            }


# The same examples each time, so that a change to the code alone can make this fail; for others, raise their number.
SharingMachine.TestCase.settings = settings(
    derandomize=True, max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestSharingMachine(SharingMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine."""
