"""A connection makes one exchange after the other over its stream, says what it is doing, and ends with its stream."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from batching.errors import UpstreamBroke, UpstreamProtocolError, UpstreamUnavailable
from tests.support.upstream import closed_port
from tests.support.upstream.framing import framed, head
from upstream.connection import PEER_CLOSED, Address, Connection, State, address_of, connect, trusting_context
from upstream.http_reply import ReplyReader

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"GET /info HTTP/1.1\r\nHost: upstream\r\n\r\n"
ADDRESS = Address("upstream", 80, None)


def still() -> float:
    return 0.0


class Pair:
    """A connection and the peer's end of its stream. Its clock moves by ``step`` seconds whenever it is read."""

    def __init__(self) -> None:
        stream, self.peer = socket.socketpair()
        stream.setblocking(False)
        self.time = self.step = 0.0
        #: What the connection said of itself each time it looked at the clock.
        self.said: list[str] = []
        self.connection = Connection(stream, ADDRESS, self.now)

    def now(self) -> float:
        self.said.append(repr(self.connection))
        self.time += self.step
        return self.time

    def answer(self, *answers: bytes) -> None:
        for answer in answers:
            self.peer.sendall(answer)

    def state(self) -> State:
        return self.connection.state


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.connection.close()
    pair.peer.close()


def test_one_exchange_after_the_other_is_made(pair: Pair) -> None:
    for body in (b"first", b"second"):
        pair.answer(framed(body))
        assert pair.connection.exchange(REQUEST, 1.0, 100).body == body
        assert pair.peer.recv(1000) == REQUEST
        assert pair.connection.is_available


def test_a_connection_says_where_it_leads_and_what_it_does(pair: Pair) -> None:
    assert repr(pair.connection) == "<Connection to http://upstream:80, new>"
    pair.answer(framed(b"{}"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    assert set(pair.said) == {"<Connection to http://upstream:80, active>"}
    assert repr(pair.connection) == "<Connection to http://upstream:80, idle>"
    pair.connection.close()
    assert repr(pair.connection) == "<Connection to http://upstream:80, closed>"


def test_closing_twice_is_closing_once(pair: Pair) -> None:
    pair.connection.close()
    pair.connection.close()
    assert pair.peer.recv(1) == b""


def test_what_has_not_served_or_is_closed_is_not_available(pair: Pair) -> None:
    assert not pair.connection.is_available
    pair.connection.close()
    assert not pair.connection.is_available


@pytest.mark.parametrize("event", ["bytes", "end"])
def test_an_idle_connection_with_something_to_read_is_not_available(pair: Pair, event: str) -> None:
    pair.answer(framed(b"{}"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    if event == "bytes":
        pair.answer(framed(b"of no request"))
    else:
        pair.peer.close()
    assert not pair.connection.is_available
    assert pair.state() is State.IDLE


@pytest.mark.parametrize("answer", [framed(b"{}", 200, "Connection: close"), framed(b"{}") + b"more"])
def test_a_connection_that_cannot_go_on_is_closed_after_its_reply(pair: Pair, answer: bytes) -> None:
    pair.answer(answer)
    assert pair.connection.exchange(REQUEST, 1.0, 100).body == b"{}"
    assert pair.state() is State.CLOSED


def test_a_peer_that_closes_without_a_byte_is_told_from_one_that_breaks_off(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(PEER_CLOSED):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("come", [head(100), b"HTTP/1.1 ", framed(b"long")[:-1]])
def test_a_reply_that_breaks_off_is_broken(pair: Pair, come: bytes) -> None:
    pair.answer(come)
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(UpstreamBroke):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


def test_a_reply_that_breaks_off_counts_if_its_status_is_enough(pair: Pair) -> None:
    pair.answer(framed(b"busy", 503, "Retry-After: 2")[:-1])
    pair.peer.shutdown(socket.SHUT_WR)
    reply = pair.connection.exchange(REQUEST, 1.0, 100)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "2", b"")
    assert pair.state() is State.CLOSED


def test_an_answer_that_a_closing_peer_left_counts(pair: Pair) -> None:
    pair.answer(framed(b"too large", 413))
    pair.peer.close()
    assert pair.connection.exchange(REQUEST, 1.0, 100).body == b"too large"
    assert pair.state() is State.CLOSED


def test_an_answer_that_comes_before_all_is_sent_counts(pair: Pair) -> None:
    pair.answer(framed(b"too large", 413))
    assert pair.connection.exchange(b"x" * 10_000_000, 1.0, 100).status == 413
    assert pair.state() is State.CLOSED


def test_nonsense_closes_the_connection(pair: Pair) -> None:
    pair.answer(b"SSH-2.0-OpenSSH_9.2\r\n")
    with pytest.raises(UpstreamProtocolError):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("come", [b"", framed(b"long")[:-1]], ids=["nothing came", "a part came"])
@pytest.mark.parametrize("step", [0.0, 0.004], ids=["while it waited", "while it worked"])
def test_an_exchange_ends_at_the_deadline_of_its_clock(pair: Pair, come: bytes, step: float) -> None:
    pair.step = step
    pair.answer(come)
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 0.01, 100)
    assert pair.state() is State.CLOSED


def test_a_request_that_is_not_read_ends_at_the_deadline_too(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        pair.connection.exchange(b"x" * 10_000_000, 0.01, 100)
    assert pair.state() is State.CLOSED


def test_bytes_without_end_do_not_keep_an_exchange_beyond_its_deadline(pair: Pair) -> None:
    pair.step = 1.0
    pair.answer(*[head(103)] * 50)
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 2.0, 100)


@pytest.mark.parametrize("answer", [framed(b"{}"), framed(b"long")[:-1], b"nonsense"])
def test_a_closed_connection_leaves_nothing_for_the_collector(answer: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        stream, peer = socket.socketpair()
        stream.setblocking(False)
        connection = Connection(stream, ADDRESS, still)
        peer.sendall(answer)
        peer.close()
        with suppress(UpstreamProtocolError, UpstreamBroke):
            connection.exchange(REQUEST, 1.0, 100)
        connection.close()
        del connection
        left = [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
    finally:
        gc.enable()
    assert left == []


# Addresses


@pytest.mark.parametrize(
    ("url", "host", "port", "text"),
    [
        ("http://upstream", "upstream", 80, "http://upstream:80"),
        ("http://upstream:8080/models/one?x=1", "upstream", 8080, "http://upstream:8080"),
        ("http://user:secret@upstream/", "upstream", 80, "http://upstream:80"),
        ("http://[::1]:8080", "::1", 8080, "http://[::1]:8080"),
        ("http://[fe80::1%lo]/", "fe80::1%lo", 80, "http://[fe80::1%lo]:80"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "http://xn--bcher-kva.example:80"),
    ],
)
def test_an_address_is_read_from_a_url(url: str, host: str, port: int, text: str) -> None:
    address = address_of(url)
    assert (address, str(address)) == (Address(host, port, None), text)


def test_the_address_of_https_has_its_port_and_a_context() -> None:
    address = address_of("https://upstream")
    assert str(address) == "https://upstream:443"
    assert address.tls is not None


def test_certificates_and_host_names_are_checked() -> None:
    context = trusting_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not context.hostname_checks_common_name
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 50


# Connecting


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class FakeTLS:
    """Stands in for a context: notes the name and wraps nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def address(self, host: str, port: int) -> Address:
        return Address(host, port, cast("ssl.SSLContext", self))

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str) -> socket.socket:
        assert sock.gettimeout() is not None
        self.names.append(server_hostname)
        return sock


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("upstream.example", "upstream.example"),
        ("upstream.example.", "upstream.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_certificate_is_asked_for_by_the_name_that_it_can_have(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    looked_up: list[object] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    tls = FakeTLS()
    connect(tls.address(host, 443), 1.0, still).close()
    assert (looked_up, tls.names) == ([host], [name])


def test_small_requests_are_not_held_back(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[tuple[int, ...]] = []

    class Noting(socket.socket):
        def setsockopt(self, *option: Any) -> None:
            options.append(option)
            super().setsockopt(*option)

    monkeypatch.setattr(socket, "socket", Noting)
    connect(Address("127.0.0.1", listener.getsockname()[1], None), 1.0, still).close()
    assert options == [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def test_an_address_that_refuses_is_unavailable() -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        connect(address_of(closed_port()), 1.0, still)
    assert raised.value.retry_after == 1


def test_with_no_time_left_no_connection_is_made(listener: socket.socket) -> None:
    with pytest.raises(UpstreamUnavailable):
        connect(Address("127.0.0.1", listener.getsockname()[1], None), 0.0, still)


def test_a_failed_handshake_closes_the_socket(listener: socket.socket) -> None:
    class Refusing(FakeTLS):
        def wrap_socket(self, sock: socket.socket, *, server_hostname: str) -> socket.socket:
            raise ssl.SSLCertVerificationError

    with pytest.raises(UpstreamUnavailable):
        connect(Refusing().address(*listener.getsockname()), 1.0, still)
    peer, _ = listener.accept()
    with peer:
        assert peer.recv(1) == b""


def test_a_reset_is_a_peer_that_closed(listener: socket.socket) -> None:
    connection = connect(Address("127.0.0.1", listener.getsockname()[1], None), 1.0, still)
    peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(PEER_CLOSED):
        connection.exchange(REQUEST, 1.0, 100)
    assert connection.state is State.CLOSED
