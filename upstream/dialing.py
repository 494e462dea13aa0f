"""Opens a connection to one of several addresses: beside one that is slow to answer, the next is tried (RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from batching.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from upstream.connection import Connection, time_left
from upstream.tls import handshake, words_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream.addresses import Target
    from upstream.origin import Origin

#: Longest time (s) to wait for a TCP connection and the TLS handshake: on a network that works it takes milliseconds.
CONNECT_TIMEOUT = 3.0
#: Seconds that an address has before the next one is tried beside it.
HEAD_START = 0.25
#: A silent peer is asked for a sign of life after so many seconds, then each so many; so many silences, and it is dead.
KEEP_ALIVE_IDLE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_COUNT = 15, 5, 3
#: Addresses of which the reason of a failure tells.
MOST_REASONS = 4

_TCP = socket.IPPROTO_TCP
#: Each is set where the system knows it. Requests are small and whole: none waits for another to be sent along.
OPTIONS = (
    (_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (_TCP, "TCP_KEEPIDLE", KEEP_ALIVE_IDLE),
    (_TCP, "TCP_KEEPINTVL", KEEP_ALIVE_INTERVAL),
    (_TCP, "TCP_KEEPCNT", KEEP_ALIVE_COUNT),
)


class Failure(NamedTuple):
    """Why an address could not be connected to. No exception is kept: it would keep every frame on its way."""

    #: For clients; names no address.
    message: str
    #: For the operator's log.
    reason: str
    #: Whether the time ran out, rather than the address refused.
    is_late: bool = False


#: An address that did not answer the connection attempt, and one that did not answer to TLS.
LATE = Failure(
    f"the upstream cannot be reached: no answer to the connection attempt within {CONNECT_TIMEOUT:g} s",
    "no answer",
    is_late=True,
)
LATE_HANDSHAKE = Failure("the TLS handshake with the upstream failed: no answer", "no answer to TLS", is_late=True)


def dial(
    origin: Origin,
    targets: Sequence[Target],
    end: float,
    now: Callable[[], float],
    on_failed: Callable[[Target, str], None] = lambda *_: None,
) -> Connection:
    """Return a new connection to the first of the targets that takes one; ``on_failed`` is told of the others.

    Raises ``UpstreamUnavailable`` where they refuse or ``CONNECT_TIMEOUT`` has passed, and ``UpstreamTimeout`` where
    the moment ``end`` came sooner than that: then it shows nothing about the upstream.
    """
    began = now()
    dialler = _Dialler(origin, targets, min(end, began + CONNECT_TIMEOUT), now)
    try:
        connection = dialler.connect()
    finally:
        for target, failure in dialler.failures.items():
            on_failed(target, failure.reason)
    if connection is None:
        raise _summary(dialler.failures, had_full_time=end >= began + CONNECT_TIMEOUT)
    return connection


class _Dialler:
    """One connection in the making."""

    def __init__(self, origin: Origin, targets: Sequence[Target], end: float, now: Callable[[], float]) -> None:
        self._origin = origin
        self._end = end
        self._now = now
        self._untried = deque(targets)
        #: Sockets that connect, by their file numbers, the oldest first.
        self._under_way: dict[int, tuple[socket.socket, Target]] = {}
        self._poll = select.poll()
        self.failures: dict[Target, Failure] = {}

    def connect(self) -> Connection | None:
        """Return a connection; None if no target takes one in time."""
        try:
            while self._untried or self._under_way:
                if (connected := self._next_connected()) is None:
                    continue
                sock, target = connected
                try:
                    return Connection(self._finished(sock), target, self._now)
                except TimeoutError:
                    self.failures[target] = LATE_HANDSHAKE
                except (OSError, ValueError) as problem:
                    message = f"the TLS handshake with the upstream failed: {words_for(problem)}"
                    self.failures[target] = Failure(message, str(problem) or type(problem).__name__)
        except TimeoutError:
            for _, target in self._under_way.values():
                self.failures[target] = LATE
        finally:
            for sock, _ in self._under_way.values():
                sock.close()
        return None

    def _next_connected(self) -> tuple[socket.socket, Target] | None:
        """Begin with the next target, and wait for one that connects or fails, or until another should be tried too.

        Raises ``TimeoutError`` when no more time is left.
        """
        left = time_left(self._end, self._now)
        if self._untried:
            self._begin(self._untried.popleft())
        if not self._under_way:
            return None
        if self._untried:
            ready = self._poll.poll(1000 * min(HEAD_START, left / (len(self._untried) + 1)))
        elif not (ready := self._poll.poll(1000 * left)):
            raise TimeoutError
        for number, _ in ready:
            self._poll.unregister(number)
            sock, target = self._under_way[number]
            if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                del self._under_way[number]
                sock.close()
                self.failures[target] = _failure_of(problem)
                continue
            self._give_up_others(number)
            return sock, target
        return None

    def _begin(self, target: Target) -> None:
        family, kind, protocol, place = target.address
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as problem:  # a kernel without IPv6, perhaps, or too many open files
            self.failures[target] = _failure_of(problem.errno or 0)
            return
        sock.setblocking(False)
        problem_number = sock.connect_ex(place)
        if problem_number not in {0, errno.EINPROGRESS}:
            sock.close()
            self.failures[target] = _failure_of(problem_number)
            return
        self._under_way[sock.fileno()] = sock, target
        self._poll.register(sock, select.POLLOUT)

    def _give_up_others(self, winner: int) -> None:
        """Close the other sockets; a target that was begun before the winner, and has not answered yet, has failed."""
        is_older = True
        for number, (sock, target) in self._under_way.items():
            if number == winner:
                is_older = False
                continue
            self._poll.unregister(number)
            sock.close()
            if is_older:
                self.failures[target] = LATE
            else:
                self._untried.append(target)
        self._under_way.clear()

    def _finished(self, sock: socket.socket) -> socket.socket:
        """Return the stream over a connected socket, ready for exchanges."""
        try:
            for level, name, value in OPTIONS:
                with suppress(OSError, AttributeError):  # the system does not know it
                    sock.setsockopt(level, getattr(socket, name), value)
            if self._origin.tls is not None:
                share = time_left(self._end, self._now) / (len(self._untried) + 1)
                sock = handshake(sock, self._origin.tls, self._origin.host, share)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock


def _failure_of(number: int) -> Failure:
    """Return the failure that an error number of the system means."""
    if number == errno.ETIMEDOUT:
        return LATE
    text = os.strerror(number)
    return Failure(f"the upstream cannot be reached: {text[:1].lower()}{text[1:]}", f"[Errno {number}] {text}")


def _summary(failures: dict[Target, Failure], *, had_full_time: bool) -> UpstreamError:
    """Return one error for the failures of all addresses; the same ones give the same words in whatever order."""
    by_address = sorted((str(target), failure) for target, failure in failures.items())
    reason = "; ".join(f"{address}: {failure.reason}" for address, failure in by_address[:MOST_REASONS])
    if len(by_address) > MOST_REASONS:
        reason += f"; and {len(by_address) - MOST_REASONS} more"
    if not by_address or (not had_full_time and any(failure.is_late for _, failure in by_address)):
        return UpstreamTimeout("the upstream could not be connected to in the time that was left", reason=reason)
    return UpstreamUnavailable(by_address[0][1].message, retry_after=1, reason=reason)
