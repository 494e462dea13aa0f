"""Says which upstreams answer: what health checks ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.monitor import UpstreamMonitor


class Readiness:
    """What the monitors of all upstreams know: the service is ready while one upstream is."""

    def __init__(self, monitors: Sequence[UpstreamMonitor]) -> None:
        self._monitors = monitors

    def check(self, max_age: float) -> dict[str, bool]:
        """Say of each upstream whether it answers, as seen at most ``max_age`` seconds ago.

        Where none was ready each is probed; otherwise those that were, for the monitors' threads probe the others.
        """
        ready = [each for each in self._monitors if each.ready] or self._monitors
        for each in ready:
            each.check(max_age)
        return {each.url: each.ready for each in self._monitors}

    def start(self) -> None:
        """Start probing, a daemon thread for each."""
        for each in self._monitors:
            each.start()

    def stop(self) -> None:
        """Let the threads end; does not wait for a probe under way."""
        for each in self._monitors:
            each.stop()
