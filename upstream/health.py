"""What an upstream's health check says, weighed against the calls that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.clock import NOW
from batching.key import BatchKey, Task

if TYPE_CHECKING:
    from batching.errors import UpstreamMisconfigured

#: Seconds for which an upstream that has answered a batch may be too busy to answer its health check in time.
BUSY_FOR = 10.0
#: Seconds until a trial that failed is repeated: the first time, and at most; each time in a row twice as long.
FIRST_TRIAL, LAST_TRIAL = 1.0, 16.0
#: A call that tries whether the server works, by what the model is for: one short text.
TRIALS: dict[str | None, tuple[BatchKey, list[bytes]]] = {
    None: (BatchKey(Task.EMBED), [b'"ping"']),
    "classifier": (BatchKey(Task.CLASSIFY), [b'["ping"]']),
    "reranker": (BatchKey(Task.CLASSIFY), [b'["ping","pong"]']),
    "sparse": (BatchKey(Task.EMBED_SPARSE), [b'"ping"']),
}


class Health(NamedTuple):
    """What a server's health check says."""

    is_well: bool
    #: Why not, for the log and for health checks of this service.
    reason: str = ""
    #: Whether the server is there and its health check does not tell: a call has to tell whether it works.
    is_unknown: bool = False
    #: Whether the server says itself that it cannot work, or cannot be reached.
    is_down: bool = True
    #: Whether it has answered a small call, and not as its API has it: it may speak another one.
    is_answered: bool = False


def mistake(problem: UpstreamMisconfigured) -> str:
    """Return why calls that end like this make an upstream not ready."""
    reason = problem.reason or str(problem)
    return f"calls are answered with {reason}" if reason.startswith("status") else reason


def described(problem: Exception) -> str:
    """Return what the log says of a failed call."""
    reason = getattr(problem, "reason", "")
    return f"{problem} ({reason})" if reason and reason not in str(problem) else str(problem)


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

    def doubt(self, now: float) -> None:
        """A call has ended in a way that its client may have chosen: a trial tells, as soon as one is due.

        Until then the latest one goes on to hold. While trials disprove the doubts they are made ever more seldom.
        """
        if self.are_wanted:
            return
        self.are_wanted = True
        if now - self._next > LAST_TRIAL:
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
        self.are_wanted = not health.is_well
        self._next = now + self._pause
        self._pause = min(2 * self._pause, LAST_TRIAL)

    def succeeded(self) -> None:
        """A batch shows that the upstream works: no more trials."""
        self.are_wanted = False
        self.latest = Health(is_well=True)

    def restart(self) -> None:
        """The upstream has gone: what comes back may be tried at once."""
        self._next, self._pause = NOW, FIRST_TRIAL
