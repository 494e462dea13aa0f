"""A pool of upstreams that answer from memory, on the fake clock; calls may be held under way."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from batching import Answer, Batch, CallReport
from batching.call import Part
from batching.errors import NoUpstream, ProxyError, UpstreamError, UpstreamOverloaded, UpstreamPaused
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, capacity_of, results_of
from tests.support.observers import RecordingObserver
from upstream.breaker import Breaker
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a thread that has not gone on counts as hung.
HUNG_THREAD = 10.0


def busy(pause: float, kind: type[UpstreamError] = UpstreamOverloaded) -> UpstreamError:
    """Return the answer of an upstream that asks to be left alone for ``pause`` seconds; 0.0: it names no time."""
    return kind("busy", retry_after=pause or 1, pause=pause)


class GatedUpstream(FakeUpstream):
    """While it is held its calls stay under way, each on its thread, until they are let go on."""

    def __init__(self, clock: FakeClock, latency: Callable[[int], float], url: str) -> None:
        super().__init__(clock, latency)
        self.url = url
        self.is_held = False
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def send(self, batch: Batch) -> Answer:
        if self.is_held:
            self.arrived.release()
            assert self.gate.acquire(timeout=HUNG_THREAD)
        return super().send(batch)


class Workers:
    """Threads that make calls at the same time; each call ends on its own."""

    def __init__(self, upstreams: list[GatedUpstream]) -> None:
        self._upstreams = upstreams
        self._ended = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], object], upstream: GatedUpstream) -> None:
        """Do this on a thread of its own; return when its call is under way at the upstream, which is held."""
        self._threads.append(threading.Thread(target=self._run, args=(work,), daemon=True))
        self._threads[-1].start()
        assert upstream.arrived.acquire(timeout=HUNG_THREAD)

    def let_go_on(self, upstream: GatedUpstream, count: int) -> None:
        """Let so many calls of a held upstream go on; return when their threads have ended."""
        upstream.gate.release(count)
        for _ in range(count):
            assert self._ended.acquire(timeout=HUNG_THREAD)

    def finish(self) -> None:
        """Hold no call any more, and wait for the threads."""
        for upstream in self._upstreams:
            upstream.is_held = False
            upstream.gate.release(1 + len(self._threads))
        for thread in self._threads:
            thread.join(HUNG_THREAD)
        assert not any(thread.is_alive() for thread in self._threads)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except ProxyError:
            pass  # calls that are let go on may be made to fail
        finally:
            self._ended.release()


class PoolBench:
    """A pool of ``count`` upstreams with ``each`` batches at once. What jitter is asked for is noted, and all used."""

    def __init__(
        self,
        count: int = 1,
        *,
        each: int = 4,
        latency: float = 0.0,
        wait: float = 0.0,
        per_minute: tuple[int, int] = (0, 0),
    ) -> None:
        """``wait``: seconds for which calls wait where no upstream can be reached. ``per_minute``: calls and tokens."""
        self.clock = FakeClock()
        self.upstreams = [GatedUpstream(self.clock, lambda size: latency, f"http://{n}") for n in range(count)]
        self.capacity = capacity_of(max_inflight_batches=each * count)
        self.observer = RecordingObserver()
        self.jitters: list[tuple[float, float]] = []
        self.pool = UpstreamPool(
            self.upstreams,
            self.capacity,
            each,
            self.clock,
            unavailable_wait=wait,
            observer=self.observer,
            jitter=self._jitter,
            per_minute=per_minute,
        )
        self._fresh = itertools.count()
        self.workers = Workers(self.upstreams)

    def _jitter(self, low: float, high: float) -> float:
        self.jitters.append((low, high))
        return high

    # One call after the other

    def batch(self, *texts: str, lasts: float = 1e9, retry_reason: str | None = None) -> Batch:
        """Return a batch of one call that has ``lasts`` seconds; ``retry_reason``: why the queue took it back.

        Without texts it holds one that no batch had before.
        """
        batch = Batch(KEY, "full", self.clock.now())
        call = call_of(*texts or (f"text {next(self._fresh)}",), deadline=self.clock.now() + lasts)
        batch.add(Part(call, 0, len(call.items), retry_reason))
        return batch

    def send(self, *texts: str, lasts: float = 1e9) -> Batch:
        """Send a batch, which is answered well."""
        batch = self.batch(*texts, lasts=lasts)
        assert self.pool.send(batch) == Answer(results_of(batch))
        return batch

    def fail(self, *texts: str, lasts: float = 1e9) -> ProxyError:
        """Send a batch, which fails; return the error."""
        with pytest.raises(ProxyError) as raised:
            self.pool.send(self.batch(*texts, lasts=lasts))
        return raised.value

    def hold_back(self, *texts: str) -> UpstreamPaused:
        """Send a batch, which is to wait in the queue."""
        error = self.fail(*texts)
        assert isinstance(error, UpstreamPaused)
        return error

    def find_none(self) -> NoUpstream:
        """Send a batch, for which there is no upstream; return what its client is told where it cannot wait."""
        answer = self.hold_back().answer
        assert isinstance(answer, NoUpstream)
        return answer

    def eject(self, number: int) -> None:
        """Let an upstream fail until it gets no calls any more."""
        upstream = self.upstreams[number]
        upstream.failures = [UpstreamError("500") for _ in range(Breaker.FAILURES)]
        while upstream.failures:
            try:
                self.send()
            except UpstreamError:
                continue

    # Several at once

    def occupy(self, number: int, count: int) -> None:
        """Have so many calls under way at one upstream, and none at the others."""
        for upstream in self.upstreams:
            upstream.is_held = True
        for _ in range(count):
            for upstream in self.upstreams:  # the pool spreads them: each upstream gets one
                self.workers.start(self.send, upstream)
        for other in self.upstreams:
            if other is not self.upstreams[number]:
                other.is_held = False
                self.workers.let_go_on(other, count)

    def let_fail(self, number: int, *failures: UpstreamError) -> None:
        """Let calls that are under way at an upstream end with these errors; a retry is answered at once."""
        self.upstreams[number].failures = list(failures)
        self.workers.let_go_on(self.upstreams[number], len(failures))

    # What is seen

    @property
    def asked(self) -> list[int]:
        """How many calls each upstream has got."""
        return [len(upstream.batches) for upstream in self.upstreams]

    @property
    def calls(self) -> list[CallReport]:
        return self.observer.calls

    @property
    def slots(self) -> int:
        """How many batches may be in flight now."""
        return self.capacity.batches(self.clock.now())

    def slots_at(self, *moments: float) -> list[int]:
        return [self.capacity.batches(moment) for moment in moments]
