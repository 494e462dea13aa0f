"""The scripted upstream: raw sockets, a thread a connection; records calls, answers by its form, plays faults."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.support.upstream.exchange import KEEP, Exchange, Request, read_request
from tests.support.upstream.faults import ok
from tests.support.upstream.forms import Form, TeiForm

if TYPE_CHECKING:
    from tests.support.upstream.exchange import Fault, ReadRequest

#: Seconds that ``stop`` waits for each thread.
STOPPED_WITHIN = 10.0


def closed_port() -> str:
    """Return the URL of a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass(frozen=True)
class Call:
    """A request for vectors: its inputs, and what it said beside them."""

    inputs: list[Any]
    options: dict[str, Any]
    request: Request


class ScriptedUpstream:
    """Serves on a port of the system's choosing; after a ``stop``, ``start`` listens on the same port again.

    ``fault`` answers every request that ``script`` does not cover; the default answers properly. A call waits for
    ``delay`` seconds and for the ``gate`` before it is answered. Only ``script`` and the lists of what came are
    guarded by the lock; the other attributes are read anew for each request.
    """

    def __init__(
        self,
        form: Form | None = None,
        fault: Fault = ok,
        *,
        accepting: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``accepting=False``: connections lie in the backlog, and no thread takes them up."""
        self.form: Form = form or TeiForm()
        self.fault = fault
        self.read_request: ReadRequest = read_request
        self.delay = 0.0
        #: Seconds after which an idle connection is closed, as the server of this form does; None: never.
        self.idle = self.form.idle
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.calls: list[Call] = []
        #: How many connections were taken up.
        self.connections = 0
        #: Released once for every connection that this side has closed.
        self.closed = threading.Semaphore(0)
        self.stopping = threading.Event()
        self.port = 0
        self._scripted: list[Fault] = []
        self._accepting = accepting
        self._tls = tls
        # The lock guards the lists of what came, the script and the open connections.
        self._arrived = threading.Condition()
        #: Each connection's thread and its socket.
        self._open: dict[threading.Thread, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def sizes(self) -> list[int]:
        """How many inputs each call had."""
        return [len(call.inputs) for call in self.calls]

    @property
    def inputs(self) -> list[Any]:
        """The inputs of all calls."""
        return [each for call in self.calls for each in call.inputs]

    def script(self, *faults: Fault) -> None:
        """Answer the next calls like this, one fault each."""
        with self._arrived:
            self._scripted += faults

    def calm(self) -> None:
        """Read and answer properly from now on, and forget all that came."""
        with self._arrived:
            self._scripted.clear()
            self.fault = ok
            self.read_request = read_request
            self.requests.clear()
            self.calls.clear()
            self.connections = 0

    def wait_for_calls(self, count: int, timeout: float = 10.0) -> None:
        """Block until so many calls have come; fail if they do not come in time."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.calls) >= count, timeout), self.calls

    def start(self) -> Self:
        self.stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        if self._accepting:
            self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
            self._acceptor.start()
        return self

    def stop(self) -> None:
        """Stop listening, break all connections, open the gate, and end all threads."""
        if self._listener is None:
            return
        self.stopping.set()
        self.gate.set()
        _shut(self._listener)
        if self._acceptor is not None:
            self._acceptor.join(STOPPED_WITHIN)
        self._listener.close()
        self._listener = None
        with self._arrived:
            left = dict(self._open)
        for sock in left.values():
            _shut(sock)
        for thread in left:
            thread.join(STOPPED_WITHIN)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        """Run on the acceptor's thread until the listener is shut."""
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                thread = threading.Thread(target=self._attend, args=(sock,), daemon=True)
                with self._arrived:
                    self.connections += 1
                    self._open[thread] = sock
                thread.start()

    def _attend(self, sock: socket.socket) -> None:
        """Run on the connection's thread until either side ends the connection."""
        # The client may hang up at any moment.
        with suppress(OSError), self._wrapped(sock) as wrapped:
            with self._arrived:
                self._open[threading.current_thread()] = wrapped
            # ``stop`` shuts the sockets that it finds; it did not find this one if it came before.
            if not self.stopping.is_set():
                self._serve(wrapped)
        with self._arrived:
            self._open.pop(threading.current_thread())
        self.closed.release()

    def _wrapped(self, sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return sock
        return self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _serve(self, sock: socket.socket) -> None:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        with sock.makefile("rb") as stream:
            while (request := self.read_request(sock, stream)) is not None:
                fault = self._record(request)
                if fault(Exchange(self, sock, request)) is not KEEP or not self._goes_on(sock):
                    return

    def _goes_on(self, sock: socket.socket) -> bool:
        """Wait for the next request; return False if the connection is idle for too long."""
        if self.idle is None:
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(self.idle * 1000))

    def _record(self, request: Request) -> Fault:
        """Note what came and hold it; return the fault that answers it."""
        is_call = self.form.is_call(request.method, request.path)
        with self._arrived:
            self.requests.append(request)
            if is_call:
                body = request.body
                self.calls.append(Call(self.form.inputs(body), self.form.options(body), request))
                self._arrived.notify_all()
            fault = self._scripted.pop(0) if is_call and self._scripted else self.fault
        if is_call:
            self.stopping.wait(self.delay)
            self.gate.wait()
        return fault


def _shut(sock: socket.socket) -> None:
    """End a connection or a listener under the thread that waits on it."""
    with suppress(OSError):
        # Not the method of an SSLSocket, which would take the session from a thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
