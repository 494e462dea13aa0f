"""What the scripted upstream does instead of answering properly: one small function for each fault.

A fault gets the ``Exchange`` and does with its socket what it likes; the connection is closed when it returns, unless
it returns ``KEEP``. Faults of connections rather than replies are the address of a ``closed_port`` and
``ScriptedUpstream(accepting=False)``; faults of reading replace ``ScriptedUpstream.read_request``.
"""

from __future__ import annotations

import gzip
import socket
import struct
from typing import TYPE_CHECKING

from tests.support.upstream.exchange import KEEP, read_body, read_head
from tests.support.upstream.framing import chunked, framed, head

if TYPE_CHECKING:
    from io import BufferedReader

    from tests.support.upstream.exchange import Exchange, Fault, Request
    from tests.support.upstream.forms import Trouble


def _length(exchange: Exchange) -> str:
    return f"Content-Length: {len(exchange.proper)}"


# Replies that are framed well but say something else


def answer(body: bytes, status: int = 200, *headers: str) -> Fault:
    """Answer this, and go on."""

    def fault(exchange: Exchange) -> object:
        exchange.send(framed(body, status, *headers))
        return KEEP

    return fault


def last_answer(body: bytes, status: int = 200, *headers: str) -> Fault:
    """Answer this, announce the end of the connection, and end it."""
    return say(framed(body, status, "Connection: close", *headers))


def vectors(*each: bytes) -> Fault:
    """Answer these vectors, whatever was asked."""
    return lambda exchange: answer(exchange.form.answer(each))(exchange)


def ok(exchange: Exchange) -> object:
    return exchange.play(exchange.reply)


def ok_with(*headers: str) -> Fault:
    """Answer properly, with more headers."""
    return lambda exchange: answer(exchange.proper, exchange.reply.status, *headers)(exchange)


def ok_chunked(exchange: Exchange) -> object:
    middle = len(exchange.proper) // 2
    chunks = chunked(exchange.proper[:middle], exchange.proper[middle:], b"")
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunks)
    return KEEP


def ok_then_close(exchange: Exchange) -> None:
    """Answer properly and end the connection unannounced, as a server does whose keep-alive time is over."""
    ok(exchange)


def after_100_continue(exchange: Exchange) -> object:
    exchange.send(head(100))
    return ok(exchange)


def only_calls(fault: Fault) -> Fault:
    """Play the fault for calls, and answer other requests properly."""
    return lambda exchange: (fault if exchange.is_call else ok)(exchange)


def html(status: int) -> Fault:
    return answer(b"<html><h1>Hello</h1></html>", status, "Content-Type: text/html", "X-Served-By: some proxy")


def refusal(status: int, text: str = "no", *headers: str) -> Fault:
    """Refuse in the form of the server."""
    return lambda exchange: answer(exchange.form.refusal(text), status, *headers)(exchange)


def trouble(kind: Trouble) -> Fault:
    """Answer as the server of this form does in such trouble, with what it does to the connection."""

    def fault(exchange: Exchange) -> object:
        reply = exchange.form.trouble(kind)
        assert reply is not None, f"{type(exchange.form).__name__} was not seen in this trouble: {kind.value}"
        return exchange.play(reply)

    return fault


def redirect(location: str) -> Fault:
    return answer(b"", 307, f"Location: {location}")


def one_vector_too_few(exchange: Exchange) -> object:
    return vectors(*[exchange.form.vector(each) for each in exchange.inputs[1:]])(exchange)


def one_vector_too_many(exchange: Exchange) -> object:
    more = b"[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]"
    return vectors(*[exchange.form.vector(each) for each in exchange.inputs], more)(exchange)


def every_vector(vector: bytes) -> Fault:
    """Answer the right number of vectors, all of them this."""

    def fault(exchange: Exchange) -> object:
        return vectors(*[vector] * len(exchange.inputs))(exchange)

    return fault


def gzipped(exchange: Exchange) -> object:
    return answer(gzip.compress(exchange.proper), 200, "Content-Encoding: gzip")(exchange)


def extra_bytes(exchange: Exchange) -> object:
    """Answer twice; the second answer belongs to no request, and lies there when the next request is sent."""
    exchange.send(framed(exchange.proper) + framed(exchange.form.answer([b"[6,6,6,6,6,6,6,6]"])))
    return KEEP


# Broken framing


def say(raw: bytes) -> Fault:
    """Send these bytes and close."""

    def fault(exchange: Exchange) -> None:
        exchange.send(raw)

    return fault


def not_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n")


def half_a_body(exchange: Exchange) -> None:
    whole = framed(exchange.proper)
    exchange.send(whole[: len(whole) - len(exchange.proper) // 2])


def shorter_than_it_says(exchange: Exchange) -> None:
    """Send a body that makes sense, but is not all that was announced."""
    exchange.send(head(200, f"Content-Length: {len(exchange.proper) + 10}") + exchange.proper)


def truncated_chunks(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunked(exchange.proper) + b"ff\r\n[")


def no_last_chunk(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunked(exchange.proper))


def bad_chunk_size(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + b"zz\r\n" + exchange.proper + b"\r\n0\r\n\r\n")


def no_framing(exchange: Exchange) -> None:
    exchange.send(head(200, "Content-Type: application/json") + exchange.proper)


def status_without_framing(status: int) -> Fault:
    """Answer as HAProxy does while it has no server to ask."""
    return say(head(status, "Connection: close") + b"<html>no server is available</html>")


def odd_length(value: str) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.send(head(200, f"Content-Length: {value}") + exchange.proper)

    return fault


def two_lengths(exchange: Exchange) -> None:
    exchange.send(head(200, _length(exchange), _length(exchange)) + exchange.proper)


def length_and_chunks(exchange: Exchange) -> None:
    exchange.send(head(200, _length(exchange), "Transfer-Encoding: chunked") + chunked(exchange.proper, b""))


def compressed_chunks(exchange: Exchange) -> None:
    chunks = chunked(gzip.compress(exchange.proper), b"")
    exchange.send(head(200, "Transfer-Encoding: gzip, chunked") + chunks)


def huge_body(exchange: Exchange) -> None:
    """Send on and on, until the client hangs up."""
    exchange.send(head(200, "Transfer-Encoding: chunked"))
    while not exchange.pause(0):
        exchange.send(chunked(b"[" * 65_536))


def announced_as_huge(exchange: Exchange) -> None:
    exchange.send(head(200, "Content-Length: 99999999999"))
    exchange.wait_for_hang_up()


def huge_header(exchange: Exchange) -> None:
    exchange.send(head(200, "X-Padding: " + "x" * 100_000, _length(exchange)) + exchange.proper)


def many_headers(exchange: Exchange) -> None:
    exchange.send(head(200, *[f"X-{number}: x" for number in range(200)], _length(exchange)) + exchange.proper)


def interim_without_end(exchange: Exchange) -> None:
    while not exchange.pause(0):
        exchange.send(head(103, "Link: </x>") * 1000)


def upgrade(exchange: Exchange) -> None:
    exchange.send(head(101, "Upgrade: websocket", "Connection: upgrade") + exchange.proper)


# Silence


def hang(exchange: Exchange) -> None:
    """Send nothing and read nothing until the client hangs up."""
    exchange.wait_for_hang_up()


def hang_in_the_body(exchange: Exchange) -> None:
    exchange.send(framed(exchange.proper)[:-3])
    exchange.wait_for_hang_up()


def drip_headers(exchange: Exchange) -> None:
    exchange.drip(framed(exchange.proper), every=0.05)


def drip_body(exchange: Exchange) -> None:
    """Send a body so slowly that it never ends, though bytes always come."""
    exchange.send(head(200, "Content-Type: application/json", "Content-Length: 100000"))
    exchange.drip(exchange.proper.ljust(100_000), every=0.05)


def endless_100_continue(exchange: Exchange) -> None:
    while not exchange.pause(0.01):
        exchange.send(head(100))


def refuse_and_hang(exchange: Exchange) -> None:
    refusal(413, "too large")(exchange)
    hang(exchange)


# Ends


def close(exchange: Exchange) -> None:
    """Close without an answer."""


def reset(exchange: Exchange) -> None:
    """Close with RST instead of FIN."""
    exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_the_body(exchange: Exchange) -> None:
    exchange.send(framed(exchange.proper)[:-3])
    reset(exchange)


# Reading


def read_the_head_only(sock: socket.socket, stream: BufferedReader) -> Request | None:
    """Read as a server does that answers before it has read all."""
    return read_head(stream)


def read_with_an_interim_reply(sock: socket.socket, stream: BufferedReader) -> Request | None:
    """Say 102 before reading the body."""
    request = read_head(stream)
    if request is None:
        return None
    sock.sendall(head(102))
    return read_body(stream, request)
