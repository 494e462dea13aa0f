"""Looks up the addresses of a host, on a thread of its own: a look-up cannot be interrupted, but a wait for it can."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING

from batching.clock import NEVER, NOW
from batching.errors import UpstreamTimeout, UpstreamUnavailable
from upstream.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Returns the addresses of a host and a port; raises ``OSError``, or ``ValueError`` for what can be no host name.
    Resolve = Callable[[str, int], list[Address]]
    #: Takes the addresses that were found.
    Tell = Callable[[list[Address]], None]

#: Seconds after which a name is looked up again while it is used.
PERIOD = 5.0
#: Seconds between two look-ups at least where no address answers.
SHORTEST_PERIOD = 1.0
#: Longest wait (s) for a name of which no address is known, and for one whose addresses do not answer.
FIRST_WAIT, RENEWAL_WAIT = 3.0, 1.0


def resolve(host: str, port: int) -> list[Address]:
    """Ask the system for the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Address(family, kind, protocol, place) for family, kind, protocol, _, place in found]


class Lookup:
    """Keeps the addresses of one host up to date: what is found is told, and a failure leaves what was told before.

    An IP address is looked up once, in the thread that asks: that asks no server.
    """

    def __init__(self, host: str, port: int, now: Callable[[], float], resolve: Resolve = resolve) -> None:
        self._host, self._port = host, port
        self._now = now
        self._resolve = resolve
        self._is_literal = _is_literal(host)
        #: The moment from which the name is to be looked up again; NEVER before the first time, and for an IP address.
        self.due = NEVER
        # Guards what follows; notified when a look-up has ended.
        self._ended = threading.Condition()
        self._is_running = False
        self._count = 0
        self._began = NOW
        self._knows_some = False
        self._failure = ""

    def begin(self, tell: Tell) -> None:
        """Begin a look-up unless one is under way; does not wait for it.

        ``tell`` is called, on the look-up's thread, if it succeeds.
        """
        with self._ended:
            if self._is_running:
                return
            self._is_running = True
            self._began = self._now()
        try:
            threading.Thread(target=self._run, args=(tell,), name="upstream-lookup", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._run(tell)

    def first(self, tell: Tell, end: float) -> None:
        """Return when addresses have been told; raises an ``UpstreamError`` at the moment ``end`` at latest."""
        if self._knows_some:
            return
        if self._is_literal:
            self._run(tell)
        else:
            began = self._now()
            if not self._await_one(tell, min(end - began, FIRST_WAIT)) and end < began + FIRST_WAIT:
                raise UpstreamTimeout("the upstream's name was not resolved in the time that was left")
        if not self._knows_some:
            reason = f"{self._host}: {self._failure or f'no answer to the look-up within {FIRST_WAIT:g} s'}"
            raise UpstreamUnavailable(
                "the upstream cannot be reached: its name cannot be resolved", retry_after=1, reason=reason
            )

    def renew(self, tell: Tell, end: float) -> bool:
        """Look the name up again, since its addresses do not answer; whether that was done in time."""
        now = self._now()
        if self._is_literal or now - self._began < SHORTEST_PERIOD:
            return False
        return self._await_one(tell, min(end - now, RENEWAL_WAIT))

    def _await_one(self, tell: Tell, longest: float) -> bool:
        """Wait for the end of a look-up, ``longest`` seconds at most; return whether it came."""
        if longest <= 0:
            return False
        count = self._count
        self.begin(tell)
        with self._ended:
            return self._ended.wait_for(lambda: self._count > count, longest)

    def _run(self, tell: Tell) -> None:
        failure = "no address was found"
        found: list[Address] = []
        try:
            try:
                found = self._resolve(self._host, self._port)
            except (OSError, ValueError) as problem:  # the latter: a host name that cannot be one
                failure = str(problem)
            if found:
                tell(found)
        finally:
            with self._ended:
                self._is_running = False
                self._count += 1
                self._knows_some = self._knows_some or bool(found)
                self._failure = "" if found else failure
                if self._knows_some and not self._is_literal:
                    self.due = self._now() + PERIOD
                self._ended.notify_all()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
