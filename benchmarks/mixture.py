"""Discrete-event simulation of several groups of clients in one queue: classes, flows, keys and limits.

Only time, clients and upstream are simulated: the queue, the composition of batches and the timing object are the
production ones.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from batching.call import Call
from batching.capacity import Capacity
from batching.errors import Overloaded
from batching.key import BatchKey, Options, Task
from batching.limits import Limits
from batching.outcomes import Outcomes
from batching.queue.batch_queue import BatchQueue
from batching.rank import Flow, Rank
from batching.timing.adaptive import AdaptiveTiming
from benchmarks.hosted import AccountOf, Hosted
from benchmarks.report import percentile
from benchmarks.simulate import MAX_BATCH, MAX_WAIT, Over, Servers, Upstream, World, stop

if TYPE_CHECKING:
    from batching.call import Batch

#: Batches in flight at most; a multiple of the servers.
IN_FLIGHT = 4
#: The default of the setting ``bulk_latency_budget``.
BUDGET = 1.8
#: Seconds at the begin of a measured period in which the queue learns, as a share of it.
WARM = 0.3

_KEY = BatchKey(Task.EMBED)
_FOR_EVER = 1e9


@dataclass(frozen=True)
class Group:
    """Clients that are alike: each sends ``items`` items, waits for the answer, thinks, and sends again."""

    name: str
    clients: int
    #: Seconds, uniform within half of it either side.
    think: float = 0.0
    items: int = 1
    is_bulk: bool = False
    #: The weight of the flow that these clients make up, and its cap; 0: they have no flow of their own.
    weight: int = 0
    most_calls: int | None = None
    #: Seconds that each may be held back for; None: as long as the rule holds calls back.
    max_wait: float | None = None
    #: Keys that its clients' requests have by turns; 0: the one key of all who have none of their own.
    keys: int = 0
    #: When its clients come and stop.
    begin: float = 0.0
    end: float = _FOR_EVER
    #: Calls a second by a Poisson process, where clients do not wait for answers; 0: they do.
    rate: float = 0.0


class Share(NamedTuple):
    """What one group got: items a second, median and 99th percentile of its answers in s, the longest queueing in s."""

    rate: float
    p50: float
    p99: float
    longest_wait: float
    refused: int


@dataclass
class _Record:
    answers: list[tuple[float, float]] = field(default_factory=list)
    #: Moment and number of items that came back in a batch.
    items: list[tuple[float, int]] = field(default_factory=list)
    longest_wait: float = 0.0
    refused: int = 0


class Mixture:
    """Groups of clients before one upstream."""

    def __init__(
        self,
        upstream: Upstream,
        groups: list[Group],
        *,
        budget: float = BUDGET,
        parallelism: int = 1,
        bulk_max_wait: float = _FOR_EVER,
        account: AccountOf | None = None,
        seed: int = 1,
    ) -> None:
        """``budget`` and ``bulk_max_wait``: as ``Limits`` has them. ``account``: the upstream is a hosted one."""
        self._world = World()
        self._groups = groups
        limits = Limits(
            max_calls=10**9,
            max_queued_items=10**9,
            max_batch_bytes=10**9,
            bulk_max_wait=bulk_max_wait,
            bulk_latency_budget=budget,
        )
        most = MAX_BATCH if account is None else account.batch_size
        capacity = Capacity(batches=max(IN_FLIGHT, 2 * upstream.servers), batch_size=most)
        self._queue = BatchQueue(limits, capacity, lambda: AdaptiveTiming(most, MAX_WAIT, parallelism), self._world)
        self._servers: Servers | Hosted
        if account is None:
            self._servers = Servers(upstream, self._world, seed + 1, self._answered)
        else:
            self._servers = self.hosted = Hosted(upstream, self._world, capacity, account, self._settle)
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._ranks = {group: self._rank(group) for group in groups}
        self._began: dict[Call, tuple[float, Group]] = {}
        self._records = {group: _Record() for group in groups}

    def _rank(self, group: Group) -> Rank:
        flow = Flow(group.name, weight=group.weight, most_calls=group.most_calls) if group.weight else None
        return Rank(is_bulk=group.is_bulk, flow=flow, max_wait=group.max_wait)

    def run(self, seconds: float, begin: float | None = None, until: float | None = None) -> dict[str, Share]:
        """Simulate so long; return what each group got between two moments (``WARM`` of it, and the end)."""
        world = self._world
        world.at(seconds, stop)
        for group in self._groups:
            if group.rate:
                world.at(group.begin, self._arrive, group)
            for _ in range(0 if group.rate else group.clients):
                world.at(group.begin + self._random.random() * 0.01, self._send, group)
        try:
            while batch := self._queue.take():
                self._note_waits(batch)
                self._servers.send(batch)
        except Over:
            pass
        begin = WARM * seconds if begin is None else begin
        return {group.name: self._share(group, begin, seconds if until is None else until) for group in self._groups}

    def _share(self, group: Group, begin: float, until: float) -> Share:
        record = self._records[group]
        times = sorted(taken for moment, taken in record.answers if begin <= moment < until) or [float("nan")]
        items = sum(count for moment, count in record.items if begin <= moment < until)
        return Share(
            items / (until - begin),
            percentile(times, 0.5),
            percentile(times, 0.99),
            record.longest_wait,
            record.refused,
        )

    # ---- clients --------------------------------------------------------------------------------

    def _arrive(self, group: Group) -> None:
        now = self._world.now()
        if now < group.end:
            self._send(group)
            self._world.at(now + self._random.expovariate(group.rate), self._arrive, group)

    def _send(self, group: Group) -> None:
        now = self._world.now()
        if now >= group.end:
            return
        number = next(self._numbers)
        key = BatchKey(Task.EMBED, Options(dimensions=1 + number % group.keys)) if group.keys else _KEY
        call = Call([b"%d-%d" % (number, at) for at in range(group.items)], key, _FOR_EVER, rank=self._ranks[group])
        self._began[call] = now, group
        try:
            self._queue.put(call)
        except Overloaded as refusal:
            del self._began[call]
            self._records[group].refused += 1
            self._world.at(now + (refusal.retry_after or 1.0), self._send, group)

    def _note_waits(self, batch: Batch) -> None:
        now = self._world.now()
        for part in batch.parts:
            began, group = self._began[part.call]
            record = self._records[group]
            record.longest_wait = max(record.longest_wait, now - began)

    def _answered(self, batch: Batch) -> None:
        self._settle(batch, Outcomes.results([b"[]"] * len(batch.items)))

    def _settle(self, batch: Batch, outcomes: Outcomes) -> None:
        now = self._world.now()
        for part in batch.parts if outcomes.error is None else ():
            if part.call in self._began:  # else another batch has ended it with an error
                self._records[self._began[part.call][1]].items.append((now, part.stop - part.start))
        for call in self._queue.settle(batch, outcomes):
            began, group = self._began.pop(call)
            record = self._records[group]
            if call.error is None:
                record.answers.append((now, now - began))
                wait = group.think * (0.5 + self._random.random())
            else:
                record.refused += 1
                wait = call.error.retry_after or 1.0
            if not group.rate:
                self._world.at(now + wait, self._send, group)
