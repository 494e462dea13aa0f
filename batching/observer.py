"""What the engine tells whoever wants to know: one report for each batch and each upstream call, and what befell it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.errors import ProxyError

log = logging.getLogger(__name__)


class BatchReport(NamedTuple):
    """What observers learn about one finished batch. Times in seconds."""

    route: str
    size: int
    reason: str
    #: ``ok`` or the error's outcome.
    outcome: str
    #: For each part, how long it lay in the queue, and how many items it has.
    queue_delays: list[tuple[float, int]]
    #: From taking the batch to its end, retries and the search for a bad input included.
    latency: float
    error: ProxyError | None


class CallReport(NamedTuple):
    """What observers learn about one finished upstream call."""

    upstream: str
    size: int
    #: Why the batch was sent, or ``isolation``.
    reason: str
    #: Why it was made again; None for the first call of a batch.
    retry_of: str | None
    #: Seconds.
    latency: float
    error: ProxyError | None


class Observer:
    """Whoever wants to know what the engine does. Called on the engine's threads: be quick, do not raise."""

    def on_batch(self, report: BatchReport) -> None:
        """One batch has ended, and those who waited for it are awake."""

    def on_call(self, report: CallReport) -> None:
        """One upstream call has ended."""

    def on_stale_connection(self, upstream: str) -> None:
        """A pooled connection had been closed by the other side just when it was used again; the call was repeated."""

    def on_state(self, upstream: str, ready: bool) -> None:
        """The upstream was seen to answer, or not to answer any more."""

    def on_ejection(self, upstream: str) -> None:
        """The upstream failed so often that it gets no calls for a while."""

    def on_thread_death(self) -> None:
        """A batcher thread died and was replaced."""


def tell(observers: Sequence[Observer], event: str, *what: Any) -> None:
    """Call the method ``event`` of each observer; one that fails harms nobody."""
    for observer in observers:
        try:
            getattr(observer, event)(*what)
        except Exception:
            log.exception("an observer failed")
