"""Behind TLS the adapter trusts the right servers, and keeps connections and deadlines as it does without."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamBroke, UpstreamTimeout, UpstreamUnavailable
from tests.support.upstream import ScriptedUpstream, faults
from tests.support.upstream.framing import framed
from tests.upstream.network_bench import self_signed
from tests.upstream.transport_bench import LATE, TIMEOUT, vectors_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from tests.support.upstream import Fault
    from tests.upstream.transport_bench import Client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    return self_signed(tmp_path_factory.mktemp("tls"))


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
def client(upstream: ScriptedUpstream, trust: None, client_of: Callable[..., Client]) -> Client:
    return client_of(upstream.url)


def test_an_upstream_behind_tls_is_asked_over_one_connection(upstream: ScriptedUpstream, client: Client) -> None:
    for text in ("a", "b" * 500_000, "c"):
        assert client.ask(text).body == vectors_of(text)
    assert upstream.connections == 1


def test_the_trust_store_is_read_once(
    upstream: ScriptedUpstream, trust: None, client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def note() -> ssl.SSLContext:
        read.append(create())
        return read[-1]

    monkeypatch.setattr(ssl, "create_default_context", note)
    client = client_of(upstream.url)
    upstream.fault = faults.ok_then_close
    for _ in range(3):
        client.ask()
        assert upstream.closed.acquire(timeout=10)
    assert upstream.connections == 3
    assert len(read) == 1


def test_a_certificate_of_another_host_is_not_trusted(
    upstream: ScriptedUpstream, client: Client, client_of: Callable[..., Client]
) -> None:
    client.ask()
    other = client_of(upstream.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(UpstreamUnavailable):
        other.ask("secret")
    assert len(upstream.requests) == 1


def test_a_certificate_of_no_known_authority_is_not_trusted(
    upstream: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    with pytest.raises(UpstreamUnavailable):
        client_of(upstream.url).ask("secret")
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


def test_a_handshake_that_hangs_is_bounded(certificate: Path, client_of: Callable[..., Client]) -> None:
    with ScriptedUpstream(accepting=False) as silent:
        client = client_of(silent.url.replace("http:", "https:"))
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout):
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


def test_an_upstream_that_wants_a_certificate_of_ours_is_out_of_reach(
    certificate: Path, trust: None, client_of: Callable[..., Client]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate.with_suffix(".crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    with ScriptedUpstream(tls=context) as strict, pytest.raises((UpstreamUnavailable, UpstreamBroke)) as raised:
        client_of(strict.url).ask(timeout=10)
    if isinstance(raised.value, UpstreamUnavailable):  # else its reset was faster than its reason
        assert raised.value.message.startswith("the TLS handshake with the upstream failed: tlsv13 alert certificate")


def test_an_upstream_without_tls_is_told(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    plain.read_request = lambda sock, _: sock.sendall(framed(b"", 400))
    with pytest.raises(UpstreamUnavailable, match="does not speak TLS on this port"):
        client_of(plain.url.replace("http:", "https:")).ask(timeout=10)
