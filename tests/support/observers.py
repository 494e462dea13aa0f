"""An observer that keeps all that it is told, for tests to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching import Observer

if TYPE_CHECKING:
    from batching.observer import BatchReport, CallReport, RequestReport


class RecordingObserver(Observer):
    """Keeps every event of the engine, the upstream side and the service, each kind in its order."""

    def __init__(self) -> None:
        self.requests: list[RequestReport] = []
        self.batches: list[BatchReport] = []
        self.calls: list[CallReport] = []
        #: Upstreams whose pooled connection turned out to be closed.
        self.stale_connections: list[str] = []
        #: Upstreams that were seen to answer, or not to answer any more.
        self.states: list[tuple[str, bool]] = []
        self.ejections: list[str] = []
        self.thread_deaths = 0

    def on_request(self, report: RequestReport) -> None:
        self.requests.append(report)

    def on_batch(self, report: BatchReport) -> None:
        self.batches.append(report)

    def on_call(self, report: CallReport) -> None:
        self.calls.append(report)

    def on_stale_connection(self, upstream: str) -> None:
        self.stale_connections.append(upstream)

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:
        self.states.append((upstream, ready))

    def on_ejection(self, upstream: str) -> None:
        self.ejections.append(upstream)

    def on_thread_death(self) -> None:
        self.thread_deaths += 1
