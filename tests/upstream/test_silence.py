"""A peer is silent that acknowledges nothing, however often it is sent; one that does not read is not."""

from __future__ import annotations

import socket
import struct

import pytest

from upstream.silence import MOST_SILENCE, has_gone_silent, is_silence

LONG = int(1000 * MOST_SILENCE)


def tcp_info(*, retransmissions: int = 0, unacknowledged: int = 0, since: int = 0) -> bytes:
    """Return what the kernel tells: eight single bytes, then words; ``since`` is in milliseconds."""
    words = [0] * 13
    words[4], words[12] = unacknowledged, since
    return struct.pack("@8B13I", 1, 0, retransmissions, 0, 0, 0, 0, 0, *words)


def test_a_peer_that_acknowledges_nothing_for_long_is_silent() -> None:
    assert is_silence(tcp_info(retransmissions=5, unacknowledged=2, since=LONG))


@pytest.mark.parametrize(
    "info",
    [
        tcp_info(),
        tcp_info(retransmissions=5, unacknowledged=2, since=LONG - 1),
        tcp_info(unacknowledged=2, since=LONG),
        tcp_info(since=60 * LONG),
        tcp_info(retransmissions=5, since=LONG),
    ],
    ids=["new", "not for long", "not sent again", "nothing is owed", "all is acknowledged"],
)
def test_no_other_peer_is(info: bytes) -> None:
    assert not is_silence(info)


def test_a_peer_that_does_not_read_is_not_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        peer, _ = listener.accept()
        with peer:
            sock.setblocking(False)
            while sock.send(b"x" * 1_000_000) == 1_000_000:
                pass
            assert not has_gone_silent(sock)


def test_where_the_system_does_not_tell_no_peer_is_silent() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert not has_gone_silent(one)
