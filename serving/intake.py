"""Requests between their first byte and the thread that serves them: half heads, the queues, and the surplus."""

from __future__ import annotations

import math
import re
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from api.body import TooSlowError
from api.error_forms import retry_after_header
from serving.arriving import is_unfinished, is_whole, missing
from serving.host import contained, drop
from serving.liveness import LivenessAnswers
from serving.operations import SELDOM, Operations
from serving.response import refusal, send_refusal
from serving.service import cors_headers
from serving.share import Share
from serving.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.connection import Connection
    from serving.host import Host

#: Bytes of a request that the main loop reads.
MOST_READ = 8192

#: Bytes of a body that are waited for before its request gets a thread; they stay in the system's buffer.
MOST_AWAITED = 32_768

#: Answers to clients that ask for liveness all the time, on one turn of the main loop.
MOST_ANSWERED = 16

#: Threads that serve other requests than POST at a time, the share of one core that these take while there are POST
#: requests too, and the seconds of it that may be saved up.
MOST_OPERATIONS, OPERATIONS_SHARE, MOST_SAVED = 2, 0.08, 0.1
#: Seconds of the main loop's time that each of them costs beside its thread's.
OVERHEAD = 2e-4

_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,256})[ \t]*\r\n", re.IGNORECASE)


class Threads(Protocol):
    """What the intake asks of the pool threads' side."""

    def waiting(self) -> int:
        """Return how many threads wait for bytes of a client."""


class Intake:
    """Decides what becomes of a request that has begun to arrive. Main thread.

    - A head that is not whole is waited for here, for ``read_timeout`` seconds, and so is the beginning of a body.
    - A POST request waits for a thread, or is answered 429 when more have come than may be served at a time: behind
      those it would only slow them down.
    - All others (health, metrics, what is refused) wait in a line of their own, of which few have threads at a time.
    - A client that asks whether the process lives is answered at once, or in turn if it asks all the time.
    """

    def __init__(
        self,
        host: Host,
        threads: Threads,
        settings: Any,
        *,
        most_requests: int,
        read_timeout: float,
        count_unread: Callable[[int], None],
        payload_limit: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``settings``: gunicorn's. ``most_requests``: taken in at a time, before POST requests are refused with 429.

        A body longer than ``payload_limit`` is not waited for, as its request is refused unread.
        ``count_unread`` is told the status of each request refused here. ``clock`` returns monotonic seconds.
        """
        self._host = host
        self._threads = threads
        self._longest_line: int = settings.limit_request_line
        #: POST requests taken in at a time.
        self.most_requests = most_requests
        self._read_timeout = read_timeout
        self._payload_limit = payload_limit
        self._count_unread = count_unread
        self._clock = clock
        self._liveness = LivenessAnswers()
        self._arriving = Watched(host, self._go_on)
        self._ready: deque[Connection] = deque()
        self._operations = Operations()
        #: Connections that ask for liveness all the time.
        self._asking: deque[Connection] = deque()
        self._share = Share(OPERATIONS_SHARE, MOST_SAVED, clock)
        self._in_pool = self._operations_in_pool = 0
        #: Requests refused here since the start, because more have come than can be served.
        self.refused = 0

    # ---- requests that come ---------------------------------------------------------------------

    def begin(self, conn: Connection) -> None:
        """Take a connection that no list holds and on which bytes have come."""
        try:
            goes_on = conn.read_ahead(MOST_READ)
        except BlockingIOError:  # the poller's word is not always good
            goes_on = True
        except OSError:
            goes_on = False
        if not goes_on:
            drop(self._host, conn)
        elif self._must_wait(conn):
            conn.began = self._clock()
            self._arriving.add(conn, conn.began + self._read_timeout)
        else:
            self._admit(conn, conn.begun)

    def _go_on(self, conn: Connection) -> None:
        """Read more of a head. It keeps its place, and its moment, among those that arrive; so does its body."""
        goes_on = True
        if conn.awaits_rest:
            conn.await_rest(1)
        else:
            try:
                goes_on = conn.read_ahead(MOST_READ - len(conn.ahead))
            except BlockingIOError:
                return
            except OSError:
                goes_on = False
            if goes_on and self._must_wait(conn):
                return
        self._arriving.remove(conn)
        if goes_on:
            conn.spent = self._clock() - conn.began
            self._admit(conn, conn.begun)
        else:
            drop(self._host, conn)

    def _must_wait(self, conn: Connection) -> bool:
        """Return whether a thread would only wait for the rest of what has come; let the poller wait for it then."""
        if is_unfinished(conn.ahead, self._longest_line, MOST_READ):
            return True
        rest = missing(conn.begun)
        if not 0 < rest <= self._payload_limit or self._is_full():
            return False
        conn.await_rest(min(rest, MOST_AWAITED))
        return conn.awaits_rest

    def _is_full(self) -> bool:
        return len(self._ready) + self._in_pool - self._threads.waiting() >= self.most_requests

    def _admit(self, conn: Connection, request: bytes) -> None:
        conn.is_operation = not request.startswith(b"POST ") and b"\r\n\r\n" in request
        if conn.is_operation:
            now = self._clock()
            if self._liveness.is_asked(self._host.wsgi, request) and now - conn.operated < SELDOM:
                self._asking.append(conn)
            elif not self._answer_liveness(conn, request):
                self._operations.add(conn, now)
            return
        if self._is_full() and request.startswith(b"POST "):
            self._refuse(conn, request)
        else:
            self._ready.append(conn)

    # ---- requests that are answered here --------------------------------------------------------

    def _answer_liveness(self, conn: Connection, request: bytes) -> bool:
        made = self._liveness.answer(self._host.wsgi, conn, request, must_close=self._host.must_close())
        if made is None:
            return False
        conn.ahead = b""
        conn.operated = self._clock()
        response, stays = made
        try:
            stays = conn.sock.send(response, socket.MSG_DONTWAIT) == len(response) and stays
        except OSError:
            drop(self._host, conn)
            return True
        if stays:
            self._host.keep(conn)
        else:
            drop(self._host, conn, graceful=True)
        return True

    def _refuse(self, conn: Connection, request: bytes) -> None:
        text = "more requests have come than can be served, no more are taken"
        answer = self._refusal(429, text, request, ("Retry-After", retry_after_header(1)))
        # The end of the stream follows at once: with this flag both leave in one packet.
        send_refusal(conn.sock, answer, socket.MSG_MORE)
        self._count_unread(429)
        self.refused += 1
        drop(self._host, conn, graceful=not is_whole(request))

    def _refusal(self, status: int, text: str, request: bytes, *headers: tuple[str, str]) -> bytes:
        """Return the answer to a request whose line has come, with what its head tells so far."""
        asked, origin = _REQUEST_ID.search(request), _ORIGIN.search(request)
        return refusal(
            status,
            text,
            path=request.split(b" ", 2)[1].decode("latin-1"),
            error_type="Overloaded" if status == 429 else None,
            identity=asked[1].decode() if asked else None,
            headers=[*headers, *cors_headers(self._host.wsgi, origin[1].decode() if origin else None)],
        )

    def turn_away(self, conn: Connection) -> None:
        """Answer 503 to a request that was given to the pool when there is no thread at all."""
        self.take_back(conn)
        headers = [("Retry-After", retry_after_header(1)), *cors_headers(self._host.wsgi, None, is_read=False)]
        send_refusal(conn.sock, refusal(503, "the system lets no thread start", headers=headers))
        self._count_unread(503)
        drop(self._host, conn)

    def _give_up(self, conn: Connection, *, graceful: bool) -> None:
        if conn.awaits_rest:
            answer = self._refusal(408, str(TooSlowError()), conn.ahead)
        else:
            answer = refusal(408, str(TooSlowError()), headers=cors_headers(self._host.wsgi, None, is_read=False))
        send_refusal(conn.sock, answer)
        self._count_unread(408)
        drop(self._host, conn, graceful=graceful)

    # ---- requests that get a thread -------------------------------------------------------------

    def hand_out(self, most: int) -> list[Connection]:
        """Return the connections that get a thread now, in the order in which they came.

        ``most`` POST requests at most; of the others, as many as their share allows. A few of the clients that ask for
        liveness all the time are answered before.
        """
        for _ in range(min(len(self._asking), MOST_ANSWERED)):
            contained(self._host, self._asking.popleft(), self._answer_in_turn)
        given = []
        while self._operations and not self.wait():
            given.append(self._operations.pop())
            self._operations_in_pool += 1
        posts = [self._ready.popleft() for _ in range(min(len(self._ready), most))]
        self._in_pool += len(posts)
        return given + posts

    def _answer_in_turn(self, conn: Connection) -> None:
        if not self._answer_liveness(conn, conn.ahead):
            self._operations.add(conn, self._clock())

    def wait(self) -> float:
        """Return in how many seconds another operation may get a thread; infinity: when one has come back."""
        if self._operations_in_pool >= MOST_OPERATIONS:
            return float("inf")
        if len(self._ready) + self._in_pool <= self._threads.waiting():
            return 0.0  # nothing else is at work
        return self._share.wait()

    def timeout(self, most: float) -> float:
        """Return how long the main loop may wait for events, ``most`` seconds at most."""
        if self._ready or self._asking:
            return 0.0
        return min(most, self.wait()) if self._operations else most

    def take_back(self, conn: Connection, seconds: float = 0.0) -> None:
        """Note that a pool thread has finished with a connection, on which it has worked for so long."""
        if conn.is_operation:
            self._operations_in_pool -= 1
            conn.operated = self._clock()
            self._share.wait()
            self._share.pay(seconds + OVERHEAD)
        else:
            self._in_pool -= 1

    @property
    def busy(self) -> int:
        """How many connections have a thread, or wait for one that they may have."""
        return len(self._ready) + self._in_pool + self._operations_in_pool

    # ---- requests whose time is over ------------------------------------------------------------

    def close_expired(self) -> None:
        """Answer 408 where a head has not arrived in time."""
        for conn in self._arriving.expire(self._clock()):
            self._give_up(conn, graceful=True)

    def drop_oldest(self, *, older_than: float = 0.0) -> bool:
        """Answer 408 to the oldest head that has been arriving for so many seconds; return whether there was one."""
        conn = self._arriving.oldest(by=self._clock() + self._read_timeout - older_than)
        if conn is None:
            return False
        self._arriving.remove(conn)
        self._give_up(conn, graceful=False)
        return True
