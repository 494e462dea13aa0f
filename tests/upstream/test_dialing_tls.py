"""A handshake asks for the right name, ends in time, and its failure is told in words without addresses."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from batching.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.upstream.network_bench import HUNG, self_signed, shut, target_at
from upstream.dialing import dial
from upstream.origin import Origin
from upstream.tls import trusting_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from upstream.addresses import Target


def still() -> float:
    return 0.0


def soon(seconds: float = HUNG) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        shut(listener)


def target_of(listener: socket.socket) -> Target:
    return target_at(*listener.getsockname())


def failure(origin: Origin, *targets: Target, end: float, now: Callable[[], float] = time.monotonic) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        dial(origin, targets, end, now)
    return raised.value


class FakeTLS:
    """Stands in for a context: notes the name and wraps nothing."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.names: list[str] = []
        self.problem = problem

    def origin(self, host: str) -> Origin:
        return Origin(host, 443, cast("ssl.SSLContext", self))

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str) -> socket.socket:
        assert sock.gettimeout() is not None
        self.names.append(server_hostname)
        if self.problem is not None:
            raise self.problem
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
def test_a_certificate_is_asked_for_by_the_name_that_it_can_have(listener: socket.socket, host: str, name: str) -> None:
    tls = FakeTLS()
    dial(tls.origin(host), [target_of(listener)], 1.0, still).close()
    assert tls.names == [name]


def test_a_failed_handshake_closes_the_socket(listener: socket.socket) -> None:
    tls = FakeTLS(ssl.SSLCertVerificationError())
    error = failure(tls.origin("upstream"), target_of(listener), end=1.0, now=still)
    assert error.message == "the TLS handshake with the upstream failed: certificate verify failed"
    peer, _ = listener.accept()
    with peer:
        assert peer.recv(1) == b""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    return self_signed(tmp_path_factory.mktemp("tls"))


class Peer:
    """Does the same with each connection that a listener takes."""

    def __init__(self, listener: socket.socket, act: Callable[[socket.socket], object]) -> None:
        self._listener, self._act = listener, act
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError), sock:
                    sock.settimeout(HUNG)
                    self._act(sock)


def plain_text(sock: socket.socket) -> None:
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    sock.recv(1000)


def hang_up(sock: socket.socket) -> None:
    sock.recv(1000)


def say_nothing(sock: socket.socket) -> None:
    while sock.recv(1000):
        pass


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (plain_text, "the upstream does not speak TLS on this port"),
        (hang_up, "the upstream closed the connection during the handshake"),
    ],
)
def test_what_no_server_of_tls_does_is_told(
    listener: socket.socket, act: Callable[[socket.socket], object], words: str
) -> None:
    Peer(listener, act)
    error = failure(Origin("127.0.0.1", 443, trusting_context()), target_of(listener), end=soon())
    assert isinstance(error, UpstreamUnavailable)
    assert error.message == f"the TLS handshake with the upstream failed: {words}"
    assert re.match(rf"{target_of(listener)}: .", error.reason)


def serving(certificate: Path) -> Callable[[socket.socket], object]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def shake_hands(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as stream:
            stream.recv(1000)

    return shake_hands


def test_a_certificate_that_is_not_trusted_is_told_with_the_reason(listener: socket.socket, certificate: Path) -> None:
    Peer(listener, serving(certificate))
    error = failure(Origin("127.0.0.1", 443, trusting_context()), target_of(listener), end=soon())
    assert error.message == (
        "the TLS handshake with the upstream failed: certificate verify failed (self-signed certificate)"
    )
    assert "CERTIFICATE_VERIFY_FAILED" in error.reason


def test_a_certificate_of_another_host_is_told_without_the_name(
    listener: socket.socket, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    Peer(listener, serving(certificate))
    error = failure(Origin("secret.internal", 443, trusting_context()), target_of(listener), end=soon())
    assert error.message == (
        "the TLS handshake with the upstream failed: certificate verify failed (hostname mismatch)"
    )
    assert "secret.internal" in error.reason


def test_where_the_handshake_with_one_address_hangs_another_is_used(
    listener: socket.socket, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upstream.dialing.CONNECT_TIMEOUT", 0.6)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    failed: dict[Target, str] = {}
    with socket.create_server(("127.0.0.2", 0)) as other:
        Peer(other, say_nothing)
        Peer(listener, serving(certificate))
        hung, well = target_of(other), target_of(listener)
        origin = Origin("127.0.0.1", 443, trusting_context())
        connection = dial(origin, [hung, well], soon(), time.monotonic, failed.__setitem__)
        shut(other)
    assert (connection.target, failed) == (well, {hung: "no answer to TLS"})
    connection.close()


def test_a_handshake_that_hangs_is_the_upstreams_fault_only_after_its_full_time(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upstream.dialing.CONNECT_TIMEOUT", 0.3)
    Peer(listener, say_nothing)
    origin = Origin("127.0.0.1", 443, trusting_context())
    early, late = (failure(origin, target_of(listener), end=soon(seconds)) for seconds in (0.1, HUNG))
    assert isinstance(early, UpstreamTimeout)
    assert isinstance(late, UpstreamUnavailable)
    assert late.message == "the TLS handshake with the upstream failed: no answer"
