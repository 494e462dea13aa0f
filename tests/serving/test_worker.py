"""The worker's main loop and signals, and how its parts work together; the test takes the loop's turns."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config

from config import Settings
from config.active import activate
from serving.service import service_of
from serving.worker import MOST_AT_ONCE, ProxyWorker
from tests.serving.conftest import answers_in, received_by
from tests.support.service import embed_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"


class FakeService:
    """Notes what the worker tells it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def drain(self) -> None:
        self.told.append("drain")

    def hurry(self) -> None:
        self.told.append("hurry")

    def count_unread(self, status: int) -> None:
        self.told.append(f"unread {status}")


class FakePool:
    """A thread pool whose threads never get to run; the test ends their work."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, Future[bool]]] = []

    def submit(self, _: Callable[..., object], conn: Any) -> Future[bool]:
        future: Future[bool] = Future()
        self.given.append((conn, future))
        return future


class WorkerBench:
    """A worker that has been set up as its process would, apart from signals and threads, and its clients."""

    def __init__(self) -> None:
        self.worker = ProxyWorker(1, os.getpid(), [], None, 30, Config(), logging.getLogger("worker"))
        self.service = FakeService()
        self.worker.wsgi = SimpleNamespace(extensions={"service": self.service})
        self.worker.poller = selectors.DefaultSelector()
        self.worker.tpool = self.pool = FakePool()
        queue = self.worker.method_queue
        queue.init()
        self.worker.poller.register(queue.fileno(), selectors.EVENT_READ, queue.run_callbacks)
        self.clients: list[socket.socket] = []

    def client(self, sends: bytes = b"") -> socket.socket:
        """Connect a client; the worker has accepted it, and its bytes have come."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), 5)
            self.clients.append(client)
            client.sendall(sends)
            listener.setblocking(False)  # as gunicorn's are
            self.worker.accept(listener)
        return client

    def turn(self) -> None:
        self.worker.wait_for_and_dispatch_events(1.0)

    def close(self) -> None:
        watched = [key.fileobj for key in self.worker.poller.get_map().values()]
        held = [conn.sock for conn, _ in self.pool.given] + [conn.sock for conn in self.worker._intake.hand_out(99)]
        for each in (*self.clients, *held, *watched):
            if isinstance(each, socket.socket):
                each.close()
        self.worker.poller.close()
        self.worker.method_queue.close()
        self.worker.tmp.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerBench]:
    monkeypatch.setattr("config.active._active", None)
    activate(Settings(max_concurrent_requests=1))
    bench = WorkerBench()
    yield bench
    bench.close()


# The main loop


def test_a_request_gets_a_thread_on_the_turn_on_which_its_bytes_come(bench: WorkerBench) -> None:
    client = bench.client(HEALTH)
    bench.turn()
    ((conn, _),) = bench.pool.given
    assert conn.client == client.getsockname()


def test_a_turn_hands_out_a_few_requests_only(bench: WorkerBench) -> None:
    for _ in range(MOST_AT_ONCE + 1):
        bench.client(embed_request("a"))
    bench.turn()
    assert len(bench.pool.given) == MOST_AT_ONCE
    bench.turn()
    assert len(bench.pool.given) == MOST_AT_ONCE + 1


def test_the_surplus_is_answered_by_the_main_loop_and_the_service_is_told(bench: WorkerBench) -> None:
    clients = [bench.client(embed_request("a")) for _ in range(40)]
    while "unread 429" not in bench.service.told:
        bench.turn()
    refused = bench.service.told.count("unread 429")
    assert bench.worker.nr_conns == len(clients) - refused
    (answer,) = answers_in(received_by(clients[-1]))
    assert answer.status == 429


def test_the_surplus_is_refused_though_no_application_is_loaded_yet(bench: WorkerBench) -> None:
    bench.worker.wsgi = None
    clients = [bench.client(embed_request("a")) for _ in range(40)]
    while bench.worker.nr_conns == len(clients):
        bench.turn()
    assert answers_in(received_by(clients[-1]))[0].status == 429


def test_a_connection_that_its_thread_hands_back_is_kept_alive(bench: WorkerBench) -> None:
    client = bench.client(HEALTH)
    bench.turn()
    conn, future = bench.pool.given.pop()
    conn.ahead = b""
    conn.prepare(1.0)
    future.set_result(True)
    bench.turn()
    assert list(bench.worker.keepalived_conns) == [conn]
    client.sendall(HEALTH)
    bench.turn()
    assert [given for given, _ in bench.pool.given] == [conn]


def test_a_connection_that_is_over_lingers_until_the_client_leaves(bench: WorkerBench) -> None:
    client = bench.client(HEALTH)
    bench.turn()
    _, future = bench.pool.given.pop()
    future.set_result(False)
    bench.turn()
    assert client.recv(1) == b""
    assert bench.worker.nr_conns == 1
    client.close()
    bench.turn()
    assert bench.worker.nr_conns == 0


def test_a_place_is_free_again_once_its_thread_has_finished(bench: WorkerBench) -> None:
    for _ in range(40):
        bench.client(embed_request("a"))
        bench.turn()
        _, future = bench.pool.given.pop()
        future.set_result(False)
        bench.turn()
    assert bench.service.told == []


def test_a_stopping_worker_waits_for_silent_connections_no_longer_than_for_idle_ones(bench: WorkerBench) -> None:
    client = bench.client()
    bench.worker.murder_pending()
    assert bench.worker.nr_conns == 1
    bench.worker._cap_keepalive(0.0)
    bench.worker.murder_pending()
    assert bench.worker.nr_conns == 0
    assert client.recv(1) == b""


def test_a_worker_that_stops_or_keeps_too_many_connections_closes_each_with_its_response(bench: WorkerBench) -> None:
    assert not bench.worker.must_close()
    bench.worker.max_keepalived = 0
    assert bench.worker.must_close()
    bench.worker.max_keepalived = 1
    bench.worker.alive = False
    assert bench.worker.must_close()


def test_an_idle_connection_that_made_room_is_no_longer_looked_at(bench: WorkerBench) -> None:
    """Both may happen on one turn: the event of a connection comes behind that of the newcomer."""
    client, conn = kept(bench)
    assert bench.worker.drop_idle()
    assert bench.worker.nr_conns == 0
    bench.worker.on_client_socket_readable(conn, conn.sock)
    assert not bench.worker.drop_idle()
    assert client.recv(1) == b""


def test_an_idle_connection_on_which_a_request_has_come_makes_no_room(bench: WorkerBench) -> None:
    client, _ = kept(bench)
    client.sendall(b"P")
    assert not bench.worker.drop_idle()
    assert bench.worker.nr_conns == 1


def kept(bench: WorkerBench) -> tuple[socket.socket, Any]:
    """Return the client and the connection that waits for its next request."""
    client = bench.client(HEALTH)
    bench.turn()
    conn, future = bench.pool.given.pop()
    conn.ahead = b""
    conn.prepare(1.0)
    future.set_result(True)
    bench.turn()
    return client, conn


def test_a_response_that_is_not_taken_is_sent_by_the_main_loop_and_holds_no_place(bench: WorkerBench) -> None:
    client = bench.client(HEALTH)
    bench.turn()
    conn, future = bench.pool.given.pop()
    conn.ahead = b""
    conn.prepare(1.0)
    conn.unsent, conn.stays = memoryview(bytes(3_000_000)), True
    future.set_result(True)
    bench.turn()
    assert bench.worker._intake.busy == 0
    received = 0
    while received < 3_000_000:
        bench.worker.wait_for_and_dispatch_events(0.0)
        received += len(client.recv(1_000_000))
    bench.worker.wait_for_and_dispatch_events(0.0)
    assert list(bench.worker.keepalived_conns) == [conn]


# Threads that cannot be started


class NoThread:
    """A pool whose system lets no thread start, and that has none."""

    def submit(self, *_: object) -> None:
        raise RuntimeError("can't start new thread")


def test_without_any_thread_the_main_loop_answers_and_goes_on(bench: WorkerBench) -> None:
    bench.worker.tpool = NoThread()
    for _ in range(3):
        client = bench.client(embed_request("a"))
        bench.turn()
        (answer,) = answers_in(received_by(client))
        assert answer.status == 503
    assert bench.service.told == ["unread 503"] * 3
    assert bench.worker.nr_conns == 0


# Listening


def test_a_full_worker_goes_on_listening_while_others_can_make_room(bench: WorkerBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bench.worker.sockets = [listener]
        bench.worker.set_accept_enabled(True)
        bench.client()
        bench.worker.nr_conns = bench.worker.worker_connections
        bench.worker.set_accept_enabled(False)
        assert listener in {key.fileobj for key in bench.worker.poller.get_map().values()}
        bench.worker.alive = False
        bench.worker.set_accept_enabled(False)
        assert listener not in {key.fileobj for key in bench.worker.poller.get_map().values()}
        bench.worker.nr_conns = 1


def test_a_worker_whose_master_is_gone_stops_and_listens_no_longer(bench: WorkerBench) -> None:
    assert bench.worker.is_parent_alive() == (bench.worker.ppid == os.getppid())
    bench.worker.ppid = 0
    assert not bench.worker.is_parent_alive()
    assert not bench.worker.alive


def test_a_request_is_answered_from_socket_to_socket(bench: WorkerBench) -> None:
    class Context:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body: bytes = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    application.extensions = {}  # type: ignore[attr-defined]
    application.app_context = Context  # type: ignore[attr-defined]
    bench.worker.wsgi = application
    client = bench.client(embed_request("a"))
    client.shutdown(socket.SHUT_WR)
    with ThreadPoolExecutor(1) as bench.worker.tpool:
        bench.turn()
    (answer,) = answers_in(client.recv(65_536))
    assert answer.body == b'{"inputs": "a"}'
    while bench.worker.nr_conns:
        bench.turn()


# Signals


def test_sigterm_drains_the_service_once(bench: WorkerBench) -> None:
    for _ in range(2):
        bench.worker.handle_exit(signal.SIGTERM, None)
    assert bench.service.told == ["drain"]
    assert not bench.worker.alive


def test_sigterm_before_the_application_is_loaded_stops_the_worker(bench: WorkerBench) -> None:
    bench.worker.wsgi = None
    bench.worker.handle_exit(signal.SIGTERM, None)
    assert not bench.worker.alive


def test_the_first_of_sigint_and_sigquit_ends_the_process_and_the_second_changes_nothing(bench: WorkerBench) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.worker.handle_quit(signal.SIGINT, None)
    bench.worker.handle_quit(signal.SIGQUIT, None)
    assert ended.value.code == 0
    assert bench.service.told == ["hurry"]
    assert not bench.worker.alive


def test_a_signal_that_finds_a_thread_half_started_ends_the_process_once_the_pool_knows_that_thread(
    bench: WorkerBench,
) -> None:
    """A thread may have answered its client before the main thread is back from starting it."""
    known: list[str] = []

    class Pool:
        def submit(self, work: Callable[..., object], conn: Any) -> Future[bool]:
            bench.worker.handle_quit(signal.SIGINT, None)
            known.append("known")
            return bench.pool.submit(work, conn)

    bench.worker.tpool = Pool()
    bench.client(HEALTH)
    with pytest.raises(SystemExit):
        bench.turn()
    assert known == ["known"]
    assert bench.service.told == ["hurry"]


# The service behind the application


def test_an_application_that_is_not_loaded_has_no_service() -> None:
    assert service_of(None) is None
    assert service_of(SimpleNamespace(extensions={})) is None


def test_the_service_is_found_in_the_applications_extensions(bench: WorkerBench) -> None:
    assert service_of(bench.worker.wsgi) is bench.service
