"""Whatever is wrong between here and the server, an operator reads what it is and what to look at."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamError
from instrumentation.logs import advice, kind_of
from tests.support.upstream import ScriptedUpstream, closed_port, faults
from tests.upstream.endpoint_bench import TIMEOUT, batch_of
from tests.upstream.network_bench import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.upstream import Fault
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint

KEY = "check INFERENCE_API_KEY"
PATH = "check the path of inference_url and which API the server speaks"
TLS = "check whether inference_url is to begin with http or https, and the certificate"
NAME = "check the host name in inference_url"
RUNS = "check that the server runs and listens at that address"
ADDRESS = "give that address as inference_url"
ANYTHING = "see the log of the upstream"


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedUpstream]:
    """A server with a certificate that is not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path_factory.mktemp("tls")))
    with ScriptedUpstream(tls=context) as upstream:
        yield upstream


def reasons(endpoint: Endpoint) -> tuple[str, str]:
    """Return what the log says of a health check that fails, and of a call."""
    health = endpoint.health(TIMEOUT)
    assert not health.is_well
    with pytest.raises(UpstreamError) as raised:
        endpoint.send(batch_of("a secret"))
    return health.reason, kind_of(raised.value)


def assert_tells(endpoint: Endpoint, look_at: str, *words: str) -> None:
    """Both say what to look at, in these words among others, in one plain line."""
    for reason in reasons(endpoint):
        assert (reason, advice(reason)) == (reason, look_at)
        assert all(word in reason for word in words), reason
        assert reason.isprintable()
        assert "secret" not in reason


def test_a_wrong_port(connect: Connect) -> None:
    assert_tells(connect(closed_port()), RUNS, "refused")


def test_an_unknown_name(connect: Connect) -> None:
    assert_tells(connect("http://no-such-host.invalid:80"), NAME, "no-such-host.invalid")


def test_an_untrusted_certificate(connect: Connect, behind_tls: ScriptedUpstream) -> None:
    assert_tells(connect(behind_tls.url), TLS, "certificate")


def test_http_where_the_server_expects_tls(connect: Connect, behind_tls: ScriptedUpstream) -> None:
    assert_tells(connect(behind_tls.url.replace("https:", "http:")), TLS, "TLS")


def test_https_where_the_server_expects_plain_http(connect: Connect, upstream: ScriptedUpstream) -> None:
    assert_tells(connect(upstream.url.replace("http:", "https:")), TLS, "TLS")


def test_a_server_that_does_not_answer(connect: Connect, upstream: ScriptedUpstream) -> None:
    upstream.fault = faults.hang
    assert_tells(connect(upstream), RUNS)


@pytest.mark.parametrize(
    ("fault", "look_at", "words"),
    [
        (faults.refusal(401), KEY, "status 401"),
        (faults.html(403), KEY, "status 403"),
        (faults.html(404), PATH, "status 404"),
        (faults.html(405), PATH, "status 405"),
        (faults.redirect("https://elsewhere/v2"), ADDRESS, "https://elsewhere/v2"),
        (faults.html(502), ANYTHING, "status 502"),
        (faults.refusal(500), ANYTHING, "status 500"),
    ],
)
def test_a_status_on_every_call(
    connect: Connect, upstream: ScriptedUpstream, fault: Fault, look_at: str, words: str
) -> None:
    upstream.fault = fault
    assert_tells(connect(upstream), look_at, words)


def test_what_is_told_of_nonsense_does_not_depend_on_where_it_is(
    endpoint: Endpoint, upstream: ScriptedUpstream
) -> None:
    """The log counts failures by kind: each other kind would be another line."""
    kinds = set()
    for length in range(1, 6):
        upstream.script(faults.answer(b"[" + b"1," * length + b"x]"))
        with pytest.raises(UpstreamError) as raised:
            endpoint.send(batch_of("a"))
        kinds.add(kind_of(raised.value))
    assert len(kinds) == 1
