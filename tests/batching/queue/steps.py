"""Steps that the queue's tests share: ways in which a batch ends, looks at what the queue holds, and listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching import BatchKey, FixedTiming, Options, Outcomes, Task
from batching.errors import ProxyError, Unresolved, UpstreamError, UpstreamRejected
from batching.outcomes import Again
from tests.support.fakes import KEY, FakeClock, call_of, results_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Hashable

    from batching import Batch, BatchQueue, Call
    from batching.outcomes import Result
    from batching.queue.lanes import Lane, Lanes
    from batching.timing.rule import Decision, LaneState

OTHER_KEY = BatchKey(Task.EMBED, Options(normalize=False))
REFUSAL = UpstreamRejected("no", status=422)
#: Told to a client whose call cannot go back.
UNTESTED = Unresolved("nothing is known", retry_after=1)


def texts(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def with_suspects(call: Call, *positions: int) -> Call:
    """Let the items at these positions travel by themselves."""
    call.suspects = frozenset(positions)
    return call


def of_length(*lengths: int) -> list[Call]:
    """Return calls of one item each, so many bytes long, a second apart from each other."""
    calls = [call_of("x" * (length - 2)) for length in lengths]  # two quotes make up the rest
    for number, call in enumerate(calls):
        call.arrived = float(number)
    return calls


def fail(queue: BatchQueue, batch: Batch) -> list[Call]:
    """Settle a batch whose upstream call failed as a whole."""
    return queue.settle(batch, Outcomes.failed(UpstreamError("boom"), len(batch.items)))


def settle_except(queue: BatchQueue, batch: Batch, told: dict[int, ProxyError | Again]) -> list[Call]:
    """Settle a refused batch: these positions have no result, the others have one. Return the calls that ended."""
    of: list[Result | ProxyError | Again] = [
        told.get(position, result) for position, result in enumerate(results_of(batch))
    ]
    return queue.settle(batch, Outcomes(of, REFUSAL))


def put_back(
    queue: BatchQueue,
    batch: Batch,
    *positions: int,
    error: ProxyError = UNTESTED,
    retry_reason: str | None = None,
    alone: bool = False,
) -> list[Call]:
    """Settle a refused batch of which the items at these positions go again; return the calls that ended."""
    return settle_except(queue, batch, dict.fromkeys(positions, Again(error, retry_reason, alone)))


def pause(queue: BatchQueue, batch: Batch, error: ProxyError, retry_reason: str | None = None) -> list[Call]:
    """Settle a batch whose upstream asked for a pause; return the calls that ended."""
    return queue.settle(batch, Outcomes.again(error, len(batch.items), retry_reason))


def lanes_of(queue: BatchQueue) -> Lanes:
    """Return the queue's lanes: the one look inside it that the tests take."""
    return queue._lanes


def lane_of(queue: BatchQueue, key: BatchKey = KEY) -> Lane:
    lane = lanes_of(queue).find(key)
    assert lane is not None
    return lane


def assert_empty(queue: BatchQueue) -> None:
    """Nothing is left of anything that went through the queue."""
    assert (queue.calls, queue.queued_items, queue.in_flight, queue.in_flight_items) == (0, 0, 0, 0)
    assert len(lanes_of(queue)) == 0
    lanes = repr(lanes_of(queue)).removeprefix("<Lanes [").removesuffix("]>")
    assert set(lanes.split(", <")) <= {
        "",
        "<Lane embed: 0 items of 0 bytes in 0 calls, 0 in flight>",
        "Lane embed: 0 items of 0 bytes in 0 calls, 0 in flight>",
    }


class ListeningTiming(FixedTiming):
    """Notes what the queue tells a timing rule, with the lane's state at that moment."""

    def __init__(self, max_wait: float = 0.0) -> None:
        super().__init__(max_wait)
        #: Event, then waiting items, items in flight, and what the queue passed.
        self.told: list[tuple[object, ...]] = []
        #: How many batches were in flight when the queue asked.
        self.beside: set[int] = set()

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        self.beside.add(in_flight)
        return super().decide(lane, in_flight, now)

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        self.told.append(("arrived", lane.waiting, lane.in_flight_items, count, now))

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        self.told.append(("sent", lane.waiting, lane.in_flight_items, batch, size, beside, now))

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        self.told.append(("completed", lane.waiting, lane.in_flight_items, batch, now, ok))


class RecordingClock(FakeClock):
    """Notes for how long each thread was to sleep at most."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        super().wait(condition, timeout)
