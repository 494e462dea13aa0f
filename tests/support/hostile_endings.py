"""Hostile requests behind which more is sent, so that it has to be told whether their connections end.

What follows belongs to the request, or to no request: a front that shares the connection must not lose another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.hostile import CHUNKED, HOST, JSON, LENGTH, PAYLOAD_LIMIT, SMUGGLED, START, Case, request

if TYPE_CHECKING:
    from collections.abc import Iterator


def endings() -> Iterator[Case]:
    """Refusals behind which more is sent: whatever it is, it belongs to the request, or to no request."""
    nowhere = {
        "no-such-path": (404, b"POST /nowhere HTTP/1.1", ()),
        "no-such-method": (405, b"PUT /embed HTTP/1.1", ()),
        "no-media-type": (415, START, ()),
        "too-large": (413, START, (JSON,)),
    }
    for name, (status, start, fields) in nowhere.items():
        wanted = PAYLOAD_LIMIT + 1 if status == 413 else 1000
        head = (start, HOST, *fields, b"Content-Length: %d" % wanted)
        # A body may be waited for before a thread refuses its request.
        half = request(*head, body=b"x" * 500)
        yield Case(f"ending-{name}-and-half-a-body", half, frozenset({status, 408}), stalls=True)
        none, outcomes = request(*head), frozenset({status} if status == 413 else {status, 408})
        yield Case(f"ending-{name}-and-no-body", none, outcomes, stalls=status != 413)
        yield Case(f"ending-{name}-and-its-body", request(*head, body=b"x" * wanted), frozenset({status}))
        asks = request(*head, b"Expect: 100-continue")
        yield Case(f"ending-{name}-and-a-client-that-asks", asks, frozenset({status}))
        for option in (b"keep-alive, close", b"Close", b"x\r\nConnection: close", b"close\r\nConnection: keep-alive"):
            raw = request(*head, b"Connection: " + option, body=b"x" * wanted) + SMUGGLED
            yield Case(
                f"ending-{name}-and-{option.decode('ascii').split()[-1]}-{len(option)}", raw, frozenset({status})
            )
        old = request(start.replace(b"1.1", b"1.0"), HOST, *fields, b"Content-Length: %d" % wanted, body=b"x" * wanted)
        yield Case(f"ending-{name}-of-http-1.0", old + SMUGGLED, frozenset({status}))
        later = request(
            start.replace(b"1.1", b"1.2"), HOST, *fields, b"Content-Length: %d" % wanted, body=b"x" * wanted
        )
        yield Case(f"ending-{name}-of-http-1.2", later, frozenset({status}))
    beyond = request(START, HOST, JSON, b"Content-Length: %d" % (100 * PAYLOAD_LIMIT), body=SMUGGLED * 20) + SMUGGLED
    yield Case("ending-too-large-and-requests-for-a-body", beyond, frozenset({413, 408}))
    waits = request(START, HOST, LENGTH, b"Expect: 100-continue") + SMUGGLED[:19]
    yield Case("ending-asks-first-and-sends-all-the-same", waits, frozenset({415}))
    chunk = b"1\r\n \r\n"
    many = {
        "bad-chunk-behind-20000": chunk * 19_000 + b"zz\r\n",
        "bad-trailer-behind-20000": chunk * 19_000 + b"0\r\nContent-Length: 5\r\n\r\n",
        "minus-behind-20000": chunk * 19_000 + b"-1\r\n\r\n",
        "20000-with-extensions": b"1;a=b\r\n \r\n" * 19_000 + b"1;=\r\n",
    }
    for name, chunks in many.items():
        yield Case(f"ending-{name}", request(START, HOST, JSON, CHUNKED, body=chunks) + SMUGGLED, frozenset({400}))
    blank = request(START, HOST, JSON, CHUNKED, body=chunk * 19_000 + b"0\r\n\r\n")
    yield Case("ending-20000-chunks-of-nothing", blank, frozenset({400}))
    for size in (1, 40, 94):
        half = request(START, HOST, JSON, b"Content-Length: 1", body=b"{") + request(START, HOST, JSON, LENGTH)[:size]
        yield Case(f"ending-refused-and-{size}-of-another", half, frozenset({400}), goes_on=True)


ENDINGS = list(endings())
