"""The order in which requests that are not POST get their threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.connection import Connection

#: Seconds after the last answer after which a connection that asks again is one that asks seldom.
SELDOM = 1.0

#: What balancers and probes ask.
_PROBES = (b"/health", b"/health/ready", b"/health/live", b"/ping", b"/")


class Operations:
    """Takes probes and all others (metrics, what is refused) in turn, each in the order in which they came.

    Those that ask seldom go before those that ask all the time: a probe waits neither for clients that ask for metrics
    without end, nor for those that ask for health without end on connections that they keep. Main thread.
    """

    def __init__(self) -> None:
        #: Of probes, and of all others: those that ask seldom, and those that ask often.
        self._lines: tuple[tuple[deque[Connection], deque[Connection]], ...] = tuple(
            (deque(), deque()) for _ in range(2)
        )
        self._turn = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, conn: Connection, now: float) -> None:
        """Let a request wait whose bytes the main thread has read. ``now``: the monotonic moment."""
        line = conn.begun.split(b" ", 2)  # of what is malformed it may be one word
        is_probe = len(line) > 1 and line[1].partition(b"?")[0] in _PROBES
        is_seldom = now - conn.operated >= SELDOM
        self._lines[not is_probe][not is_seldom].append(conn)
        self._count += 1

    def pop(self) -> Connection:
        """Return the next one; there must be one."""
        for _ in self._lines:
            self._turn = (self._turn + 1) % len(self._lines)
            for line in self._lines[self._turn]:
                if line:
                    self._count -= 1
                    return line.popleft()
        raise IndexError("no operation waits")
