"""An attendant between fakes: a worker, an application that does what the test says, and clients over socket pairs."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.attendant import Attendant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from serving.connection import Connection
    from tests.serving.conftest import Lines


class Application:
    """A WSGI application that does what the test says, by default answer "ok"."""

    def __init__(self) -> None:
        self.extensions: Mapping[str, Any] = {}
        self.served: list[bytes] = []
        self.contexts = 0
        #: Of the body; None tells no length.
        self.length: int | None = 2
        self.status = "200 OK"
        #: Whether it reads the body.
        self.reads = True
        self.during: Callable[[], object] = lambda: None
        self.pieces: Callable[[], Iterable[bytes]] = lambda: [b"ok"]

    @contextmanager
    def app_context(self) -> Iterator[None]:
        self.contexts += 1
        yield

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.served.append(environ["wsgi.input"].read() if self.reads else environ["PATH_INFO"].encode())
        self.during()
        start_response(self.status, [] if self.length is None else [("Content-Length", str(self.length))])
        return self.pieces()


class FakeHost:
    """The worker, as far as the attendant knows it."""

    def __init__(self) -> None:
        self.alive = True
        self.wsgi = Application()
        self.log = logging.getLogger("attendant")
        self.is_full = False

    def must_close(self) -> bool:
        return not self.alive or self.is_full


class AttendantBench:
    def __init__(self, lines: Lines, *, read_timeout: float = 5.0, idle_limit: int = 1) -> None:
        self.host = FakeHost()
        self.app = self.host.wsgi
        self.attendant = Attendant(self.host, read_timeout=read_timeout, idle_limit=idle_limit)
        self._lines = lines

    def client(self, *, sends: bytes = b"", leaves: bool = False) -> tuple[Connection, socket.socket]:
        """Connect a client that has sent this, and has closed its sending side if it ``leaves``."""
        conn = self._lines.connect(prepared=False)
        far = self._lines.far_ends[-1]
        far.sendall(sends)
        if leaves:
            far.shutdown(socket.SHUT_WR)
        return conn, far
