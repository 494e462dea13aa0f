"""gunicorn's gthread worker, made to answer in JSON, to bound slow clients and to drain without delay."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.workers import gthread

from api.errors import ERROR_TYPES, error_body
from api.request_id import new_request_id
from config.active import active

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([^\r]*)\r\n")


class ProxyWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """One process of the service.

    - A client has ``read_timeout_ms`` to send a request, absolutely: the worker's own time-out watches
      nothing of that, and a time-out of the socket would start anew with each byte.
    - What gunicorn refuses by itself (a malformed request line, too many headers) is answered in JSON.
    - SIGTERM tells the engine at once, so that what waits is sent without batching delay.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_timeout = active().read_timeout
        #: Connections whose request is being read, and until when. Handler threads add and remove their
        #: own, the main thread looks through a copy: single dictionary operations, atomic by themselves.
        self._reading: dict[gthread.TConn, float] = {}

    # ---- slow clients ---------------------------------------------------------------------------

    def handle(self, conn: gthread.TConn) -> Any:
        if not conn.initialized and not conn.wait_for_data(gthread.DEFAULT_WORKER_DATA_TIMEOUT):
            return gthread._DEFER  # noqa: SLF001 - what the base class answers here
        conn.data_ready = True
        conn.too_slow = conn.answered = False
        self._reading[conn] = time.monotonic() + self._read_timeout
        try:
            keep = super().handle(conn)
            if conn.too_slow and not conn.answered:
                self._refuse(conn.sock, 408, "Request Timeout", "the request did not arrive in time")
            return keep
        finally:
            self._reading.pop(conn, None)

    def handle_request(self, req: Any, conn: gthread.TConn) -> Any:
        conn.answered = True

        def all_read() -> None:
            self._reading.pop(conn, None)

        req.body.all_read = all_read
        req.body.too_slow = False
        conn.body = req.body
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Run by the main loop every second or sooner: also ends the reading of those who are too slow."""
        super().murder_pending()
        now = time.monotonic()
        for conn, until in list(self._reading.items()):
            if until <= now and self._reading.pop(conn, None) is not None:
                conn.too_slow = True
                if (body := getattr(conn, "body", None)) is not None:
                    body.too_slow = True
                # The thread that reads wakes up as if the client had finished; it can still write.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

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
        identity = new_request_id()
        body = error_body(text, ERROR_TYPES.get(status, "Unhandled"), identity)
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {identity}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):
            util.write_nonblock(client, head.encode("latin-1") + body)

    # ---- the end --------------------------------------------------------------------------------

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.alive and (proxy := getattr(self.wsgi, "extensions", {}).get("proxy")) is not None:
            proxy.drain()
        super().handle_exit(sig, frame)


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
