"""The adapter keeps connections, replaces stale ones, trusts the right servers and ends every exchange in time."""

from __future__ import annotations

import itertools
import shutil
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from batching.errors import UpstreamBroke, UpstreamTimeout, UpstreamUnavailable
from tests.support.concurrency import Nursery
from tests.support.upstream import ScriptedUpstream, faults, vector_for
from upstream.connection import State, address_of
from upstream.transport import STALE_WITHIN, ConnectionPool, ExchangeAdapter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from tests.support.upstream import Exchange, Fault
    from upstream.connection import Connection
    from upstream.http_reply import Reply

#: Seconds that an exchange may take, and that it may end late.
TIMEOUT, LATE = 0.5, 0.25
HEALTH = b"GET /health HTTP/1.1\r\nHost: upstream\r\n\r\n"


class Client:
    """An adapter in a session, as an endpoint has one."""

    def __init__(self, url: str, *, size: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=size, now=now)
        self.session.mount(url, self.adapter)
        self.adapter.connect_to(self.session.prepare_request(requests.Request("GET", url)))
        self.now = now
        #: How often a connection was stale.
        self.stale = 0

    def ask(self, text: str = "a", *, timeout: float = TIMEOUT) -> Reply:
        body = b'{"inputs":["%b"]}' % text.encode()
        message = b"POST /embed HTTP/1.1\r\nHost: upstream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        return self.adapter.exchange(message, self.now() + timeout, 1_000_000, self.note_stale)

    def note_stale(self) -> None:
        self.stale += 1


def vectors_of(text: str) -> bytes:
    """What the upstream answers properly."""
    return b"[%b]" % vector_for(text)


@pytest.fixture
def plain() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connect(url: str, *, size: int = 1, now: Callable[[], float] = time.monotonic) -> Client:
        clients.append(Client(url, size=size, now=now))
        return clients[-1]

    yield connect
    for client in clients:
        client.session.close()


# The pool


@pytest.fixture
def pool(plain: ScriptedUpstream) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(address_of(plain.url), 2)
    yield pool
    pool.close()


def used(pool: ConnectionPool, count: int) -> list[Connection]:
    """Return connections that were taken together, and of which each has made an exchange."""
    connections = [pool.take(time.monotonic() + 10) for _ in range(count)]
    for connection in connections:
        assert connection.exchange(HEALTH, time.monotonic() + 10, None).status == 200
    return connections


def take(pool: ConnectionPool) -> Connection:
    return pool.take(time.monotonic() + 10)


def states(*connections: Connection) -> list[State]:
    return [connection.state for connection in connections]


def test_the_connection_put_back_last_is_taken_first(pool: ConnectionPool) -> None:
    first, second = used(pool, 2)
    pool.put(first)
    pool.put(second)
    assert [take(pool), take(pool)] == [second, first]
    first.close()
    second.close()


def test_a_pool_keeps_so_many_connections_and_closes_the_others(pool: ConnectionPool) -> None:
    connections = used(pool, 3)
    for connection in connections:
        pool.put(connection)
    assert states(*connections) == [State.IDLE, State.IDLE, State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.address}, 2 of 2 idle>"


def test_a_connection_that_made_no_exchange_is_not_kept(pool: ConnectionPool) -> None:
    connection = take(pool)
    pool.put(connection)
    assert states(connection) == [State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.address}, 0 of 2 idle>"


def test_connections_that_the_upstream_closed_are_replaced(plain: ScriptedUpstream, pool: ConnectionPool) -> None:
    plain.fault = faults.ok_then_close
    old = used(pool, 2)
    for connection in old:
        assert plain.closed.acquire(timeout=10)
        pool.put(connection)
    new = take(pool)
    assert states(*old, new) == [State.CLOSED, State.CLOSED, State.NEW]
    new.close()


def test_a_closed_pool_closes_its_connections_and_those_put_back_later(pool: ConnectionPool) -> None:
    idle, busy = used(pool, 2)
    pool.put(idle)
    pool.close()
    assert states(idle, busy) == [State.CLOSED, State.IDLE]
    pool.put(busy)
    assert states(busy) == [State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.address}, closed>"
    with pytest.raises(UpstreamUnavailable):
        take(pool)


def test_a_pool_that_is_dropped_closes_its_connections(plain: ScriptedUpstream) -> None:
    pool = ConnectionPool(address_of(plain.url), 1)
    (connection,) = used(pool, 1)
    pool.put(connection)
    del pool
    assert states(connection) == [State.CLOSED]


# The adapter


def test_exchanges_one_after_the_other_share_a_connection(
    plain: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    client = connect(plain.url, size=4)
    assert [client.ask(text).body for text in "abc"] == [vectors_of(text) for text in "abc"]
    assert plain.connections == 1


def test_more_exchanges_at_once_than_are_kept_get_connections_of_their_own(
    plain: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    all_are_here = threading.Barrier(5)

    def together(exchange: Exchange) -> object:
        all_are_here.wait(10)
        return faults.ok(exchange)

    client = connect(plain.url, size=2)
    plain.fault = together
    with Nursery() as nursery:
        for _ in range(5):
            nursery.start(lambda: client.ask(timeout=10))
    assert plain.connections == 5
    for _ in range(3):
        assert plain.closed.acquire(timeout=10)
    assert not plain.closed.acquire(blocking=False)


def test_a_stale_connection_is_told_and_replaced_by_a_new_one(
    plain: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    client = connect(plain.url)
    client.ask()
    plain.script(faults.close)
    assert client.ask("b").body == vectors_of("b")
    assert (client.stale, plain.connections) == (1, 2)


def test_a_connection_that_breaks_late_by_the_clock_was_not_stale(
    plain: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    moments = itertools.count()
    client = connect(plain.url, now=lambda: next(moments) * STALE_WITHIN)
    client.ask(timeout=100)
    plain.script(faults.close)
    with pytest.raises(UpstreamBroke):
        client.ask(timeout=100)
    assert client.stale == 0


def test_deadlines_are_moments_of_the_clock_that_is_given(
    plain: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    client = connect(plain.url, now=lambda: -1000.0)
    assert client.ask().body == vectors_of("a")
    plain.script(faults.hang)
    with pytest.raises(UpstreamTimeout):
        client.ask(timeout=0.05)


def test_closing_the_session_closes_the_connections(plain: ScriptedUpstream, connect: Callable[..., Client]) -> None:
    client = connect(plain.url)
    client.ask()
    client.session.close()
    assert plain.closed.acquire(timeout=10)
    with pytest.raises(UpstreamUnavailable):
        client.ask()
    assert plain.connections == 1


def test_an_adapter_without_an_address_makes_no_exchange() -> None:
    adapter = ExchangeAdapter()
    with pytest.raises(RuntimeError):
        adapter.exchange(HEALTH, time.monotonic() + 1, None, lambda: None)
    adapter.close()


def test_the_session_itself_still_works(plain: ScriptedUpstream, connect: Callable[..., Client]) -> None:
    client = connect(plain.url)
    assert client.session.get(plain.url + "/info", timeout=10).json()["model_id"] == "scripted"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def upstream(certificate: Path) -> Iterator[ScriptedUpstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ScriptedUpstream(tls=context) as upstream:
        yield upstream


@pytest.fixture
def trust(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system trust the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))


@pytest.fixture
def client(upstream: ScriptedUpstream, trust: None, connect: Callable[..., Client]) -> Client:
    return connect(upstream.url)


def test_an_upstream_behind_tls_is_asked_over_one_connection(upstream: ScriptedUpstream, client: Client) -> None:
    for text in ("a", "b" * 500_000, "c"):
        assert client.ask(text).body == vectors_of(text)
    assert upstream.connections == 1


def test_the_trust_store_is_read_once(
    upstream: ScriptedUpstream, trust: None, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def note() -> ssl.SSLContext:
        read.append(create())
        return read[-1]

    monkeypatch.setattr(ssl, "create_default_context", note)
    client = connect(upstream.url)
    upstream.fault = faults.ok_then_close
    for _ in range(3):
        client.ask()
        assert upstream.closed.acquire(timeout=10)
    assert upstream.connections == 3
    assert len(read) == 1


def test_a_certificate_of_another_host_is_not_trusted(
    upstream: ScriptedUpstream, client: Client, connect: Callable[..., Client]
) -> None:
    client.ask()
    other = connect(upstream.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(UpstreamUnavailable):
        other.ask("secret")
    assert len(upstream.requests) == 1


def test_a_certificate_of_no_known_authority_is_not_trusted(
    upstream: ScriptedUpstream, connect: Callable[..., Client]
) -> None:
    with pytest.raises(UpstreamUnavailable):
        connect(upstream.url).ask("secret")
    assert upstream.requests == []


@pytest.mark.parametrize("fault", [faults.hang, faults.drip_headers, faults.drip_body, faults.hang_in_the_body])
def test_the_deadline_holds_behind_tls(upstream: ScriptedUpstream, client: Client, fault: Fault) -> None:
    upstream.script(fault)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.ask()
    assert time.monotonic() - began < TIMEOUT + LATE


def test_a_request_that_is_read_slowly_is_bounded_behind_tls(upstream: ScriptedUpstream, client: Client) -> None:
    def read_slowly(sock: socket.socket, stream: BufferedReader) -> None:
        while not upstream.stopping.wait(0.02) and stream.read(65_536):
            pass

    upstream.read_request = read_slowly
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.ask("a" * 20_000_000)
    assert time.monotonic() - began < TIMEOUT + LATE


def test_a_handshake_that_hangs_is_bounded(certificate: Path, connect: Callable[..., Client]) -> None:
    with ScriptedUpstream(accepting=False) as silent:
        client = connect(silent.url.replace("http:", "https:"))
        began = time.monotonic()
        with pytest.raises(UpstreamUnavailable):
            client.ask(timeout=0.3)
        assert time.monotonic() - began < 0.3 + LATE


def test_an_early_answer_counts_behind_tls_too(upstream: ScriptedUpstream, client: Client) -> None:
    upstream.read_request = faults.read_the_head_only
    upstream.script(faults.refuse_and_hang)
    assert client.ask("a" * 20_000_000).status == 413


def test_an_interim_reply_does_not_stop_the_request_behind_tls(upstream: ScriptedUpstream, client: Client) -> None:
    upstream.read_request = faults.read_with_an_interim_reply
    text = "a" * 5_000_000
    assert client.ask(text, timeout=10).body == vectors_of(text)
