"""The adapter keeps connections, replaces stale ones, and says what the end of one means."""

from __future__ import annotations

import errno
import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamBroke, UpstreamMisconfigured, UpstreamTimeout, UpstreamUnavailable
from tests.support.concurrency import Nursery
from tests.support.upstream import ScriptedUpstream, faults
from tests.support.upstream.framing import framed
from tests.upstream.network_bench import Hands, Names, Servers, address_at
from tests.upstream.transport_bench import vectors_of
from upstream.connection import Connection
from upstream.transport import STALE_WITHIN, ExchangeAdapter
from upstream.wrong_scheme import EXPECTS_TLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.upstream import Exchange, Fault
    from tests.upstream.transport_bench import Client

HEALTH = b"GET /health HTTP/1.1\r\nHost: upstream\r\n\r\n"


def test_exchanges_one_after_the_other_share_a_connection(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url, size=4)
    assert [client.ask(text).body for text in "abc"] == [vectors_of(text) for text in "abc"]
    assert plain.connections == 1


def test_more_exchanges_at_once_than_are_kept_get_connections_of_their_own(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    all_are_here = threading.Barrier(5)

    def together(exchange: Exchange) -> object:
        all_are_here.wait(10)
        return faults.ok(exchange)

    client = client_of(plain.url, size=2)
    plain.fault = together
    with Nursery() as nursery:
        for _ in range(5):
            nursery.start(lambda: client.ask(timeout=10))
    assert plain.connections == 5
    for _ in range(3):
        assert plain.closed.acquire(timeout=10)
    assert not plain.closed.acquire(blocking=False)


def test_a_stale_connection_is_told_and_replaced_by_a_new_one(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url)
    client.ask()
    plain.script(faults.close)
    assert client.ask("b").body == vectors_of("b")
    assert (client.stale, plain.connections) == (1, 2)


def test_a_connection_that_breaks_late_by_the_clock_was_not_stale(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    moments = itertools.count()
    client = client_of(plain.url, now=lambda: next(moments) * STALE_WITHIN)
    client.ask(timeout=100)
    plain.script(faults.close)
    with pytest.raises(UpstreamBroke):
        client.ask(timeout=100)
    assert client.stale == 0


def test_deadlines_are_moments_of_the_clock_that_is_given(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url, now=lambda: -1000.0)
    assert client.ask().body == vectors_of("a")
    plain.script(faults.hang)
    with pytest.raises(UpstreamTimeout):
        client.ask(timeout=0.05)


def test_closing_the_session_closes_the_connections(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
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


def test_the_session_itself_still_works(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
    assert client.session.get(plain.url + "/info", timeout=10).json()["model_id"] == "scripted"


# What lies between


def test_a_connection_idle_for_too_long_is_replaced_before_the_upstream_could_close_it(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    now = Hands()
    client = client_of(plain.url, now=now, idle=4.0)
    for now.time in (0.0, 4.0, 8.5):
        client.ask()
    assert (client.stale, plain.connections) == (0, 2)
    now.time = 13.0
    client.adapter.close_idle()
    assert plain.closed.acquire(timeout=10)


def test_an_adapter_without_connections_has_none_to_close() -> None:
    ExchangeAdapter().close_idle()


def test_calls_are_spread_over_the_addresses_of_a_name(client_of: Callable[..., Client]) -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    with Servers(*hosts) as servers:
        names = Names(servers.addresses())
        client = client_of(f"http://upstream.test:{servers.port}", size=4, resolve=names.resolve)
        answers = Counter(client.ask().body.decode() for _ in range(9))
        client.session.close()
    assert answers == dict.fromkeys(hosts, 3)
    assert names.asked == [("upstream.test", servers.port)]


@pytest.mark.parametrize("fault", [faults.reset, faults.half_a_body], ids=["no answer", "half an answer"])
def test_one_of_several_addresses_that_breaks_connections_gets_no_more_for_a_moment(
    client_of: Callable[..., Client], fault: Fault
) -> None:
    with ScriptedUpstream(fault=fault) as broken, Servers() as servers:
        servers.port = broken.port
        servers.start("127.0.0.2")
        names = Names([address_at("127.0.0.1", broken.port), *servers.addresses()])
        now = Hands()
        client = client_of(f"http://upstream.test:{broken.port}", size=4, resolve=names.resolve, now=now)
        with pytest.raises(UpstreamBroke):
            client.ask()
        assert {client.ask().body for _ in range(5)} == {b"127.0.0.2"}
        client.session.close()


def test_one_of_several_addresses_that_hangs_gets_no_more_for_a_moment(
    client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upstream.transport.HUNG", 0.1)
    with ScriptedUpstream(fault=faults.hang) as hung, Servers() as servers:
        servers.port = hung.port
        servers.start("127.0.0.2")
        names = Names([address_at("127.0.0.1", hung.port), *servers.addresses()])
        client = client_of(f"http://upstream.test:{hung.port}", size=4, resolve=names.resolve)
        with pytest.raises(UpstreamTimeout) as raised:
            client.ask(timeout=0.2)
        assert {client.ask().body for _ in range(5)} == {b"127.0.0.2"}
        client.session.close()
    assert raised.value.reason == "no answer"


def refuse_the_wait(exchange: Exchange) -> object:
    """Answer like a gateway that closes an idle connection."""
    exchange.send(framed(b"", 408, "Connection: close"))
    return None


def test_a_gateway_that_closes_an_idle_connection_with_a_408_costs_no_call(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url)
    client.ask()
    plain.script(refuse_the_wait)
    assert client.ask("b").body == vectors_of("b")
    assert (client.stale, plain.connections) == (1, 2)


def test_a_408_on_a_new_connection_is_an_answer(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
    plain.script(refuse_the_wait)
    assert client.ask().status == 408
    assert client.stale == 0


def test_a_peer_that_the_system_has_given_up_broke_the_connection_and_was_not_late(
    plain: ScriptedUpstream, client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    client = client_of(plain.url)
    monkeypatch.setattr(Connection, "exchange", give_up)
    with pytest.raises(UpstreamBroke) as raised:
        client.ask()
    assert raised.value.reason == "[Errno 110] Connection timed out"


def test_a_broken_connection_is_told_to_the_log_in_the_words_of_the_system(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    plain.script(faults.reset)
    with pytest.raises(UpstreamBroke) as raised:
        client_of(plain.url).ask()
    assert raised.value.reason.startswith("[Errno 104] Connection reset by peer")
    assert "expect TLS" in raised.value.reason  # one of them may answer so


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "a TLS alert"),
        (
            framed(
                b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
                400,
                "Content-Type: text/html",
                "Connection: close",
            ),
            "400 The plain HTTP request was sent to HTTPS port",
        ),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "Client sent an HTTP request to an HTTPS server.",
        ),
    ],
    ids=["an alert", "nginx", "Go"],
)
def test_plain_http_on_a_port_of_tls_is_a_mistake_of_configuration(
    plain: ScriptedUpstream, client_of: Callable[..., Client], answer: bytes, reason: str
) -> None:
    plain.script(lambda exchange: exchange.send(answer))
    with pytest.raises(UpstreamMisconfigured) as raised:
        client_of(plain.url).ask()
    assert (raised.value.message, raised.value.reason) == (EXPECTS_TLS, reason)


def test_a_400_in_the_same_words_is_an_answer_if_they_are_quoted(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    plain.script(lambda exchange: exchange.send(framed(b'{"error":"400 The plain HTTP request was sent to"}', 400)))
    assert client_of(plain.url).ask().status == 400
