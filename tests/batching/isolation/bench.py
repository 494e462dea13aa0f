"""An upstream that refuses texts, and two benches: a search alone, and a batcher whose one thread is the test's."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from batching import Batch, Batcher
from batching.call import ISOLATION, Part
from batching.errors import ProxyError, UpstreamFailed, UpstreamRejected
from batching.isolation.isolation import Isolation
from batching.outcomes import Again, Answer
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, items_of, queue_of, take, vector_of
from upstream.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batching import BatchKey, BatchQueue, Call, Outcomes

#: A text that each of the upstreams refuses.
POISON = "poison"


def texts_of(count: int, prefix: str = "text") -> list[str]:
    return [f"{prefix} {number}" for number in range(count)]


class Sign(Enum):
    """How an upstream shows that it cannot do with an input."""

    REFUSAL = "422"
    FAILURE = "500"
    NO_VECTOR = "null in its row"


class PickyUpstream(FakeUpstream):
    """Refuses batches with one of the ``bad`` texts, or shows these in another way, or has more than ``most`` items."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        bad: Sequence[str] = (),
        most: int = 1000,
        latency: float = 0.0,
        sign: Sign = Sign.REFUSAL,
    ) -> None:
        super().__init__(clock, lambda size: latency)
        self.sign = sign
        #: Whether it answers 500 to everything.
        self.is_broken = False
        #: Texts that have no vector where others are beside them.
        self.bad_beside_others: set[bytes] = set()
        self.bad = {*items_of(POISON), *items_of(*bad)}
        self.most = most
        #: What happens at call number so-and-so instead.
        self.accidents: dict[int, ProxyError] = {}
        #: Results that are missing from the start of each answer.
        self.missing = 0
        #: Called at the start of each call.
        self.on_send: Callable[[], object] = lambda: None

    def send(self, batch: Batch) -> Answer:
        self.on_send()
        answer = super().send(batch)
        if accident := self.accidents.get(len(self.batches)):
            raise accident
        count = len(batch.items)
        if count > self.most:
            raise UpstreamRejected("too much at once", status=413, words="quotes another client")
        if self.is_broken:
            raise UpstreamFailed("the upstream failed", words="CUDA error, quotes another client")
        bad = {position for position, item in enumerate(batch.items) if item in self.bad}
        if self.sign is Sign.NO_VECTOR:
            bad |= {at for at, item in enumerate(batch.items) if count > 1 and item in self.bad_beside_others}
            return self._with_bad_rows(answer, bad)
        if bad and self.sign is Sign.FAILURE:
            raise UpstreamFailed(f"the upstream failed on {count} inputs", words="quotes another client")
        if bad:
            text = "too long" if count == 1 else f"the upstream refused this batch of {count} inputs"
            raise UpstreamRejected(text, status=422, error_type="Tokenizer", words="quotes another client")
        return Answer(answer.results[self.missing :])

    def try_out(self, timeout: float) -> Health:
        return Health(not self.is_broken)

    def _with_bad_rows(self, answer: Answer, bad: set[int]) -> Answer:
        """Return an answer without vectors at these positions, as the dialects do: some item always has one."""
        if len(bad) == len(answer.results):
            raise UpstreamFailed("no input has a vector")
        results = [b"" if position in bad else result for position, result in enumerate(answer.results)]
        return Answer(results, bad=dict.fromkeys(bad, "null"))


class IsolationBench:
    """An ``Isolation`` on the test's own thread; what it delivers early is noted."""

    def __init__(self, *bad: str, at_once: int = 1, most: int = 1000, sign: Sign = Sign.REFUSAL) -> None:
        self.clock = FakeClock()
        self.upstream = PickyUpstream(self.clock, bad=bad, most=most, sign=sign)
        self.isolation = Isolation(self.upstream, self.clock, at_once)
        self.delivered: list[tuple[int, list[bytes]]] = []

    def batch(self, *texts: str, deadline: float = 1e9) -> Batch:
        """Return a batch in which each text is one client's."""
        batch = Batch(KEY, "full", self.clock.now())
        for text in texts:
            batch.add(Part(call_of(text, deadline=deadline), 0, 1))
        return batch

    def suspect_batch(self, text: str) -> Batch:
        """Return a batch of one suspect, as the queue makes it up."""
        batch = self.batch(text)
        batch.is_suspect = True
        return batch

    def suspect(self, *texts: str) -> None:
        """Let these texts be in doubt, as after a search that ended early."""
        for item in items_of(*texts):
            self.isolation.verdicts.suspect(KEY, item)

    def send(self, batch: Batch) -> Outcomes:
        return self.isolation.send(batch, lambda first, results, _: self.delivered.append((first, results)))

    @property
    def budget(self) -> float:
        """Extra calls that may be made now."""
        return self.isolation._budget.left

    def leave(self, tokens: int) -> None:
        """Spend the budget but for ``tokens``; no call of it remains in the upstream's list."""
        sent = len(self.upstream.batches)
        sign, self.upstream.sign = self.upstream.sign, Sign.REFUSAL
        while self.budget > tokens:
            self.send(self.suspect_batch(POISON))
        self.upstream.sign = sign
        del self.upstream.batches[sent:]

    def witness(self) -> None:
        """Let the upstream take some other input now: without that a verdict on an input says nothing of it."""
        self.isolation._record.succeeded(self.clock.now())

    def known(self, *texts: str) -> list[str]:
        """Say of each text what is remembered of it: ``refused``, ``suspect`` or nothing."""
        found = [self.isolation.verdicts.look_up(KEY, [item]) for item in items_of(*texts)]
        return ["refused" if refusal else "suspect" if suspects else "" for refusal, suspects in found]


class BatcherBench:
    """A batcher on the fake clock that the test runs batch by batch."""

    def __init__(self, clock: FakeClock, upstream: PickyUpstream, **bounds: int) -> None:
        self.clock = clock
        self.upstream = upstream
        self.queue: BatchQueue = queue_of(clock, **bounds)  # type: ignore[arg-type]
        self.batcher = Batcher(self.queue, upstream, clock, threads=1)

    def submit(self, *texts: str, key: BatchKey = KEY, deadline: float = 1e9) -> Call:
        call = call_of(*texts, key=key, deadline=deadline)
        self.batcher.submit(call)
        return call

    def submit_each(self, texts: Sequence[str]) -> list[Call]:
        """Submit each text as one client's call."""
        return [self.submit(text) for text in texts]

    def suspect(self, *texts: str) -> None:
        """Let these texts be in doubt, as after a search that ended early."""
        for item in items_of(*texts):
            self.batcher.isolation.verdicts.suspect(KEY, item)

    def step(self) -> None:
        """Send a batch, and search it if it is refused."""
        self.batcher.dispatch(take(self.queue))

    def run(self) -> None:
        """Send all that waits."""
        while self.queue.queued_items:
            self.step()

    def serve(self, *texts: str) -> list[Batch]:
        """Serve one call of these texts, which is to succeed; return its upstream calls."""
        before = len(self.upstream.batches)
        call = self.submit(*texts)
        self.run()
        assert verdict_on(call) is None
        return self.upstream.batches[before:]

    def ordinary(self) -> list[Batch]:
        """Return the batches that the queue gave out: all calls but those of searches."""
        return [batch for batch in self.upstream.batches if batch.reason != ISOLATION]

    def searches(self) -> list[int]:
        """Return how many calls each batch cost beyond its own."""
        lengths: list[int] = []
        for batch in self.upstream.batches:
            if batch.reason != ISOLATION:
                lengths.append(0)
            else:
                lengths[-1] += 1
        return lengths


def verdict_on(call: Call) -> ProxyError | None:
    """Return the error that ended a call; without one it has its own results."""
    assert call.done
    if call.error is None:
        assert call.results == [vector_of(item) for item in call.items]
    return call.error


def kinds(outcomes: Outcomes) -> list[str]:
    """Say of each item of a batch what became of it: the class of its error, ``Again``, or ``result``."""
    return ["result" if isinstance(each, bytes) else type(each).__name__ for each in outcomes.of]


def errors(outcomes: Outcomes) -> Iterator[ProxyError]:
    """Yield what the clients of the items without a result are told, or would be told."""
    for each in outcomes.of:
        if not isinstance(each, bytes):
            yield each.error if isinstance(each, Again) else each
