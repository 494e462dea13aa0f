"""gunicorn's gthread worker, made to answer in JSON, to bound slow clients and to waste no wake-ups."""

from __future__ import annotations

import errno
import re
import selectors
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.workers import gthread

from api.body import TooSlowError
from api.error_forms import ERROR_TYPES, error_body, retry_after_header
from api.request_id import new_request_id
from batching import relay
from config import idle_threads
from config.active import active
from config.sizing import LEAST_SPARE_THREADS
from serving.heads import Heads
from serving.wire import Connection, Unreader, is_whole

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([^\r]*)\r\n")

#: Seconds for which a connection that we close may still send what was under way, so that the answer is not
#: torn up by a reset, and the bytes that we take of it.
LINGER, LINGER_BYTES = 2.0, 65_536

#: Connections taken in, and requests handed to threads, in one turn of the main loop; the bytes read of a request
#: that is refused, and the seconds for which a turn may do nothing but refuse.
MOST_ACCEPTED, MOST_AT_ONCE, MAX_SHED_BYTES, LONGEST_TURN = 64, 4, 8192, 0.1

_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w-]{1,64})[ \t]*\r\n", re.IGNORECASE)


class ProxyWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """One process of the service, HTTP/1.1 in the clear. What differs from gunicorn's own worker:

    - A thread **stays with its connection** and waits for the next request itself, as long as few threads do
      so: the request then wakes the thread that serves it, and not the poller, the pool and then the thread.
    - A client has ``read_timeout_ms`` to send a request, **absolutely**. (The worker's time-out watches
      nothing of that, and a time-out of the socket would start anew with each byte.)
    - A new connection gets a thread when it begins to speak, not before, and one that is closed makes nobody
      wait: gunicorn spends up to five seconds of a thread on the one, and two of its main loop on the other.
    - Once more requests have come than may be served at once, the main loop answers **429 by itself**, before
      threads, parsing and Flask: a surplus must not wait behind those whom it would only slow down.
    - What gunicorn refuses by itself (a malformed request line, too many headers) is answered **in JSON**.
    - SIGTERM tells the engine at once, so that what waits is sent without batching delay. Ctrl-C waits for nobody.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The app, once it is loaded: a signal may come before.
        self.wsgi: Any = None
        settings = active()
        self._read_timeout = settings.read_timeout
        self._idle_limit = idle_threads(settings)
        self._most_requests = settings.max_concurrent_requests + LEAST_SPARE_THREADS
        # gunicorn looks a setting up through two dictionaries each time, some thirty times a request.
        self._settings = SimpleNamespace(**{name: each.get() for name, each in self.cfg.settings.items()}, is_ssl=False)
        #: Connections that have not sent a byte yet, and those that we have closed our side of, each with the
        #: moment when patience ends; oldest first. Only the main thread touches them.
        self._silent: dict[Connection, float] = {}
        self._lingering: dict[Connection, float] = {}
        #: Connections that have a pool thread, and those of them that it waits with for the next request. Threads
        #: add and remove their own: single operations on a set, atomic by themselves.
        self._attended: set[Connection] = set()
        self._idle: set[Connection] = set()
        #: What reads the requests that are slow to arrive: those hold threads, but no place in the queue.
        self._readers: set[Unreader] = set()
        self._heads = Heads()
        #: Connections with a request that no thread has been asked to serve yet, and how many connections are with
        #: the threads. The main thread's own.
        self._ready: deque[Connection] = deque()
        self._in_pool = 0
        self._quitting = False
        self._shed_count = 0

    # ---- connections that come (main thread) ----------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take in new connections, and watch for their first bytes."""
        here = listener.getsockname()
        for _ in range(min(MOST_ACCEPTED, self.worker_connections - self.nr_conns)):
            try:
                client, address = listener.accept()
            except OSError as problem:
                # Nobody is there, or there are no files or memory for him (those who leave make room), or the network
                # tells of his trouble here (accept(2)). Anything else means that the listener is gone.
                if problem.errno in {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}:
                    raise
                return
            self.nr_conns += 1
            conn = Connection(
                self._settings, client, address, here, linger=self._linger, readers=self._readers, heads=self._heads
            )
            self._silent[conn] = time.monotonic() + self.cfg.keepalive
            self.poller.register(client, selectors.EVENT_READ, partial(self._on_first_byte, conn))

    def _on_first_byte(self, conn: Connection, client: socket.socket) -> None:
        self.poller.unregister(client)
        del self._silent[conn]
        conn.was_polled = True
        self.enqueue_req(conn)

    # ---- surplus (main thread) ------------------------------------------------------------------

    def enqueue_req(self, conn: Connection) -> None:
        """Take a request that has begun to arrive, or refuse it at once."""
        # Where many come at once, many may only be leaving: that takes no thread, and no place in the queue.
        if self._ready and conn.has_left():
            self._drop(conn)
            return
        # Those who are slow to send their request hold threads, but no place in the queue.
        taken = len(self._ready) + self._in_pool - len(self._idle) - len(self._readers)
        if taken < self._most_requests or not self._shed(conn):
            self._ready.append(conn)

    def _shed(self, conn: Connection) -> bool:
        """Answer 429 to a connection that wants work done; False if it asks for health or metrics."""
        try:
            request = conn.peek(MAX_SHED_BYTES)
        except OSError:
            return False
        if not request.startswith(b"POST "):
            return False
        asked = _REQUEST_ID.search(request)
        answer = _answer(
            429,
            "Too Many Requests",
            "more requests have come than can be served, no more are taken",
            error_type="Overloaded",
            identity=asked[1].decode() if asked else None,
            headers=f"Retry-After: {retry_after_header(1)}\r\n",
        )
        with suppress(OSError):
            # With more to come, which is the end: both leave in one packet.
            conn.sock.send(answer, socket.MSG_DONTWAIT | socket.MSG_MORE)
        if (proxy := self._proxy()) is not None:
            proxy.metrics.count_unread(429)
        self.nr_conns -= 1
        self._shed_count += 1
        conn.close(graceful=not is_whole(request))
        return True

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop: tell the surplus at once, then let a few of the others have threads."""
        until = time.monotonic() + LONGEST_TURN
        most = MOST_AT_ONCE
        while True:
            before = self._shed_count
            super().wait_for_and_dispatch_events(timeout=0.0 if self._ready else timeout)
            if self._shed_count == before or time.monotonic() >= until:
                break
            most = 1
        # A few at a time: with hundreds of threads at work at once the main loop would have no turn.
        for _ in range(min(len(self._ready), most)):
            self._in_pool += 1
            super().enqueue_req(self._ready.popleft())
        self._end_the_slowest()

    def _end_the_slowest(self) -> None:
        """Where threads run short, those who are slow to send give theirs up, the slowest first."""
        short = self._in_pool + len(self._ready) + LEAST_SPARE_THREADS - self.cfg.threads
        if short > 0 and self._readers:
            for reader in sorted(self._readers.copy(), key=lambda reader: reader.deadline)[:short]:
                reader.give_up()

    def finish_request(self, conn: Connection, fs: Any) -> None:
        self._in_pool -= 1
        super().finish_request(conn, fs)

    # ---- connections that go (main thread) ------------------------------------------------------

    def _linger(self, conn: Connection) -> None:
        """Say that no more will come; close once the other side has done so too, or after a while."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            util.close(conn.sock)
            return
        self.nr_conns += 1
        self._lingering[conn] = time.monotonic() + LINGER
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_late_bytes, conn))

    def _on_late_bytes(self, conn: Connection, client: socket.socket) -> None:
        try:
            size = len(client.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        conn.late_bytes += size
        if not size or conn.late_bytes >= LINGER_BYTES:
            del self._lingering[conn]
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Run by the main loop every second or sooner: ends what has gone on for too long."""
        super().murder_pending()
        now = time.monotonic()
        for conns in (self._silent, self._lingering):
            while conns and (oldest := next(iter(conns.items())))[1] <= now:
                del conns[oldest[0]]
                self._drop(oldest[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """Run by a worker that stops: also give up on those who have said nothing yet."""
        super()._cap_keepalive(deadline)
        self._silent = {conn: min(until, deadline) for conn, until in self._silent.items()}

    # ---- requests (pool threads) ----------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Serve the connection's requests; return whether the poller is to watch it from now on."""
        self._attended.add(conn)
        try:
            conn.attend(self._read_timeout)
            # Flask makes a context of the app for each request that finds none: one a connection will do.
            with relay.later(), self.wsgi.app_context():
                while (watch := self._await_request(conn)) is None:
                    if not self._serve(conn):
                        return False
                    relay.pass_on()
        except OSError as problem:
            self.log.debug("connection broke: %s", problem)
            return False
        else:
            return watch
        finally:
            self._attended.discard(conn)

    def _await_request(self, conn: Connection) -> bool | None:
        """Return None when a request has begun, else what ``handle`` is to answer."""
        if conn.has_bytes():
            return None
        has_something, conn.was_polled = conn.was_polled, False
        if not has_something and (len(self._idle) >= self._idle_limit or not self.alive):
            return self._hand_back(conn)
        self._idle.add(conn)
        try:
            return None if conn.await_bytes() else False
        except BlockingIOError:
            return self._hand_back(conn)
        finally:
            self._idle.discard(conn)

    def _hand_back(self, conn: Connection) -> bool:
        conn.was_polled = True
        return True

    def _serve(self, conn: Connection) -> bool:
        """Read one request and answer it; return whether another may follow on the connection."""
        request = None
        try:
            request = conn.read_request(time.monotonic() + self._read_timeout)
            return self.handle_request(request, conn) and conn.is_drained(request)
        except (NoMoreData, StopIteration):
            return False
        except TooSlowError as problem:
            self._refuse(conn.sock, 408, "Request Timeout", str(problem))
            return False
        except OSError:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever it is, the client is told
            relay.pass_on()
            self.handle_error(request, conn.sock, conn.client, problem)
            return False

    def handle_request(self, req: Any, conn: Connection) -> bool:
        response, environ = conn.answer_to(req)
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            response.force_close()
        chunks = self.wsgi(environ, response.start_response)
        try:
            for chunk in chunks:
                response.write(chunk)
            response.close()
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return not response.should_close()

    # ---- answers in JSON ------------------------------------------------------------------------

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Let gunicorn choose status and words, and log them; put its answer into our form."""
        answer = _Recorder()
        super().handle_error(req, answer, addr, exc)
        found = _STATUS_LINE.match(answer.sent)
        status, reason = (int(found[1]), found[2].decode("latin-1")) if found else (500, "Internal Server Error")
        text = str(exc) if status < 500 else "the request could not be processed"
        self._refuse(client, status, reason, text[:200] or reason)

    def _refuse(self, client: socket.socket, status: int, reason: str, text: str) -> None:
        with suppress(OSError):
            util.write_nonblock(client, _answer(status, reason, text))

    # ---- the end --------------------------------------------------------------------------------

    def init_signals(self) -> None:
        """Hear from now on what ends a worker: what came since the fork was held back (``pre_fork``)."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.alive and (proxy := self._proxy()) is not None:
            proxy.drain()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ARG002
        """End now. Ctrl-C sends SIGINT, and the master SIGQUIT a moment later: the second changes nothing.

        gunicorn's own would take a lock of the thread pool here, which deadlocks where the second signal
        interrupts it.
        """
        if self._quitting:
            return
        self._quitting = True
        self.alive = False
        # Python ends only when all handler threads have: let go those that read, and soon those that wait.
        for conn in list(self._attended):
            conn.stop_reading()
        if (proxy := self._proxy()) is not None:
            proxy.hurry()
        sys.exit(0)

    def _proxy(self) -> Any:
        """The engine; None while the app is not loaded yet."""
        return getattr(self.wsgi, "extensions", {}).get("proxy")


def _answer(
    status: int,
    reason: str,
    text: str,
    *,
    error_type: str | None = None,
    identity: str | None = None,
    headers: str = "",
) -> bytes:
    """Return a whole response that ends its connection. ``identity``: the request's, None makes one."""
    identity = identity or new_request_id()
    body = error_body(text, error_type or ERROR_TYPES.get(status, "Unhandled"), identity)
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}"
        f"X-Request-Id: {identity}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


class _Recorder:
    """Stands in for the client's socket and keeps what gunicorn would have sent it."""

    def __init__(self) -> None:
        self.sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def getpeername(self) -> tuple[str, int]:
        return "", 0
