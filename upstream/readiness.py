"""Says which upstreams answer: what health checks ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.monitor import UpstreamMonitor

#: Seconds that a health check waits for a look at all upstreams that is due; then it is told what is known.
LONGEST_WAIT = 0.03


class Readiness:
    """What the monitors of all upstreams know: the service is ready while one upstream is."""

    def __init__(self, monitors: Sequence[UpstreamMonitor]) -> None:
        self._monitors = monitors

    def check(self, max_age: float) -> dict[str, bool]:
        """Say of each upstream whether it answers, as seen at most ``max_age`` seconds ago if a look is quick.

        Where none was ready each is looked at; otherwise those that were, for the monitors look at the others anyway.
        """
        due = [each for each in self._monitors if each.ready] or self._monitors
        for each in due:
            each.ask(max_age)
        wait = LONGEST_WAIT
        for each in due:
            wait = each.await_look(wait)
        return {each.url: each.ready for each in self._monitors}

    def reasons(self) -> dict[str, str]:
        """Say of each upstream that does not answer why not."""
        return {each.url: each.reason for each in self._monitors if not each.ready}

    def start(self) -> None:
        """Start probing, a daemon thread for each."""
        for each in self._monitors:
            each.start()

    def stop(self) -> None:
        """Let the threads end; does not wait for a probe under way."""
        for each in self._monitors:
            each.stop()
