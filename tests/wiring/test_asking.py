"""At the start upstreams are asked what they speak: over real sockets, and within a second for all together."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from config import Settings
from tests.support.upstream import ScriptedUpstream, TeiForm, closed_port
from tests.support.upstream.forms import InfinityForm, KserveForm, PlainForm, TritonForm, VllmForm
from tests.upstream.network_bench import self_signed
from wiring import asking
from wiring.asking import NOT_YET, Asker, upstreams_told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.upstream import Form
    from tests.support.upstream.exchange import Exchange

GUESSED = (
    "is taken for a server of TEI's API (it says nothing of itself; upstream_api overrides it): "
    'POST /embed {"inputs":["a","b"]}'
)


def told(*urls: str, **settings: Any) -> list[str]:
    """Return what is said of each upstream."""
    return [said for _, said in upstreams_told(Settings(inference_url=urls, **settings))]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (TeiForm(), "speaks TEI's API (GET /info tells scripted): POST /embed "),
        (VllmForm(), "speaks OpenAI's API (GET /v1/models lists minilm): POST /v1/embeddings "),
        (InfinityForm(), "speaks OpenAI's API (GET /models lists minilm): POST /embeddings "),
        (KserveForm(), "speaks KServe v1 (GET /v1/models lists minilm): "),
        (PlainForm(), GUESSED),
    ],
    ids=lambda each: type(each).__name__,
)
def test_it_is_said_what_an_upstream_speaks_and_would_be_sent(form: Form, said: str) -> None:
    with ScriptedUpstream(form) as upstream:
        assert told(upstream.url)[0].startswith(said)
        assert upstream.calls == []


def test_what_the_settings_say_is_said_without_asking() -> None:
    said = told(closed_port(), upstream_api="kserve", upstream_model="m")
    assert said == ['speaks KServe v1 (upstream_api says so): POST /v1/models/m:predict {"instances":["a","b"]}']


def test_a_plain_server_is_described_by_its_settings() -> None:
    with ScriptedUpstream(TritonForm()) as upstream:
        said = told(
            upstream.url,
            upstream_api="plain",
            upstream_path="/encode",
            upstream_input_field="texts",
            upstream_extra='{"model":"m"}',
        )
    example = 'POST /encode {"texts":["a","b"],"model":"m"}'
    assert said == [f"speaks a plain API of its own (upstream_api says so): {example}"]


def test_an_upstream_that_does_not_answer_is_asked_later() -> None:
    with ScriptedUpstream() as upstream:
        assert told(closed_port(), upstream.url)[0] == NOT_YET
        assert told(closed_port(), upstream.url)[1].startswith("speaks TEI's API")


def test_all_upstreams_that_are_silent_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LONGEST", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
        began = time.monotonic()
        assert told(*urls) == [NOT_YET, NOT_YET]
        assert time.monotonic() - began < 2.0


def test_an_answer_whose_bytes_trickle_in_is_not_waited_for() -> None:
    def trickle(exchange: Exchange) -> None:
        exchange.send(b"H")
        exchange.server.stopping.wait()

    moments = iter([0.1, 0.2])  # it connects, and waits for the first byte
    with ScriptedUpstream(fault=trickle) as upstream:
        asker = Asker(upstream.url, 5.0, lambda: next(moments, 6.0))
        assert asker.get("/info") is None
    assert not asker.was_answered


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"503 Service Unavailable"])
def test_an_upstream_that_answers_no_page_is_said_to_be_unknown_for_now(status: bytes) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with ScriptedUpstream(fault=refuse) as upstream:
        (said,) = told(upstream.url)
    assert said.startswith("cannot be told yet: ")
    assert status[:3].decode() in said


def test_the_path_and_query_of_the_base_url_stand_in_each_request() -> None:
    with ScriptedUpstream() as upstream:
        asker = Asker(f"{upstream.url}/base?api-version=1", time.monotonic() + 5, time.monotonic, api_key="k")
        assert asker.get("/info") is not None
        (request,) = upstream.requests
    assert request.path == "/base/info?api-version=1"
    assert (request.header("Authorization"), request.header("api-key")) == ("Bearer k", "k")


def test_credentials_in_the_address_are_not_sent_as_a_part_of_the_host() -> None:
    with ScriptedUpstream() as upstream:
        url = upstream.url.replace("http://", "http://user:secret@")
        assert Asker(url, time.monotonic() + 5, time.monotonic).get("/info") is not None
        (request,) = upstream.requests
    assert request.header("Host") == upstream.url.removeprefix("http://")


def test_an_address_that_was_given_whole_is_asked_at_its_base() -> None:
    with ScriptedUpstream(VllmForm()) as upstream:
        (said,) = told(f"{upstream.url}/v1/embeddings")
    assert said.startswith("speaks OpenAI's API (GET /models lists minilm): POST /embeddings ")


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker("http://no-such-name.invalid", time.monotonic() + 5, time.monotonic)
    assert asker.get("/info") is None
    monkeypatch.setattr(asking, "_is_quick", lambda _: False)
    with ScriptedUpstream() as upstream:
        url = upstream.url.replace("127.0.0.1", "localhost")
        assert Asker(url, time.monotonic() + 5, time.monotonic).get("/info") is not None


def test_a_server_is_trusted_by_the_file_of_certificates(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ScriptedUpstream(tls=context) as upstream:
        assert told(upstream.url) == [NOT_YET]
        (said,) = told(upstream.url, upstream_ca_file=str(certificate.with_suffix(".crt")))
    assert said.startswith("speaks TEI's API")
