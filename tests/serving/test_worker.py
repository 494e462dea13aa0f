"""What the worker does with connections, where the service as a whole would show it too late."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import struct
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from gunicorn.config import Config

from config import Settings
from config.active import activate
from serving.wire import _send_to_slow_reader, is_whole
from serving.worker import ProxyWorker
from tests.support.concurrency import Nursery
from tests.support.service import chunked, embed_request

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxyWorker]:
    """A worker that never runs: its main loop's work is done by the test."""
    monkeypatch.setattr("config.active._active", None)
    activate(Settings(max_concurrent_requests=1))
    worker = ProxyWorker(1, os.getpid(), [], None, 30, Config(), logging.getLogger("worker"))
    worker.poller = selectors.DefaultSelector()
    yield worker
    for conn in (*worker._silent, *worker._lingering, *worker._ready):
        conn.close()
    worker.poller.close()
    worker.tmp.close()


def connected(worker: ProxyWorker) -> socket.socket:
    """Connect a client; the worker has accepted it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 5)
        listener.setblocking(False)  # as gunicorn's are
        worker.accept(listener)
    return client


def test_a_client_that_takes_nothing_of_its_answer_is_given_up(worker: ProxyWorker) -> None:
    with connected(worker):
        (conn,) = worker._silent
        conn.attend(send_timeout=0.05)
        with pytest.raises(BlockingIOError):
            conn.sock.sendall(bytes(100_000_000))


def test_a_silent_connection_is_closed_when_patience_ends(worker: ProxyWorker) -> None:
    with connected(worker) as client:
        (conn,) = worker._silent
        worker.murder_pending()
        assert worker.nr_conns == 1
        worker._silent[conn] = 0.0
        worker.murder_pending()
        assert (worker.nr_conns, worker._silent) == (0, {})
        assert client.recv(1) == b""


def test_a_connection_that_has_been_served_leaves_nothing_for_the_collector(worker: ProxyWorker) -> None:
    with connected(worker):
        (conn,) = worker._silent
        worker._on_first_byte(conn, conn.sock)
        worker._ready.clear()
        conn.attend(send_timeout=1.0)
        worker._drop(conn)
        ended = weakref.ref(conn)
        del conn
    assert ended() is None


def test_a_worker_that_stops_waits_for_silent_connections_no_longer_than_for_idle_ones(worker: ProxyWorker) -> None:
    with connected(worker):
        worker._cap_keepalive(5.0)
        assert list(worker._silent.values()) == [5.0]


def test_a_connection_that_lingers_is_closed_when_the_client_leaves_or_patience_ends(worker: ProxyWorker) -> None:
    for ended_by_client in (True, False):
        with connected(worker) as client:
            (conn,) = worker._silent
            worker._on_first_byte(conn, conn.sock)
            worker._ready.clear()
            worker.nr_conns -= 1
            conn.close(graceful=True)
            assert client.recv(1) == b""
            client.sendall(b"late bytes")
            worker.wait_for_and_dispatch_events(1.0)
            assert worker.nr_conns == 1
            if ended_by_client:
                client.close()
                worker.wait_for_and_dispatch_events(1.0)
            else:
                worker._lingering[conn] = 0.0
                worker.murder_pending()
            assert (worker.nr_conns, worker._lingering) == (0, {})


def test_running_out_of_files_does_not_end_the_worker(worker: ProxyWorker) -> None:
    class NoFiles:
        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", 0

        def accept(self) -> None:
            raise OSError(24, "Too many open files")

    worker.accept(NoFiles())  # type: ignore[arg-type]
    assert worker.nr_conns == 0


def test_a_crowd_is_taken_in_at_once_but_never_more_than_there_is_room_for(worker: ProxyWorker) -> None:
    worker.worker_connections = 5
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [socket.create_connection(listener.getsockname(), 5) for _ in range(7)]
        listener.setblocking(False)
        worker.accept(listener)
    assert worker.nr_conns == 5
    for client in clients:
        client.close()


def test_clients_that_only_leave_take_no_place_from_those_that_ask(worker: ProxyWorker) -> None:
    clients = [connected(worker) for _ in range(20)]
    first, *others = clients
    first.sendall(embed_request("a"))
    for client in others:
        client.close()
    for conn in list(worker._silent):
        worker._on_first_byte(conn, conn.sock)
    assert len(worker._ready) == 1
    assert worker.nr_conns == 1
    first.close()


@pytest.mark.parametrize(
    ("request_bytes", "whole"),
    [
        (embed_request("a"), True),
        (embed_request("a")[:-1], False),
        (embed_request("a") + b"P", False),
        (chunked(b"{}"), False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2", False),
        (b"POST / HTTP/1.1\r\ncontent-length:0\r\n\r\n", True),
    ],
)
def test_a_whole_request_is_known_by_its_length(request_bytes: bytes, whole: bool) -> None:
    assert is_whole(request_bytes) == whole


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer(worker: ProxyWorker) -> None:
    answer = bytes(6_000_000)
    received = bytearray()
    with connected(worker) as client, Nursery() as nursery:
        (conn,) = worker._silent
        conn.attend(send_timeout=0.2)
        pace = threading.Event()

        def read_slowly() -> None:
            while len(received) < len(answer):
                received.extend(client.recv(65_536))
                pace.wait(0.02)

        nursery.start(read_slowly)
        _send_to_slow_reader(conn.sock, memoryview(answer))
    assert bytes(received) == answer


def test_a_client_that_drips_its_reading_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It always takes something in time, but would hold a thread for hours."""

    class Dripping:
        """Takes ten bytes a second of a sender that is patient for five."""

        taken = 0

        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("ll", 5, 0)

        def send(self, data: memoryview) -> int:
            self.taken += 10
            return 10

    client = Dripping()
    monkeypatch.setattr("serving.wire.time.monotonic", lambda: client.taken / 10)
    monkeypatch.setattr("serving.wire._unread", lambda sock: 1_000_000 - client.taken)
    with pytest.raises(BlockingIOError, match="too slowly"):
        _send_to_slow_reader(client, memoryview(bytes(1_000_000)))  # type: ignore[arg-type]
    assert client.taken == 550  # five seconds, and five more for each 100,000 bytes
