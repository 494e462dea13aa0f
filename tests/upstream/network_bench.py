"""Loopback addresses that take connections, refuse them or swallow them, and names that lead to them."""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.upstream.framing import framed
from upstream.addresses import Address, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: Seconds after which what has not happened counts as hung.
HUNG = 10.0


def address_at(host: str, port: int) -> Address:
    return Address(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port))


def target_at(host: str, port: int) -> Target:
    return Target(address_at(host, port))


def shut(sock: socket.socket) -> None:
    """Wake a thread that waits for the socket, and let it end."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def self_signed(folder: Path) -> Path:
    """Return a file with a key and a certificate of 127.0.0.1 signed by itself; in ``.crt`` the latter is alone."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = folder / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


class Silent:
    """A listener whose backlog is full: the system drops further attempts to connect, as a lost machine would."""

    def __init__(self, host: str, port: int) -> None:
        self._listener = socket.create_server((host, port), backlog=0)
        self.target = target_at(*self._listener.getsockname())
        self._fill: list[socket.socket] = []
        for _ in range(64):
            sock = socket.socket()
            self._fill.append(sock)
            sock.setblocking(False)
            sock.connect_ex(self._listener.getsockname())
            connecting = select.poll()
            connecting.register(sock, select.POLLOUT)
            if not connecting.poll(50):
                return
        pytest.skip("this system takes connections beyond the backlog")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._fill):
            each.close()


class Servers:
    """Servers on one port of several loopback addresses, each of which answers every request with its own address."""

    def __init__(self, *hosts: str) -> None:
        self.port = 0
        #: How many connections and requests came to each.
        self.connections: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        #: At these, each request waits until one is released.
        self.held: dict[str, threading.Semaphore] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        for host in hosts:
            self.start(host)

    def start(self, host: str) -> None:
        listener = socket.create_server((host, self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._listeners[host] = listener
        self._run(self._accept, host, listener)

    def stop(self, host: str) -> None:
        """Refuse connections at this address, and break those that are open."""
        listener = self._listeners.pop(host)
        shut(listener)
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    if sock.getsockname()[0] == host:
                        shut(sock)

    def addresses(self, *hosts: str) -> list[Address]:
        return [address_at(host, self.port) for host in hosts or self._listeners]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in list(self._listeners):
            self.stop(host)
        for gate in self.held.values():
            gate.release(1000)
        for thread in self._threads:
            thread.join(HUNG)

    def _run(self, work: Callable[..., object], *args: object) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self, host: str, listener: socket.socket) -> None:
        with suppress(OSError), listener:
            while True:
                sock, _ = listener.accept()
                with self._lock:
                    self.connections[host] += 1
                    self._open.append(sock)
                self._run(self._serve, host, sock)

    def _serve(self, host: str, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            while sock.recv(65_536):
                if host in self.held:
                    self.held[host].acquire(timeout=HUNG)
                with self._lock:
                    self.requests[host] += 1
                sock.sendall(framed(host.encode()))


class Names:
    """A name server: what it says of the one name may change; it may fail, or be silent until it is let go on."""

    def __init__(self, found: Iterable[Address] = ()) -> None:
        self.found = list(found)
        self.problem: Exception | None = None
        self.asked: list[tuple[str, int]] = []
        #: Released once for each question.
        self.was_asked = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def resolve(self, host: str, port: int) -> list[Address]:
        self.asked.append((host, port))
        self.was_asked.release()
        assert self.gate.wait(HUNG)
        if self.problem is not None:
            raise self.problem
        return self.found


class Hands:
    """A clock whose time is set by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time
