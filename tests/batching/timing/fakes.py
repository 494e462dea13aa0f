"""A lane that tells its timing object every event, as the queue does, and crowds and costs to begin with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from batching.clock import NEVER
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.learning import CallCost

if TYPE_CHECKING:
    from batching.timing.learning import Learned
    from batching.timing.rule import Decision, Timing

MAX_BATCH = 8
MAX_WAIT = 0.1
#: Seconds of a call, and of each of its items.
FIXED, PER_ITEM = 0.010, 0.001


@dataclass
class FakeLane:
    """The state of a lane, and the events that change it. Each event is told to the timing object."""

    timing: Timing
    waiting: int = 0
    is_full: bool = False
    oldest: float = NEVER
    in_flight_items: int = 0
    #: Batches in flight of other lanes.
    elsewhere: int = 0

    def __post_init__(self) -> None:
        self.flights: dict[int, int] = {}
        self._names = itertools.count()

    @property
    def learned(self) -> Learned:
        assert isinstance(self.timing, AdaptiveTiming)
        return self.timing.learned

    def decide(self, now: float) -> Decision:
        return self.timing.decide(self, len(self.flights) + self.elsewhere, now)

    def arrive(self, now: float, count: int = 1) -> None:
        self.oldest = min(self.oldest, now)
        self.waiting += count
        self.is_full = self.waiting >= MAX_BATCH
        self.timing.arrived(self, count, now)

    def send(self, now: float) -> int:
        """Send what waits, at most a full batch, and return the batch's name."""
        size = min(self.waiting, MAX_BATCH)
        self.waiting -= size
        self.is_full = self.waiting >= MAX_BATCH
        self.oldest = now if self.waiting else NEVER
        self.in_flight_items += size
        beside = len(self.flights) + self.elsewhere
        batch = next(self._names)
        self.flights[batch] = size
        self.timing.sent(self, batch, size, beside, now)
        return batch

    def complete(self, batch: int, now: float, *, ok: bool = True) -> None:
        self.in_flight_items -= self.flights.pop(batch)
        self.timing.completed(self, batch, now, ok=ok)

    def serve(self, now: float, seconds: float) -> float:
        """Send what waits, let the upstream answer after ``seconds``, and return when it has."""
        self.complete(self.send(now), now + seconds)
        return now + seconds


def cost_of(*calls: tuple[int, float]) -> CallCost:
    """The cost learned from calls of (items, seconds)."""
    cost = CallCost()
    for size, seconds in calls:
        cost.add(size, seconds)
    return cost


#: Calls of any size up to twice ``MAX_BATCH`` take a second.
SECOND = cost_of((MAX_BATCH, 1.0))


def about(value: float) -> Any:
    """Equal to ``value`` but for rounding."""
    return pytest.approx(value)


def adaptive(parallelism: int = 1) -> FakeLane:
    return FakeLane(AdaptiveTiming(MAX_BATCH, MAX_WAIT, parallelism))


def call(items: int) -> float:
    """Seconds that the upstream works on a call."""
    return FIXED + PER_ITEM * items


def serve(lane: FakeLane, now: float) -> float:
    """Serve what waits as fast as the upstream does, and return when the batch is back."""
    return lane.serve(now, call(min(lane.waiting, MAX_BATCH)))


def crowd_of(clients: int, rounds: int = 12, *, pause: float = 0.0005) -> tuple[FakeLane, float]:
    """A lane whose closed crowd comes back within ``pause`` after each call, and the end of the last call."""
    lane = adaptive()
    now = 0.0
    for _ in range(rounds):
        for client in range(clients):
            lane.arrive(now + pause * (client + 1) / clients)
        now = serve(lane, now + pause)
    return lane, now
