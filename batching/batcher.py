"""Runs the batcher threads: each takes a due batch, sends it upstream and wakes the waiters of its calls."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from batching import relay
from batching.errors import DeadlineExceeded, ProxyError
from batching.isolation.isolation import Isolation
from batching.observer import BatchReport, Observer
from batching.outcomes import Outcomes, Result, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.call import Batch, Call
    from batching.clock import Clock
    from batching.queue.batch_queue import BatchQueue
    from batching.sender import Sender

log = logging.getLogger(__name__)


def start_daemon(body: Callable[[], None]) -> threading.Thread:
    """Start a batcher thread, which ends with the process."""
    thread = threading.Thread(target=body, name="batcher", daemon=True)
    thread.start()
    return thread


class Batcher:
    """Gathers calls into batches. Handler threads ``ask``, which is ``submit`` and then ``result``.

    ``threads`` daemon threads all run the same loop, leader and followers: there is no second queue and
    no hand-over between them. A supervisor thread replaces those that die and fails their batches.
    """

    #: How often (s) the supervisor looks by itself; a dying thread normally calls it at once.
    SUPERVISION_PERIOD = 1.0

    def __init__(
        self,
        queue: BatchQueue,
        sender: Sender,
        clock: Clock,
        *,
        threads: int,
        observer: Observer | None = None,
        start_thread: Callable[[Callable[[], None]], threading.Thread] = start_daemon,
    ) -> None:
        self.queue = queue
        self.isolation = Isolation(sender, clock, max(1, threads - 1))
        self._clock = clock
        self._thread_count = threads
        self._observer = observer or Observer()
        self._start_thread = start_thread
        self._threads: list[threading.Thread] = []
        #: Threads on their way out: they still count as alive for a moment after they said so.
        self._dying: list[threading.Thread] = []
        self._attention = threading.Event()
        self._stopping = False

    # ---- handler threads ------------------------------------------------------------------------

    def ask(self, call: Call) -> list[Result]:
        """Queue a call and wait for it; return its results in order, or raise the ``ProxyError`` that ended it."""
        self.submit(call)
        return self.result(call)

    def submit(self, call: Call) -> None:
        """Queue a call; raises what ``Isolation.admit`` and ``BatchQueue.put`` raise, and never waits for room."""
        self.isolation.admit(call)
        self.queue.put(call)

    def result(self, call: Call) -> list[Result]:
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
            self.dispatch(batch)

    def dispatch(self, batch: Batch) -> None:
        """Send one batch, settle it, wake the waiters of the calls that ended, and report."""
        began = self._clock.now()
        try:
            outcomes = self.isolation.send(batch, partial(self._deliver, batch))
        except ProxyError as failure:
            outcomes = Outcomes.failed(failure.bare(), len(batch.items))
        except Exception as failure:  # a bug of ours must not cost the thread, nor the clients their answer
            log.exception("sending a batch failed unexpectedly")
            error = ProxyError(f"unexpected {type(failure).__name__} while sending the batch")
            outcomes = Outcomes.failed(error, len(batch.items))
        latency = self._clock.now() - began
        relay.wake(self.queue.settle(batch, outcomes))
        self._report(batch, outcomes.error, latency)

    def _deliver(self, batch: Batch, first: int, results: list[Result], source: Source) -> None:
        relay.wake(self.queue.deliver(batch, first, results, source))

    def _report(self, batch: Batch, error: ProxyError | None, latency: float) -> None:
        delays = [(batch.taken_at - part.call.arrived, part.stop - part.start) for part in batch.parts]
        outcome = "ok" if error is None else error.outcome
        bulk = [part.call.rank.is_bulk for part in batch.parts] if batch.bulk_items else None
        self._observer.on_batch(
            BatchReport(batch.key.task, len(batch.items), batch.reason, outcome, delays, latency, error, bulk)
        )

    # ---- life and death -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the batcher threads and their supervisor; call it in the process that serves."""
        self._threads = [self._start_thread(self._live) for _ in range(self._thread_count)]
        threading.Thread(target=self._supervise, name="batcher-supervisor", daemon=True).start()

    def stop(self, timeout: float) -> None:
        """Drain for at most ``timeout`` seconds, then fail what is left with 503."""
        self._stopping = True
        self.queue.close()
        self._attention.set()
        end = self._clock.now() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - self._clock.now()))
        rejected = self.queue.reject_all()
        if rejected:
            log.warning("stopped with %d requests unanswered; they get 503", rejected)

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
            except Exception:  # no new thread could be had: try again: dead threads are replaced here only
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
            self._observer.on_thread_death()
        while len(self._threads) < self._thread_count:
            self._threads.append(self._start_thread(self._live))
        return len(dead)
