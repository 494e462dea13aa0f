"""What the engine and the service tell their listeners: one report for each request, batch and upstream call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from batching.rank import ORDINARY, Rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.errors import ProxyError
    from batching.key import Task

log = logging.getLogger(__name__)


class RequestReport(NamedTuple):
    """What observers learn about one request that asked for something to be computed."""

    #: The rule of the route, not the path that the client sent.
    route: str
    items: int
    #: ``ok`` or the error's outcome.
    outcome: str
    rank: Rank = ORDINARY


class BatchReport(NamedTuple):
    """What observers learn about one finished batch. Times in seconds."""

    task: Task
    size: int
    reason: str
    #: ``ok`` or the error's outcome.
    outcome: str
    #: For each part, how long it lay in the queue, and how many items it has.
    queue_delays: list[tuple[float, int]]
    #: From taking the batch to its end, retries and the search for a bad input included.
    latency: float
    error: ProxyError | None
    #: For each part, whether its call is bulk; None: none is.
    bulk: list[bool] | None = None


class CallReport(NamedTuple):
    """What observers learn about one finished upstream call."""

    upstream: str
    size: int
    #: Why the batch was sent, or ``isolation``.
    reason: str
    #: Why it was made again; None for the first call of a batch.
    retry_reason: str | None
    #: Seconds.
    latency: float
    error: ProxyError | None
    #: Of all items together; None where the upstream does not count them.
    tokens: int | None = None


class Observer:
    """A listener. Called on the engine's threads: be quick, do not raise."""

    def on_request(self, report: RequestReport) -> None:
        """One request has its answer."""

    def on_batch(self, report: BatchReport) -> None:
        """One batch has ended, and the waiters of its calls are awake."""

    def on_call(self, report: CallReport) -> None:
        """One upstream call has ended."""

    def on_stale_connection(self, upstream: str) -> None:
        """A pooled connection had been closed by the other side just when it was used again; the call was repeated."""

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:
        """The upstream was seen to answer, or not to answer (any more), or for another reason."""

    def on_dialect(self, upstream: str) -> None:
        """The upstream is spoken to in another way from now on: it was found out, or has changed."""

    def on_look(self, upstream: str) -> None:
        """The upstream's monitor has looked at it, as it does every few seconds."""

    def on_ejection(self, upstream: str) -> None:
        """The upstream failed so often that it gets no calls for a while."""

    def on_thread_death(self) -> None:
        """A batcher thread died and was replaced."""


class Observers(Observer):
    """Passes each event on to several observers; one that fails keeps it from no other."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, *observers: Observer) -> None:
        """Tell these from now on as well."""
        self._observers += observers

    def on_request(self, report: RequestReport) -> None:
        self._tell(lambda each: each.on_request(report))

    def on_batch(self, report: BatchReport) -> None:
        self._tell(lambda each: each.on_batch(report))

    def on_call(self, report: CallReport) -> None:
        self._tell(lambda each: each.on_call(report))

    def on_stale_connection(self, upstream: str) -> None:
        self._tell(lambda each: each.on_stale_connection(upstream))

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:
        self._tell(lambda each: each.on_state(upstream, ready, reason))

    def on_dialect(self, upstream: str) -> None:
        self._tell(lambda each: each.on_dialect(upstream))

    def on_look(self, upstream: str) -> None:
        self._tell(lambda each: each.on_look(upstream))

    def on_ejection(self, upstream: str) -> None:
        self._tell(lambda each: each.on_ejection(upstream))

    def on_thread_death(self) -> None:
        self._tell(lambda each: each.on_thread_death())

    def _tell(self, event: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                event(observer)
            except Exception:
                log.exception("an observer failed")
