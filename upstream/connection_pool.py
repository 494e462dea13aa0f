"""Keeps the idle connections to one upstream, spread over its addresses, and opens others."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING

from batching.clock import NEVER, NOW
from batching.errors import UpstreamUnavailable
from upstream.addresses import Addresses
from upstream.connection import State
from upstream.dialing import dial
from upstream.lookup import Lookup, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upstream.addresses import Address, Target
    from upstream.connection import Connection
    from upstream.lookup import Resolve
    from upstream.origin import Origin
log = logging.getLogger(__name__)

#: Seconds between two looks at what is old, while connections are taken.
TIDY_PERIOD = 1.0


class ConnectionPool:
    """Keeps the idle connections to one origin; any thread may take one, and puts it back after its exchange.

    Each address has connections of its own. ``Addresses`` says which address is next; of its connections the one put
    back last is taken first, so those that a smaller load does not need grow old and are closed. The pool bounds what
    it keeps, not what is open: a connection that finds it full is closed.
    """

    def __init__(
        self,
        origin: Origin,
        size: int,
        now: Callable[[], float] = time.monotonic,
        *,
        idle: float = NEVER,
        resolve: Resolve = resolve,
    ) -> None:
        """``size``: connections kept, and one more for each further address; ``now``: the clock (s) of the deadlines.

        ``idle``: seconds after which an idle connection is closed and not used again.
        """
        self.origin = origin
        self.size = size
        self._now = now
        self._longest_idle = idle
        self._lookup = Lookup(origin.host, origin.port, now, resolve)
        # Guards what follows; held for a moment, never while a socket is used.
        self._lock = threading.Lock()
        self._addresses = Addresses()
        self._idle: dict[Target, list[Connection]] = {}
        self._kept = 0
        self._room = size
        #: The target, if there is one only: it needs no choice.
        self._only: Target | None = None
        #: The moment from which old connections are to be closed, or the name to be looked up again.
        self._due = NOW
        self._is_closed = False
        # A pool that is dropped without `close` closes its connections as well.
        weakref.finalize(self, _close_all_of, self._idle)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{self._kept} of {self._room} idle"
        return f"<ConnectionPool of {self.origin}, {state}>"

    def take(self, end: float) -> Connection:
        """Return an idle connection that neither side has given up, or else a new one; see ``open``."""
        now = self._now()
        if now >= self._due:
            self._tidy(now)
        while True:
            connection = None
            with self._lock:
                target = self._only or self._addresses.choose(now)
                if target is not None:
                    target.busy += 1
                    if idle := self._idle[target]:
                        connection = idle.pop()
                        self._kept -= 1
            if connection is None:
                return self._open(target, end)
            if connection.until >= now and connection.is_available:
                return connection
            connection.close()
            self.put(connection)

    def open(self, end: float) -> Connection:
        """Return a new connection; raises ``UpstreamUnavailable`` or ``UpstreamTimeout`` (see ``dial``)."""
        with self._lock:
            target = self._addresses.choose(self._now())
            if target is not None:
                target.busy += 1
        return self._open(target, end)

    def put(self, connection: Connection) -> None:
        """Take a connection back, and keep it if it is idle; where that is too much, the fullest address loses one."""
        now = self._now()
        target = connection.target
        surplus: Connection | None = connection
        works_again = False
        with self._lock:
            target.busy -= 1
            if connection.state is State.IDLE and target.is_listed:
                surplus = None if self._kept < self._room else self._surplus(connection)
                if surplus is not connection:
                    connection.until = now + connection.longest_idle
                    self._idle[target].append(connection)
                    self._kept += 1
                if target.failures:
                    works_again = True
                    self._addresses.worked(target)
        if surplus is not None:
            surplus.close()
        if works_again and self._only is None:
            log.info("address %s of upstream %s works again", target, self.origin)

    def avoid(self, target: Target, reason: str) -> None:
        """Leave an address that broke a connection or hangs alone for a moment, and close what leads there.

        Does nothing where the name has one address only.
        """
        with self._lock:
            if self._only is not None or not target.is_listed:
                return
            left = self._idle[target].copy()
            self._idle[target].clear()
            self._kept -= len(left)
        _close_all(left)
        self._note_failed(target, reason)

    def close_idle(self) -> None:
        """Close the connections that have been idle for too long; costs little where there are none."""
        now = self._now()
        old: list[Connection] = []
        with self._lock:
            for idle in self._idle.values():
                old += (each for each in idle if each.until < now)
                idle[:] = (each for each in idle if each.until >= now)
            self._kept -= len(old)
        _close_all(old)

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are put back. No more are opened."""
        with self._lock:
            self._is_closed = True
            self._room = 0
            left = [each for idle in self._idle.values() for each in idle]
            for idle in self._idle.values():
                idle.clear()
            self._kept = 0
        _close_all(left)

    def _surplus(self, connection: Connection) -> Connection:
        """Take out, and return, the one to be closed so that this one may be kept, or this one; under the lock."""
        fullest = max(self._idle.values(), key=len)
        if len(fullest) <= len(self._idle[connection.target]):
            return connection
        self._kept -= 1
        return fullest.pop(0)

    def _tidy(self, now: float) -> None:
        """Close what has been idle for too long, and have the name looked up again if it is time for that."""
        self._due = now + TIDY_PERIOD
        self.close_idle()
        if now >= self._lookup.due:
            self._lookup.begin(self._told)

    def _told(self, found: list[Address]) -> None:
        """Take the addresses to which the name leads now. What leads to others is closed."""
        with self._lock:
            gone = self._addresses.told(found)
            left = [each for target in gone for each in self._idle.pop(target)]
            targets = self._addresses.all()
            for target in targets:
                self._idle.setdefault(target, [])
            self._kept -= len(left)
            self._only = targets[0] if len(targets) == 1 else None
            self._room = 0 if self._is_closed else self.size + len(targets) - 1
        _close_all(left)

    def _open(self, target: Target | None, end: float) -> Connection:
        """Return a new connection, to ``target`` if it can be; ``target``, if any, has been counted as busy."""
        used = None
        try:
            if self._is_closed:
                raise UpstreamUnavailable("the connections to the upstream are closed")
            if target is None:
                self._lookup.first(self._told, end)
            tried = self._order(target)
            try:
                connection = dial(self.origin, tried, end, self._now, self._note_failed)
            except UpstreamUnavailable:
                if not self._lookup.renew(self._told, end):
                    raise
                if not (fresh := [each for each in self._order(None) if each not in tried]):
                    raise
                connection = dial(self.origin, fresh, end, self._now, self._note_failed)
            connection.longest_idle = self._longest_idle
            used = connection.target
            return connection
        finally:
            with self._lock:
                if target is not None:
                    target.busy -= 1
                if used is not None:
                    used.busy += 1

    def _order(self, target: Target | None) -> list[Target]:
        with self._lock:
            now = self._now()
            first = target or self._addresses.choose(now)
            return [] if first is None else self._addresses.order(first, now)

    def _note_failed(self, target: Target, reason: str) -> None:
        with self._lock:
            is_news = target.failures == 0 and self._only is None
            self._addresses.failed(target, self._now())
        if is_news:
            log.info("address %s of upstream %s is left alone while others work: %s", target, self.origin, reason)


def _close_all(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.close()


def _close_all_of(idle: dict[Target, list[Connection]]) -> None:
    for connections in idle.values():
        _close_all(connections)
