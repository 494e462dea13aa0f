"""Serves a connection's requests one after the other on a pool thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gunicorn.http.errors import NoMoreData

from api.body import TooSlowError
from batching import relay
from serving.exchange import Exchange, is_drained, read_request
from serving.heads import Heads
from serving.invalid_requests import InvalidRequests
from serving.refusals import status_of, text_of
from serving.response import refusal, send_refusal
from serving.service import cors_headers

if TYPE_CHECKING:
    from serving.connection import Connection, Request, Unreader
    from serving.response import WholeResponse
    from serving.service import Application


#: Seconds for which a request may be arriving before it is given up because threads run short.
SPARED = 0.25

#: What comes next on a connection: another request, something that the main thread sees to, or the end.
Coming = Literal["request", "poll", "ended"]


class Host(Protocol):
    """What the attendant asks of its worker. Any thread."""

    @property
    def alive(self) -> bool:
        """Whether the worker takes new requests: false once it has been told to stop."""

    @property
    def wsgi(self) -> Application:
        """The application."""

    @property
    def log(self) -> Any:
        """gunicorn's logger."""

    def must_close(self) -> bool:
        """Return whether a connection is to end with the response that is about to be sent."""


class Attendant:
    """Waits for a request on a connection, reads it, has it answered, and hands the connection back.

    A pool thread **stays with its connection** and waits for the next request itself, as long as at most
    ``idle_limit`` threads do so: the request then wakes the thread that serves it, and not the poller, the pool and
    then the thread.

    `attend` runs on pool threads, many at once; all other public methods are called by the main thread. The sets are
    changed by single operations, which the interpreter makes atomic.
    """

    def __init__(self, host: Host, *, read_timeout: float, idle_limit: int) -> None:
        """``read_timeout``: seconds for a whole request to arrive, and for which a client may take nothing."""
        self._host = host
        self._read_timeout = read_timeout
        self._idle_limit = idle_limit
        self._heads = Heads()
        self._invalid = InvalidRequests()
        #: Connections that have a pool thread, and those of them whose thread waits for the next request.
        self._attended: set[Connection] = set()
        self._idle: set[Connection] = set()
        #: What reads requests that did not come in one piece. Each has a pool thread that waits for the rest.
        self.readers: set[Unreader] = set()

    # ---- main thread ----------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many threads wait for bytes of a client, and so hold a thread but no place in the queue."""
        return len(self._idle) + len(self.readers)

    def release(self, idle_limit: int) -> None:
        """Let at most so many threads wait for the next request of their connections from now on."""
        self._idle_limit = idle_limit

    def end_slowest(self, count: int) -> None:
        """Give up on the ``count`` requests that have been arriving for longest, so that their threads are free.

        Not on those that came within the last ``SPARED`` seconds: these need not be slow.
        """
        if self.readers:
            before = time.monotonic() + self._read_timeout - SPARED
            slow = [reader for reader in self.readers.copy() if reader.deadline <= before]
            for reader in sorted(slow, key=lambda reader: reader.deadline)[:count]:
                reader.give_up()

    def stop_reading(self) -> None:
        """Let every pool thread that reads from a client see the end of its stream. For signal handlers too."""
        for conn in list(self._attended):
            conn.stop_reading()

    # ---- pool threads ---------------------------------------------------------------------------

    def attend(self, conn: Connection) -> bool:
        """Serve the connection's requests; return whether the poller is to watch it from now on."""
        self._attended.add(conn)
        try:
            conn.prepare(self._read_timeout)
            # Flask makes a context of the application for each request that finds none: one a connection will do.
            with relay.later(), self._host.wsgi.app_context():
                coming = self._await_request(conn, polled=True)
                while coming == "request":
                    coming = self._serve(conn)
                    if coming == "request":
                        relay.pass_on()
                        coming = self._await_request(conn)
        except OSError as problem:
            self._host.log.debug("connection broke: %s", problem)
            return False
        else:
            return coming == "poll"
        finally:
            self._attended.discard(conn)

    def _await_request(self, conn: Connection, *, polled: bool = False) -> Coming:
        """Wait until a request begins, the stream ends, or the connection had better go to the poller.

        ``polled``: the poller has seen bytes, so the thread does not have to wait for them.
        """
        if conn.has_bytes():
            return "request"
        if not polled and (len(self._idle) >= self._idle_limit or not self._host.alive):
            return "poll"
        self._idle.add(conn)
        try:
            return "request" if conn.await_bytes() else "ended"
        except BlockingIOError:
            return "poll"
        finally:
            self._idle.discard(conn)

    def _serve(self, conn: Connection) -> Coming:
        """Read one request and answer it; return what comes next on the connection.

        "poll" where the main thread is to send the rest of the response, and where the request was not a POST: how
        many of those are served at a time is the main thread's decision.
        """
        exchange = None
        try:
            until = time.monotonic() + self._read_timeout - conn.spent
            conn.spent = 0.0
            exchange = read_request(conn, self._heads, until)
            response = self._answer(conn, exchange)
        except (NoMoreData, StopIteration):
            return "ended"
        except TooSlowError as problem:
            self._send_refusal(conn, exchange, 408, str(problem))
            return "ended"
        except OSError:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever the exception is, the client gets a response
            relay.pass_on()
            self._refuse(conn, exchange, problem)
            return "ended"
        stays = not response.should_close()
        if response.unsent is not None:
            conn.unsent, conn.stays = response.unsent, stays
            return "poll"
        if not stays:
            return "ended"
        return "request" if exchange.request.method == "POST" and not conn.is_operation else "poll"

    def _answer(self, conn: Connection, exchange: Exchange) -> WholeResponse:
        """Have the application answer. No client takes a body that breaks off for a whole one."""
        _, response, environ = exchange
        response.may_stay = self._may_stay
        chunks = self._host.wsgi(environ, response.start_response)
        try:
            for chunk in chunks:
                response.write(chunk)
            response.close()
        except BaseException:
            if response.ends_with_its_connection:
                conn.reset_on_close()
            raise
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return response

    def _may_stay(self, request: Request) -> bool:
        return not self._host.must_close() and is_drained(request)

    def _refuse(self, conn: Connection, exchange: Exchange | None, problem: Exception) -> None:
        """Log the exception, and answer it unless a response has begun."""
        status = status_of(problem)
        if status != 500:
            address = conn.client[0] if isinstance(conn.client, tuple) else conn.client
            self._invalid.tell(self._host.log, address, problem)
        elif exchange is None:
            self._host.log.error("Error reading a request", exc_info=problem)
        else:
            request = exchange.request
            self._host.log.error("Error handling request %s %s", request.method, request.uri, exc_info=problem)
        if exchange is None or not exchange.response.headers_sent:
            self._send_refusal(conn, exchange, status, text_of(problem, status))

    def _send_refusal(self, conn: Connection, exchange: Exchange | None, status: int, text: str) -> None:
        environ = {} if exchange is None else exchange.environ
        headers = cors_headers(self._host.wsgi, environ.get("HTTP_ORIGIN"), is_read=exchange is not None)
        send_refusal(conn.sock, refusal(status, text, path=environ.get("PATH_INFO", ""), headers=headers))
