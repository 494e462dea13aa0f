"""Runs the batcher threads: each takes a due batch, sends it upstream and wakes those who wait for it."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from batching import relay
from batching.errors import DeadlineExceeded, ProxyError, UpstreamProtocolError, UpstreamRejected
from batching.isolation.isolation import Isolation, Outcomes
from batching.observer import BatchReport, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Batch, Call
    from batching.clock import Clock
    from batching.observer import Observer
    from batching.queue.batch_queue import BatchQueue

log = logging.getLogger(__name__)

NO_ERRORS: dict[int, ProxyError] = {}


class Upstream(Protocol):
    """Whatever turns the items of a batch into results."""

    def send(self, batch: Batch) -> list[bytes]:
        """Return one result for each item, in order, or raise a ``ProxyError``."""
        ...


class Batcher:
    """Gathers calls into batches. Handler threads ``submit`` and wait in ``result``.

    ``threads`` daemon threads all run the same loop, leader and followers: there is no second queue and
    no hand-over between them. A supervisor thread replaces those that die and fails their batches.
    """

    #: How often (s) the supervisor looks by itself; a dying thread normally calls it at once.
    SUPERVISION_PERIOD = 1.0

    def __init__(
        self, queue: BatchQueue, upstream: Upstream, clock: Clock, *, threads: int, observers: Sequence[Observer] = ()
    ) -> None:
        self.queue = queue
        self._upstream = upstream
        self._isolation = Isolation(upstream, clock, max(1, threads - 1))
        self._clock = clock
        self._thread_count = threads
        self._observers = observers
        self._threads: list[threading.Thread] = []
        #: Threads on their way out: they still count as alive for a moment after they said so.
        self._dying: list[threading.Thread] = []
        self._attention = threading.Event()
        self._stopping = False

    # ---- handler threads ------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Queue a call; raises ``Overloaded`` or ``ShuttingDown`` instead of waiting for room.

        Raises ``UpstreamRejected`` for an input that the upstream has refused a moment ago.
        """
        self._isolation.admit(call)
        self.queue.put(call)

    def result(self, call: Call) -> list[bytes]:
        """Wait for a submitted call and return its results in order; raises what ended it otherwise."""
        if not self._clock.wait_for(call.event, call.deadline - self._clock.now()):
            self.queue.abandon(call, DeadlineExceeded("the upstream's answer did not come before the deadline"))
        relay.woken(call)
        if call.error is not None:
            raise call.error.copy()
        return call.results

    # ---- batcher threads ------------------------------------------------------------------------

    def run(self) -> None:
        """Send batches until the queue is closed and drained. The body of every batcher thread."""
        while batch := self.queue.take():
            self._dispatch(batch)

    def _dispatch(self, batch: Batch) -> None:
        outcomes: Outcomes | None = None
        error: ProxyError | None = None
        began = self._clock.now()
        try:
            outcomes, error = self._ask(batch)
        except ProxyError as failure:
            error = failure.bare()
        except Exception as failure:  # a bug of ours must not cost the thread, nor the clients their answer
            log.exception("sending a batch failed unexpectedly")
            error = ProxyError(f"unexpected {type(failure).__name__} while sending the batch")
        latency = self._clock.now() - began
        if outcomes is None:
            ended = self.queue.settle(batch, None, error)
        else:
            ended = self.queue.settle(batch, outcomes.results, error, outcomes.errors)
        relay.wake(ended)
        self._report(batch, error, latency)

    def _ask(self, batch: Batch) -> tuple[Outcomes, UpstreamRejected | None]:
        """Return what became of each item, and the upstream's refusal of the whole if there was one."""
        try:
            results = self._upstream.send(batch)
        except UpstreamRejected as refusal:
            return self._isolation.resolve(batch, refusal.bare(), partial(self._deliver, batch)), refusal
        if len(results) != len(batch.items):
            # Whoever speaks to the upstream has checked this; but the wrong client's vector is the worst failure.
            raise UpstreamProtocolError(f"{len(results)} results came for {len(batch.items)} inputs")
        self._isolation.passed(batch)
        return Outcomes(results, NO_ERRORS), None

    def _deliver(self, batch: Batch, first: int, results: list[bytes]) -> None:
        relay.wake(self.queue.deliver(batch, first, results))

    def _report(self, batch: Batch, error: ProxyError | None, latency: float) -> None:
        delays = [(batch.taken_at - part.call.arrived, part.stop - part.start) for part in batch.parts]
        outcome = "ok" if error is None else error.outcome
        report = BatchReport(batch.key.route, len(batch.items), batch.reason, outcome, delays, latency, error)
        tell(self._observers, "on_batch", report)

    # ---- life and death -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the batcher threads and their supervisor; call it in the process that serves."""
        self._threads = [self._start_thread() for _ in range(self._thread_count)]
        threading.Thread(target=self._supervise, name="batcher-supervisor", daemon=True).start()

    def stop(self, timeout: float) -> None:
        """Drain for at most ``timeout`` seconds, then fail whatever is left with 503."""
        self._stopping = True
        self.queue.close()
        self._attention.set()
        end = self._clock.now() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - self._clock.now()))
        rejected = self.queue.reject_all()
        if rejected:
            log.warning("stopped with %d requests unanswered; they get 503", rejected)

    def _start_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._live, name="batcher", daemon=True)
        thread.start()
        return thread

    def _live(self) -> None:
        try:
            self.run()
        except BaseException:  # SystemExit too would end the thread without a word
            log.exception("a batcher thread died")
            self._dying.append(threading.current_thread())
            self._attention.set()

    def _supervise(self) -> None:
        while not self._stopping:
            self._attention.wait(self.SUPERVISION_PERIOD)
            self._attention.clear()
            try:
                self.replace_the_dead()
            except Exception:  # no new thread could be had: try again, for without a supervisor nobody would
                log.exception("dead batcher threads could not be replaced")

    def replace_the_dead(self) -> int:
        """Fail the batches of dead threads with 503 and start new threads; return how many died."""
        dead = [thread for thread in self._threads if thread in self._dying or not thread.is_alive()]
        # Some may be missing since the last time: a new thread cannot always be had.
        if self._stopping or len(self._threads) - len(dead) >= self._thread_count:
            return 0
        self._threads = [thread for thread in self._threads if thread not in dead]
        for thread in dead:
            if thread in self._dying:
                self._dying.remove(thread)
        self.queue.fail_orphans(thread.ident for thread in self._threads if thread.ident is not None)
        for _ in dead:
            tell(self._observers, "on_thread_death")
        while len(self._threads) < self._thread_count:
            self._threads.append(self._start_thread())
        return len(dead)
