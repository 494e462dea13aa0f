"""Fixtures of the serving tests: connections over socket pairs, and a clock that only the test moves."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config

from serving.connection import Connection
from serving.heads import Heads
from tests.support.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.main_thread_bench import Bench

SETTINGS = SimpleNamespace(**{name: each.get() for name, each in Config().settings.items()}, is_ssl=False)


class Lines:
    """Connections that share the heads that they remember. ``far_ends``: the clients' sockets, in the same order."""

    def __init__(self) -> None:
        self.heads = Heads()
        self._open: list[Connection] = []
        self.far_ends: list[socket.socket] = []

    def connect(
        self,
        client: Any = ("10.0.0.1", 1234),
        server: Any = ("127.0.0.1", 80),
        *,
        ended: bool = False,
        prepared: bool = True,
    ) -> Connection:
        near, far = socket.socketpair()
        conn = Connection(SETTINGS, near, client, server, linger=lambda _: None, readers=set())
        self._open.append(conn)
        self.far_ends.append(far)
        far.settimeout(5)
        if ended:
            far.shutdown(socket.SHUT_WR)
        if prepared:
            conn.prepare(1.0)
        return conn

    def close(self) -> None:
        for conn in self._open:
            conn.close()
        for far in self.far_ends:
            far.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    yield lines
    lines.close()


class Clock:
    """Monotonic seconds that stand still until the test sets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    """The main thread's parts; a module whose tests need another bench has a fixture of its own."""
    from tests.serving.main_thread_bench import Bench  # noqa: PLC0415 - it takes the clock from here

    bench = Bench(clock)
    yield bench
    bench.close()


def answers_in(received: bytes) -> list[Answer]:
    """Take these bytes apart into the responses that they are; each has a ``Content-Length``."""
    answers = []
    while received:
        start, found, behind = received.partition(b"\r\n\r\n")
        assert found, received
        status, *lines = start.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(fields["content-length"])
        assert len(behind) >= length
        answers.append(Answer(int(status.split()[1]), fields, behind[:length]))
        received = behind[length:]
    return answers


def received_by(client: socket.socket) -> bytes:
    """Read until the other side has closed its sending side."""
    received = b""
    while data := client.recv(65_536):
        received += data
    return received
