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
from serving.attendant import SPARED, Attendant
from serving.host import contained
from serving.intake import Intake
from serving.kept import drop_idle, keep
from serving.lingering import Lingering
from serving.memory import give_large_blocks_back
from serving.service import Service, service_of
from serving.shortage import Shortage
from serving.thread_pool import ThreadPool
from serving.unsent import UnsentResponses

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
    - A connection gets a thread when the head of a request has come (`Intake`); one that is over makes no thread wait
      (`Lingering`), nor does one whose client takes its response slowly (`UnsentResponses`).
    - When connections are full, silent and idle ones make room for new ones (`Acceptor`).
    - Once more requests have come than may be served at a time, the main loop answers **429 by itself**.
    - Requests other than POST have few threads at a time; liveness has none (`LivenessAnswers`).
    - What gunicorn refuses by itself (a malformed request line, too many headers) is answered **in JSON**.
    - Where no further thread can be started, requests wait for those that there are (`ThreadPool`).
    - SIGTERM tells the service at once, so that what waits is sent without batching delay. SIGINT and SIGQUIT end the
      process without waiting for requests.

    The main thread runs gunicorn's loop, signal handlers and all methods but these: `handle` runs on pool threads,
    `must_close` is called there too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The application, once it is loaded: a signal may come before.
        self.wsgi: Any = None
        settings = active()
        # gunicorn looks a setting up through two dictionaries each time, some thirty times a request.
        given = SimpleNamespace(**{name: each.get() for name, each in self.cfg.settings.items()}, is_ssl=False)
        self._attendant = Attendant(self, read_timeout=settings.read_timeout, idle_limit=idle_threads(settings))
        self._intake = Intake(
            self,
            self._attendant,
            given,
            most_requests=settings.max_concurrent_requests + LEAST_SPARE_THREADS,
            read_timeout=settings.read_timeout,
            count_unread=self._count_unread,
            payload_limit=settings.payload_limit,
        )
        self._lingering = Lingering(self)
        self._unsent = UnsentResponses(self, most_bytes=settings.max_unsent_bytes, timeout=settings.read_timeout)
        self._acceptor = Acceptor(self, self._intake, self._lingering, given, readers=self._attendant.readers)
        self._shortage = Shortage(
            self._intake, self._attendant, self.log, threads=given.threads, idle_limit=idle_threads(settings)
        )
        #: Whether so few threads are free that the slowest requests lose theirs.
        self._is_short = False
        self._quitting = False
        #: Whether the main thread is in the pool's code, which knows a thread that it has started only a little later.
        self._is_submitting = False

    def init_process(self) -> None:
        """Serve until the stop: gunicorn calls this in the worker's process, after the fork."""
        give_large_blocks_back()
        super().init_process()

    # ---- the main loop --------------------------------------------------------------------------

    def get_thread_pool(self) -> ThreadPool:
        """Return the pool: gunicorn calls this once, after the fork."""
        return ThreadPool(self._shortage.threads, self._shortage.begin)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen for new connections, or do not: the main loop calls this when it has as many as it may have.

        That alone is no reason while others can make room; and more may not be taken in where descriptors run out.
        """
        super().set_accept_enabled(self._acceptor.may_accept() if self.alive else enabled)

    def accept(self, listener: socket.socket) -> None:
        """Take in new connections: the poller calls this for a listener."""
        self._acceptor.accept(listener)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Take the next request of a kept connection, unless it has just been closed to make room."""
        if client.fileno() >= 0:
            super().on_client_socket_readable(conn, client)

    def enqueue_req(self, conn: Connection) -> None:
        """Take a request that has begun to arrive, or refuse it."""
        contained(self, conn, self._intake.begin)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Take one turn: refuse the surplus, then let a few of the other requests have threads.

        ``timeout``: seconds to wait for events if no request waits for a thread.
        """
        intake = self._intake
        if self._is_short:
            timeout = min(timeout, SPARED / 2)
        until = time.monotonic() + LONGEST_TURN
        most = MOST_AT_ONCE
        while True:
            before = intake.refused
            super().wait_for_and_dispatch_events(timeout=intake.timeout(timeout))
            if intake.refused == before or time.monotonic() >= until:
                break
            most = 1
        for conn in intake.hand_out(most):
            self._give_thread(conn)
        # Where threads run short, the requests that arrive slowest lose theirs.
        short = intake.busy + LEAST_SPARE_THREADS - self._shortage.threads
        self._is_short = short > 0
        if self._is_short:
            self._attendant.end_slowest(short)
        if self.alive and self._accepting != self._acceptor.may_accept():
            self.set_accept_enabled(not self._accepting)

    def _give_thread(self, conn: Connection) -> None:
        self._is_submitting = True
        try:
            super().enqueue_req(conn)
        except RuntimeError:  # no thread could be started, and there is none
            self._intake.turn_away(conn)
        finally:
            self._is_submitting = False
        if self._quitting:
            sys.exit(0)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Take a connection back from its pool thread."""
        self._intake.take_back(conn, conn.worked)
        rest, conn.unsent = conn.unsent, None
        if rest is not None:
            self._unsent.take(conn, rest)
        else:
            super().finish_request(conn, fs)

    def keep(self, conn: Connection) -> None:
        """Wait for the next request of a connection whose response has been sent."""
        keep(self, conn)

    def drop_idle(self) -> bool:
        """Close the connection that has been idle for longest; return whether there was one."""
        return drop_idle(self)

    def murder_pending(self) -> None:
        """Close what has waited for too long: the main loop calls this every second or sooner."""
        super().murder_pending()
        for held in (self._acceptor, self._intake, self._lingering):
            held.close_expired()
        self._unsent.close_slow()
        self._shortage.end_if_over()

    def is_parent_alive(self) -> bool:
        """Return whether the master lives; without it the worker stops."""
        lives: bool = super().is_parent_alive()
        if not lives:
            self.alive = False
        return lives

    def _cap_keepalive(self, deadline: float) -> None:
        """Let idle and silent connections end by ``deadline``: the main loop calls this when it stops."""
        super()._cap_keepalive(deadline)
        self._acceptor.cap_silence(deadline)

    # ---- pool threads ---------------------------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Serve the connection's requests; return whether the poller is to watch it from now on."""
        if not conn.is_operation:
            return self._attendant.attend(conn)
        began = time.thread_time()
        try:
            return self._attendant.attend(conn)
        finally:
            conn.worked = time.thread_time() - began

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
        # A thread that the pool does not know yet would never be told to end, and the process would wait for it.
        if not self._is_submitting:
            sys.exit(0)

    # ---- the service ----------------------------------------------------------------------------

    def _service(self) -> Service | None:
        return service_of(self.wsgi)

    def _count_unread(self, status: int) -> None:
        if (service := self._service()) is not None:
            service.count_unread(status)
