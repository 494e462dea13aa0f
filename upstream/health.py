"""What an upstream's health check says, weighed against the calls that it answers."""

from __future__ import annotations

from typing import NamedTuple

from batching.clock import NOW

#: Seconds for which an upstream that has answered a batch may be too busy to answer its health check in time.
BUSY_FOR = 10.0
#: Seconds until a trial that failed is repeated: the first time, and at most; each time in a row twice as long.
FIRST_TRIAL, LAST_TRIAL = 1.0, 16.0


class Health(NamedTuple):
    """What a server's health check says."""

    is_well: bool
    #: Why not, for the log and for health checks of this service.
    reason: str = ""
    #: Whether the server is there and its health check does not tell: a call has to tell whether it works.
    is_unknown: bool = False
    #: Whether the server says itself that it cannot work, or cannot be reached.
    is_down: bool = True


def weigh(health: Health, began: float, now: float, succeeded_at: float, timeout: float) -> Health:
    """Return what a probe means that lasted from ``began`` to ``now``, where a batch succeeded at ``succeeded_at``.

    A batch that came back after the probe began proves more than the probe. One that came back shortly before explains
    a probe that ran into its ``timeout``: the upstream is busy. It also outweighs a health check that fails itself. It
    does not explain a connection that was refused, nor a 503.
    """
    if health.is_well or health.is_unknown or succeeded_at == NOW:
        return health
    is_vague = now - began >= 0.9 * timeout or not health.is_down
    if succeeded_at >= began or (is_vague and now - succeeded_at <= BUSY_FOR):
        return Health(is_well=True)
    return health


class Trials:
    """When a small call tries out an upstream whose health check does not tell whether it works.

    A server without a health check is tried out, one whose calls show a mistake of configuration, and one whose calls
    hang while its health check answers.
    """

    def __init__(self) -> None:
        self.are_wanted = False
        #: What the last trial, or the call that made it necessary, has shown.
        self.latest = Health(False, "it has not been tried yet")
        self._next = NOW
        self._pause = FIRST_TRIAL

    def __repr__(self) -> str:
        return f"<Trials {'wanted' if self.are_wanted else 'not wanted'}, {self.latest}>"

    def is_due(self, now: float) -> bool:
        """Whether the next trial may be made."""
        return self._next <= now

    def want(self) -> None:
        """Only a trial can tell from now on, or a batch that succeeds."""
        if not self.are_wanted:
            self.are_wanted = True
            self._next, self._pause = NOW, FIRST_TRIAL

    def failed(self, health: Health, now: float) -> None:
        """A call of a client shows what a trial would show."""
        self.want()
        self.latest = health
        if self._next <= now:
            self._next = now + self._pause

    def ended(self, health: Health, now: float) -> None:
        """A trial ended like this."""
        self.latest = health
        if health.is_well:
            self.succeeded()
        else:
            self._next = now + self._pause
            self._pause = min(2 * self._pause, LAST_TRIAL)

    def succeeded(self) -> None:
        """The upstream works: no more trials."""
        self.are_wanted = False
