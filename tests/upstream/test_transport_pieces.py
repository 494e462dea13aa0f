"""The adapter's streams use its pooled connections, and give them back, or up, when they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamBroke, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tests.support.upstream import closed_port, faults
from tests.upstream.transport_bench import vectors_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.upstream import Fault, ScriptedUpstream
    from tests.upstream.transport_bench import Client


def test_streams_and_exchanges_share_a_connection(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
    for text in "abc":
        stream = client.begin(text)
        assert (stream.reply.status, client.read(stream)) == (200, vectors_of(text))
        assert client.ask(text).body == vectors_of(text)
    assert plain.connections == 1


def test_a_stream_that_is_under_way_leaves_other_calls_a_connection(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url)
    plain.script(faults.hang_in_the_body)
    stream = client.begin()
    assert client.ask("b").body == vectors_of("b")
    assert (plain.connections, stream.is_over) == (2, False)
    stream.close()
    assert plain.closed.acquire(timeout=10)


def test_a_stream_that_is_closed_early_ends_its_connection(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url)
    plain.script(faults.huge_body)
    stream = client.begin()
    assert stream.read(client.now() + 10)
    for _ in range(2):
        stream.close()
        assert (stream.is_over, stream.read(client.now() + 10)) == (True, b"")
    assert plain.closed.acquire(timeout=10)
    assert client.ask("b").body == vectors_of("b")


def test_a_stale_connection_is_replaced_for_a_stream_as_well(
    plain: ScriptedUpstream, client_of: Callable[..., Client]
) -> None:
    client = client_of(plain.url)
    client.ask()
    plain.script(faults.close)
    assert client.read(client.begin("b")) == vectors_of("b")
    assert (client.stale, plain.connections) == (1, 2)


def test_a_refusal_is_whole_and_keeps_its_connection(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
    plain.script(faults.refusal(422, "too long"))
    stream = client.begin()
    assert (stream.reply.status, stream.is_over) == (422, True)
    assert b"too long" in stream.reply.body
    assert client.ask("b").body == vectors_of("b")
    assert plain.connections == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.close, UpstreamBroke),
        (faults.half_a_body, UpstreamBroke),
        (faults.shorter_than_it_says, UpstreamBroke),
        (faults.truncated_chunks, UpstreamBroke),
        (faults.no_last_chunk, UpstreamBroke),
        (faults.reset_in_the_body, UpstreamBroke),
        (faults.bad_chunk_size, UpstreamProtocolError),
        (faults.not_http, UpstreamProtocolError),
        (faults.no_framing, UpstreamProtocolError),
        (faults.gzipped, UpstreamProtocolError),
        (faults.huge_header, UpstreamProtocolError),
        (faults.announced_as_huge, UpstreamProtocolError),
        (faults.huge_body, UpstreamProtocolError),
        (faults.hang, UpstreamTimeout),
        (faults.hang_in_the_body, UpstreamTimeout),
        (faults.drip_headers, UpstreamTimeout),
    ],
)
def test_an_answer_that_never_is_whole_ends_with_an_error(
    plain: ScriptedUpstream, client_of: Callable[..., Client], fault: Fault, kind: type[Exception]
) -> None:
    client = client_of(plain.url)
    plain.script(fault)
    with pytest.raises(kind):
        client.read(client.begin())
    assert plain.closed.acquire(timeout=10)
    assert client.ask("b").body == vectors_of("b")


def test_a_server_that_is_not_there_is_unavailable(client_of: Callable[..., Client]) -> None:
    with pytest.raises(UpstreamUnavailable):
        client_of(closed_port()).begin()


def test_a_stream_says_what_it_brings(plain: ScriptedUpstream, client_of: Callable[..., Client]) -> None:
    client = client_of(plain.url)
    plain.script(faults.hang_in_the_body)
    stream = client.begin()
    assert repr(stream) == f"<Stream of a 200, <Connection to 127.0.0.1:{plain.port}, active>>"
    stream.close()
    assert repr(stream) == "<Stream of a 200, over>"
