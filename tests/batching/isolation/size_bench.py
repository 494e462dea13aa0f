"""Upstreams that refuse large calls in the words of real servers, behind pool, queue and batcher."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from batching import Batch, Batcher, BatchQueue, Call
from batching.outcomes import Answer
from tests.batching.isolation.bench import verdict_on
from tests.support.fakes import FakeClock, FakeUpstream, call_of, capacity_of, queue_of, take, vector_of
from tests.support.observers import RecordingObserver
from upstream.clamp import Clamp
from upstream.dialects.refusals import refusal
from upstream.failures import failure_of
from upstream.http_reply import Reply
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Item

    #: Takes the items of a call; returns status and body of a refusal, or None.
    Refuse = Callable[[Sequence[Item]], tuple[int, object] | None]


def bytes_of(items: Sequence[Item]) -> int:
    return sum(map(len, items))


class RefusingUpstream(FakeUpstream):
    """Answers 200, or refuses in a server's own words, which go the whole way through the dialect."""

    def __init__(self, clock: FakeClock, refuse: Refuse, url: str = "http://upstream") -> None:
        super().__init__(clock)
        self.url = url
        self.refuse = refuse

    def send(self, batch: Batch) -> Answer:
        super().send(batch)
        said = self.refuse(batch.items)
        if said is not None:
            status, body = said
            reply = Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())
            raise failure_of(refusal(reply), reply, len(batch.items))
        return Answer([vector_of(item) for item in batch.items])


class SizeBench:
    """Upstreams behind pool, queue and batcher; the test's own thread sends the batches."""

    def __init__(self, clock: FakeClock, *refuse: Refuse, batch_tokens: int = 0, lasts: float = 1e9) -> None:
        self.clock = clock
        self.upstreams = [RefusingUpstream(clock, each, f"http://{at}") for at, each in enumerate(refuse)]
        self.capacity = capacity_of()
        self.observer = RecordingObserver()
        self.clamp = Clamp(self.capacity, batch_size=32, batches=4, batch_tokens=batch_tokens)
        pool = UpstreamPool(self.upstreams, self.capacity, 4, clock, observer=self.observer, clamp=self.clamp)
        self.pool = pool
        self.queue: BatchQueue = queue_of(clock, capacity=self.capacity, max_queued_items=5000)
        self.batcher = Batcher(self.queue, pool, clock, threads=1, observer=self.observer)
        self._lasts = lasts

    @property
    def sizes(self) -> list[int]:
        """Items of each upstream call so far, searches included."""
        return [report.size for report in self.observer.calls]

    @property
    def reasons(self) -> set[str]:
        return {report.reason for report in self.observer.calls}

    def submit(self, *texts: str) -> Call:
        call = call_of(*texts, deadline=self.clock.now() + self._lasts)
        self.batcher.submit(call)
        return call

    def submit_each(self, texts: Sequence[str]) -> list[Call]:
        return [self.submit(text) for text in texts]

    def run(self) -> None:
        while self.queue.queued_items:
            self.batcher.dispatch(take(self.queue))

    def serve(self, texts: Sequence[str]) -> list[int]:
        """Serve these texts, each one client's, which all are to have their vectors; return the upstream calls."""
        before = len(self.sizes)
        calls = self.submit_each(texts)
        self.run()
        assert [verdict_on(call) for call in calls] == [None] * len(texts)
        return self.sizes[before:]


def more_than(most: int, status: int, body: object) -> Refuse:
    return lambda items: (status, body) if len(items) > most else None
