"""A deadline bounds everything that a connection sends and receives, however slowly the other side goes."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from batching import Batch
from batching.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from tests.support import chaos
from tests.support.chaos import Chaos
from tests.support.fakes import KEY, call_of, vector_of
from upstream.endpoint import UpstreamClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds by which a bounded operation may end late.
LATE = 0.25


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
def upstream(certificate: Path) -> Iterator[Chaos]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Chaos(tls=context) as upstream:
        yield upstream


@pytest.fixture
def client(upstream: Chaos, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpstreamClient]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    client = UpstreamClient(upstream.url, connections=1, timeout=0.5)
    yield client
    client.close()


def batch_of(text: str) -> Batch:
    batch = Batch(KEY, "full", time.monotonic())
    batch.add(call_of(text, deadline=time.monotonic() + 60), 1)
    return batch


def test_an_upstream_behind_tls_is_asked_over_one_connection(upstream: Chaos, client: UpstreamClient) -> None:
    for text in ("a", "b" * 500_000, "c"):
        batch = batch_of(text)
        assert client.send(batch) == [vector_of(item) for item in batch.items]
    assert upstream.connections == 1


def test_a_certificate_of_another_host_is_not_trusted(upstream: Chaos, client: UpstreamClient) -> None:
    client.send(batch_of("a"))
    other = UpstreamClient(upstream.url.replace("127.0.0.1", "localhost"), connections=1, timeout=0.5)
    with pytest.raises(UpstreamError) as raised:
        other.send(batch_of("secret"))
    assert raised.value.status in {502, 503}
    assert len(upstream.requests) == 1
    other.close()


def test_a_certificate_nobody_vouches_for_is_not_trusted(upstream: Chaos) -> None:
    client = UpstreamClient(upstream.url, connections=1, timeout=0.5)
    with pytest.raises(UpstreamError) as raised:
        client.send(batch_of("secret"))
    assert raised.value.status in {502, 503}
    assert upstream.requests == []
    client.close()


@pytest.mark.parametrize("fault", [chaos.hang, chaos.drip_headers, chaos.drip_body, chaos.hang_in_the_body])
def test_the_deadline_holds_behind_tls(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.script(fault)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.send(batch_of("a"))
    assert time.monotonic() - began < 0.5 + LATE


def test_a_request_that_is_read_slowly_is_bounded_behind_tls(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_slowly(stream: object) -> None:
        while not upstream.stopping.wait(0.02) and stream.read(65_536):  # type: ignore[attr-defined]
            pass

    monkeypatch.setattr(chaos, "_read_request", read_slowly)
    batch = batch_of("a" * 20_000_000)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.send(batch)
    assert time.monotonic() - began < 0.5 + LATE


def test_a_handshake_that_hangs_is_bounded(certificate: Path) -> None:
    with Chaos(accepting=False) as silent:
        client = UpstreamClient(silent.url.replace("http:", "https:"), connections=1, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(UpstreamError) as raised:
            client.send(batch_of("a"))
        assert raised.value.status in {503, 504}
        assert time.monotonic() - began < 0.3 + LATE
        client.close()


def test_an_early_answer_counts_behind_tls_too(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "_read_request", chaos.read_the_head_only)
    upstream.script(chaos.refuse_and_hang)
    with pytest.raises(UpstreamRejected):
        client.send(batch_of("a" * 20_000_000))


def test_an_interim_reply_does_not_stop_the_request_behind_tls(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "_read_request", chaos.read_with_an_interim_reply)
    client.timeout = 10.0
    batch = batch_of("a" * 5_000_000)
    assert client.send(batch) == [vector_of(item) for item in batch.items]
