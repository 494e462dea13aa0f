"""gunicorn's gthread worker with its own way of taking connections in and serving them: `ProxyWorker`."""

from __future__ import annotations

import signal
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn.workers import gthread

from config import idle_threads
from config.active import active
from config.sizing import LEAST_SPARE_THREADS
from serving.acceptor import Acceptor
from serving.attendant import Attendant
from serving.service import Service, service_of

if TYPE_CHECKING:
    import socket

    from serving.connection import Connection

#: Requests handed to threads on one turn of the main loop: with hundreds of threads at work at once the main loop
#: would not get the interpreter lock. And the seconds for which a turn may do nothing but refuse.
MOST_AT_ONCE, LONGEST_TURN = 4, 0.1


class ProxyWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """One process of the service, HTTP/1.1 in the clear. What differs from gunicorn's own worker:

    - A pool thread stays with its connection while it waits for the next request (`Attendant`).
    - A client has ``read_timeout_ms`` to send a request, **absolutely**. The worker's time-out watches nothing of
      that, and a time-out of the socket would start anew with each byte.
    - A new connection gets a thread when it begins to send; one that is over makes no thread wait (`Acceptor`).
    - Once more requests have come than may be served at a time, the main loop answers **429 by itself**.
    - What gunicorn refuses by itself (a malformed request line, too many headers) is answered **in JSON**.
    - SIGTERM tells the service at once, so that what waits is sent without batching delay. SIGINT and SIGQUIT end the
      process without waiting for requests.

    The main thread runs gunicorn's loop, signal handlers and all methods but these: `handle` runs on pool threads,
    `must_close` is called there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The application, once it is loaded: a signal may come before.
        self.wsgi: Any = None
        settings = active()
        # gunicorn looks a setting up through two dictionaries each time, some thirty times a request.
        given = SimpleNamespace(**{name: each.get() for name, each in self.cfg.settings.items()}, is_ssl=False)
        self._threads = given.threads
        self._attendant = Attendant(self, read_timeout=settings.read_timeout, idle_limit=idle_threads(settings))
        self._acceptor = Acceptor(
            self,
            self._attendant,
            given,
            most_requests=settings.max_concurrent_requests + LEAST_SPARE_THREADS,
            count_unread=self._count_unread,
        )
        self._quitting = False

    # ---- the main loop --------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take in new connections: the poller calls this for a listener."""
        self._acceptor.accept(listener)

    def enqueue_req(self, conn: Connection) -> None:
        """Take a request that has begun to arrive, or refuse it: the poller calls this for a kept connection."""
        self._acceptor.admit(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Take one turn: refuse the surplus, then let a few of the other requests have threads.

        ``timeout``: seconds to wait for events if no request waits for a thread.
        """
        acceptor = self._acceptor
        until = time.monotonic() + LONGEST_TURN
        most = MOST_AT_ONCE
        while True:
            before = acceptor.refused
            super().wait_for_and_dispatch_events(timeout=0.0 if acceptor.has_ready else timeout)
            if acceptor.refused == before or time.monotonic() >= until:
                break
            most = 1
        for conn in acceptor.hand_out(most):
            super().enqueue_req(conn)
        # Where threads run short, the requests that arrive slowest lose theirs.
        if (short := acceptor.busy + LEAST_SPARE_THREADS - self._threads) > 0:
            self._attendant.end_slowest(short)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Take a connection back from its pool thread."""
        self._acceptor.take_back()
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what has waited for too long: the main loop calls this every second or sooner."""
        super().murder_pending()
        self._acceptor.close_expired()

    def _cap_keepalive(self, deadline: float) -> None:
        """Let idle and silent connections end by ``deadline``: the main loop calls this when it stops."""
        super()._cap_keepalive(deadline)
        self._acceptor.cap_silence(deadline)

    # ---- pool threads ---------------------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Serve the connection's requests; return whether the poller is to watch it from now on."""
        return self._attendant.attend(conn)

    def must_close(self) -> bool:
        """Return whether a connection is to end with its response: at the stop, or with too many kept alive."""
        return not self.alive or len(self.keepalived_conns) >= self.max_keepalived

    # ---- signals --------------------------------------------------------------------------------

    def init_signals(self) -> None:
        """Let signals through from now on: those that end a worker were held back since the fork (``pre_fork``)."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish what was accepted."""
        if self.alive and (service := self._service()) is not None:
            service.drain()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ARG002
        """SIGINT, SIGQUIT: end now. Ctrl-C sends the first, and the master the second a moment later, which changes
        nothing.

        gunicorn's own handler would take a lock of the thread pool here, which deadlocks where the second signal
        interrupts it.
        """
        if self._quitting:
            return
        self._quitting = True
        self.alive = False
        # Python ends only when all pool threads have: those that read end now, and soon those that wait.
        self._attendant.stop_reading()
        if (service := self._service()) is not None:
            service.hurry()
        sys.exit(0)

    # ---- the service ----------------------------------------------------------------------------

    def _service(self) -> Service | None:
        return service_of(self.wsgi)

    def _count_unread(self, status: int) -> None:
        if (service := self._service()) is not None:
            service.count_unread(status)
