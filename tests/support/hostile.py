"""Requests that must never be served: each as raw bytes, with the only answers that it may get.

Tables of readable shapes, multiplied where shapes combine. Whatever is in truth valid, however odd, is not here.
Each body that could be taken for a request asks for an embedding of ``hostile``, which no upstream may ever see.
"""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: What the service under attack is set to.
PAYLOAD_LIMIT, MOST_ITEMS = 20_000, 16

#: An outcome beside the statuses: the connection is closed without a word.
CLOSED = 0

BODY = b'{"input":"hostile"}'
CHUNKS = b"13\r\n" + BODY + b"\r\n0\r\n\r\n"
START = b"POST /embed HTTP/1.1"
HOST = b"Host: test"
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: 19"
CHUNKED = b"Transfer-Encoding: chunked"
#: What rides behind a request whose end is in doubt. Nobody may answer it.
SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\nPOST /embed HTTP/1.1\r\nHost: test\r\n" + (
    b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n" + BODY
)


class Case(NamedTuple):
    """One hostile request."""

    name: str
    raw: bytes
    #: Statuses that it may be answered with, or ``CLOSED``.
    outcomes: frozenset[int]
    #: It stops half way and waits: it is let go when the read deadline has passed, and not at once.
    stalls: bool = False
    #: The client closes its sending side behind it.
    ends: bool = False
    #: The beginning of another request follows, so that no front can send a third one behind it.
    goes_on: bool = False

    @property
    def smuggles(self) -> bool:
        """Whether its end is in doubt: whatever it is told, its connection has to be closed."""
        return self.raw.endswith(SMUGGLED)


def request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(body: bytes, *lines: bytes) -> bytes:
    """Return a well-formed ``POST /embed``, whatever its body."""
    return request(START, HOST, JSON, *lines, b"Content-Length: %d" % len(body), body=body)


def cases(group: str, shapes: Mapping[str, bytes], *outcomes: int) -> Iterator[Case]:
    for name, raw in shapes.items():
        yield Case(f"{group}-{name}", raw, frozenset(outcomes))


def named(texts: Iterable[bytes]) -> dict[str, bytes]:
    """Name each by its own beginning."""
    return {f"{position}-{text[:24].decode('ascii', 'backslashreplace')}": text for position, text in enumerate(texts)}


# ---- framing: where does the request end? -----------------------------------------------------------

_LENGTHS = named(
    [
        *(b"+19", b"-19", b"0x13", b"19, 19", b"19,", b",19", b"19 19", b"1_9", b"19.0", b"1e1", b"", b'"19"', b"19;"),
        *(b"nineteen", b"\xb2", b"\xbc", b"\xd9\xa3", b"1\x009", b"19\x0b", b"\x0c19", b"19\x7f", b"19\r", b"NaN"),
        *(b"-0", b"1 9", b"0b1", b"19L", b"\xa019", b"19\x85"),
    ]
)
_CODINGS = named(
    [
        *(b"chunked, chunked", b"chunked, identity", b"chunked, gzip", b"gzip", b"identity", b"gzip, magic", b"cow"),
        *(b"xchunked", b"chunkedx", b"chunk", b"chunked;q=1", b"\x0bchunked", b"chunked\x00", b"\xa0chunked", b""),
        *(b", chunked", b"chunked,", b'"chunked"', b"chunked chunked", b"chu\rnked", b"ch\xfcnked", b"deflate"),
    ]
)
_FRAMING = {
    "length-and-chunks": (LENGTH, CHUNKED),
    "chunks-and-length": (CHUNKED, LENGTH),
    "length-zero-and-chunks": (b"Content-Length: 0", CHUNKED),
    "bad-length-and-chunks": (b"Content-Length: x", CHUNKED),
    "length-and-unknown-coding": (LENGTH, b"Transfer-Encoding: cow"),
    "length-twice-equal": (LENGTH, LENGTH),
    "length-twice-different": (LENGTH, b"Content-Length: 5"),
    "length-twice-zero-first": (b"Content-Length: 0", LENGTH),
    "length-twice-in-two-cases": (LENGTH, b"content-length: 0"),
    "coding-twice": (CHUNKED, CHUNKED),
    "coding-twice-in-two-cases": (CHUNKED, b"TRANSFER-ENCODING: CHUNKED"),
    "coding-then-identity": (CHUNKED, b"Transfer-Encoding: identity"),
    "coding-then-gzip": (CHUNKED, b"Transfer-Encoding: gzip"),
    "space-before-colon-of-length": (b"Content-Length : 19",),
    "tab-before-colon-of-length": (b"Content-Length\t: 19",),
    "space-before-colon-of-coding": (b"Transfer-Encoding : chunked",),
    "space-before-length": (b" Content-Length: 19",),
    "folded-length": (b"Content-Length:", b" 19"),
    "folded-coding": (b"Transfer-Encoding:", b" chunked"),
    "folded-with-a-tab": (b"X: 1", b"\tContent-Length: 5", LENGTH),
    "coding-hidden-by-bare-lf": (LENGTH, b"X: 1\nTransfer-Encoding: chunked"),
    "coding-hidden-by-bare-cr": (LENGTH, b"X: 1\rTransfer-Encoding: chunked"),
    "nul-in-the-name-of-length": (b"Content-Length\0: 19",),
    "nul-before-the-name-of-coding": (LENGTH, b"\0Transfer-Encoding: chunked"),
    "host-twice": (HOST, LENGTH),
    "host-twice-different": (b"Host: other", LENGTH),
    "host-twice-in-two-cases": (b"hOST: test", LENGTH),
    "content-type-twice": (JSON, LENGTH),
    "content-type-twice-different": (b"Content-Type: text/plain", LENGTH),
}


def _framing() -> Iterator[Case]:
    doubtful = {400, 501}
    for name, lines in _FRAMING.items():
        is_chunked = lines[-1].lower().startswith(b"transfer") or b"\nTransfer" in lines[-1]
        raw = request(START, HOST, JSON, *lines, body=CHUNKS if is_chunked else BODY) + SMUGGLED
        yield Case(f"framing-{name}", raw, frozenset(doubtful))
    lengths = {
        name: request(START, HOST, JSON, b"Content-Length: " + value, body=BODY) + SMUGGLED
        for name, value in _LENGTHS.items()
    }
    yield from cases("length", lengths, 400)
    codings = {
        name: request(START, HOST, JSON, b"Transfer-Encoding: " + value, body=CHUNKS) + SMUGGLED
        for name, value in _CODINGS.items()
    }
    yield from cases("coding", codings, *doubtful)
    old = request(b"POST /embed HTTP/1.0", HOST, JSON, CHUNKED, body=CHUNKS) + SMUGGLED
    yield Case("coding-of-http-1.0", old, frozenset({400}))
    yield Case("length-none", request(START, HOST, JSON), frozenset({411}))


# ---- the head: is it HTTP? ---------------------------------------------------------------------------

_START_LINES = named(
    [
        *(b"", b" ", b"nonsense", b"POST", b"POST /embed", b"POST /embed ", b"/embed HTTP/1.1"),
        b" POST /embed HTTP/1.1",
        *(b"POST  /embed HTTP/1.1", b"POST /embed  HTTP/1.1", b"POST\t/embed\tHTTP/1.1", b"POST /em bed HTTP/1.1"),
        # methods
        *(b"post /embed HTTP/1.1", b"Post /embed HTTP/1.1", b"PO /embed HTTP/1.1", b"PO(ST /embed HTTP/1.1"),
        *(b"POST: /embed HTTP/1.1", b"POST# /embed HTTP/1.1", b"PO\0ST /embed HTTP/1.1", b"P\xd6ST /embed HTTP/1.1"),
        *(b"%s /embed HTTP/1.1" % (b"P" * 21), b'"POST" /embed HTTP/1.1', b"{POST} /embed HTTP/1.1"),
        # versions
        *(b"POST /embed HTTP/0.9", b"POST /embed HTTP/2.0", b"POST /embed HTTP/3.0", b"POST /embed HTTP/9.9"),
        *(b"POST /embed HTTP/1", b"POST /embed HTTP/1.", b"POST /embed HTTP/.1", b"POST /embed HTTP/1.1.1"),
        *(b"POST /embed HTTP/11", b"POST /embed HTTP/1.10", b"POST /embed HTTP/01.1", b"POST /embed HTTP/1,1"),
        *(b"POST /embed http/1.1", b"POST /embed HTTP/1.1 ", b"POST /embed HTTP/ 1.1", b"POST /embed HTTP1.1"),
        *(b"POST /embed HTPP/1.1", b"POST /embed HTTP/-1.1", b"POST /embed HTTP/1.1\0", b"POST /embed HTTP/1.\xb2"),
        *(b"POST /embed ICY/1.1", b"POST /embed HTTP/x.y", b"POST /embed \xff", b"POST /embed HTTP/1.1\rX: 1"),
        # targets
        *(b"POST embed HTTP/1.1", b"POST * HTTP/1.1", b"POST test:80 HTTP/1.1", b"POST /em\0bed HTTP/1.1"),
        *(b"POST /em\x7fbed HTTP/1.1", b"POST /\xc3\xa9 HTTP/1.1", b"POST /em\tbed HTTP/1.1"),
        b"POST /em\rbed HTTP/1.1",
        *(b"POST http://[::1/embed HTTP/1.1", b"POST ?x HTTP/1.1", b"POST #x HTTP/1.1", b"POST \\embed HTTP/1.1"),
    ]
)
_HEADER_LINES = named(
    [
        *(b"no colon", b": no name", b":", b"X", b"X\0: 1", b"X y: 1", b"X : 1", b"X\t: 1", b"\xffX: 1", b"X\xdf: 1"),
        *(b"%c: 1" % character for character in b'"(),/;<=>?@[\\]{}'),
        *(b"X: %c" % character for character in (0, 1, 8, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)),
        *(b"X: 1\n", b"X: 1\r", b"X: 1\nY: 2", b"X: 1\rY: 2", b"X: 1\r\n folded", b"X: 1\r\n\tfolded"),
        *(b"X-Request-Id: a\nSet-Cookie: b", b"X-Request-Id: a\rSet-Cookie: b", b"X-Request-Id: a\0b"),
        *(b"Expect: miracles", b"Expect: 100-continue, more", b"Expect:", b"Host: other"),
    ]
)
_STRANGERS = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "smtp": b"EHLO test\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "proxy-1": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + post(BODY),
    "proxy-2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + post(BODY),
    "socks-5": b"\x05\x01\x00\r\n\r\n",
    "nul-bytes": bytes(64) + b"\r\n\r\n",
    "high-bytes": b"\xff" * 64 + b"\r\n\r\n",
    "two-empty-lines-first": b"\r\n\r\n" + post(BODY),
    "space-first": b" " + post(BODY),
    "bom-first": b"\xef\xbb\xbf" + post(BODY),
    "lf-first": b"\n" + post(BODY),
    "a-body-alone": BODY + b"\r\n\r\n",
    "an-answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lf-after-the-start": b"POST /embed HTTP/1.1\nHost: test\r\nContent-Length: 19\r\n\r\n" + BODY,
    "lf-among-the-headers": b"POST /embed HTTP/1.1\r\nHost: test\nContent-Length: 19\n\n" + BODY,
    "cr-only": b"POST /embed HTTP/1.1\rHost: test\rContent-Length: 19\r\r\n\r\n" + BODY,
    "no-host": request(START, JSON, LENGTH, body=BODY) + SMUGGLED,
    "connect": b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n" + SMUGGLED,
}
_FLOODS = {
    "long-start-line": b"POST /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 9000),
    "long-start-line-without-end": b"x" * 9000,
    "long-method": b"%s / HTTP/1.1\r\nHost: test\r\n\r\n" % (b"X" * 9000),
    "long-query": b"POST /embed?%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 9000),
    "long-value": request(START, HOST, JSON, LENGTH, b"X: " + b"x" * 9000, body=BODY),
    "long-name": request(START, HOST, JSON, LENGTH, b"X" * 9000 + b": 1", body=BODY),
    "long-cookie": request(START, HOST, JSON, LENGTH, b"Cookie: " + b"a=b; " * 2000, body=BODY),
    "long-host": request(START, b"Host: " + b"x" * 9000, JSON, LENGTH, body=BODY),
    "long-length": request(START, HOST, JSON, b"Content-Length: " + b"9" * 9000, body=BODY),
    "long-header-without-end": b"POST /embed HTTP/1.1\r\nX: " + b"x" * 900_000,
    "101-headers": request(START, HOST, *(b"X%d: 1" % number for number in range(100)), body=BODY),
    "101-equal-headers": request(START, HOST, *[b"X: 1"] * 100, body=BODY),
    "5000-headers": request(START, HOST, *(b"X%d: 1" % number for number in range(5000)), body=BODY),
    "200-long-headers": request(START, HOST, *(b"X%d: %s" % (number, b"x" * 4000) for number in range(200))),
}


def _heads() -> Iterator[Case]:
    starts = {
        name: request(start, HOST, JSON, LENGTH, body=BODY) + SMUGGLED for name, start in _START_LINES.items() if start
    }
    yield from cases("start", starts, 400)
    headers = {
        name: request(START, HOST, JSON, LENGTH, line, body=BODY) + SMUGGLED for name, line in _HEADER_LINES.items()
    }
    yield from cases("header", headers, 400, 417)
    firsts = {
        name: request(START, line, HOST, JSON, LENGTH, body=BODY) + SMUGGLED for name, line in _HEADER_LINES.items()
    }
    yield from cases("header-first", firsts, 400, 417)
    yield from cases("stranger", _STRANGERS, 400, 404, 405, CLOSED)
    yield from cases("flood", _FLOODS, 400, 414, 431)


# ---- chunks -------------------------------------------------------------------------------------------

_CHUNKS = {
    **{
        f"size-{name}": size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
        for name, size in named(
            [
                *(b"", b" ", b"zz", b"-13", b"+13", b"0x13", b"13 ", b" 13", b"\t13", b"1_3", b"13h", b"g", b"1 3"),
                *(b"13\0", b"\xb2", b"13\x0b", b"13,13", b"19", b"12", b"1", b"13\n", b"\n13", b"13\r"),
                *(b"13;a=b c", b"13;=x", b'13;a="', b'13;a="\x01"', b"13;\0", b"13;a\rb", b"13;a\nb", b"13;a=b=c"),
                *(b"13;;a", b"13;(a)", b"13;" + b"x" * 20_000, b"13" + b" " * 20_000, b"0" * 20_000 + b"13", b"13 a"),
            ]
        ).items()
    },
    "no-end-of-chunk": b"13\r\n" + BODY + b"0\r\n\r\n",
    "lf-at-the-end-of-a-chunk": b"13\r\n" + BODY + b"\n0\r\n\r\n",
    "lf-everywhere": b"13\n" + BODY + b"\n0\n\n" + b"x" * 9000,
    "garbage-for-the-last": b"13\r\n" + BODY + b"\r\nx\r\n\r\n",
    "empty-line-for-the-last": b"13\r\n" + BODY + b"\r\n\r\n0\r\n\r\n",
    **{
        f"trailer-{name}": b"13\r\n" + BODY + b"\r\n0\r\n" + trailer + b"\r\n\r\n"
        for name, trailer in named(
            [
                *(b"bad trailer", b": x", b"X : 1", b"X: \0", b"X: 1\r\n folded", b"X: 1\nY: 2", b" X: 1"),
                *(b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: other", b"Authorization: x", b"TE: x"),
                *(b"X: " + b"x" * 9000, b"\r\n".join([b"X: 1"] * 120), b"HTTP/1.1 200 OK"),
            ]
        ).items()
    },
}


def _chunks() -> Iterator[Case]:
    for name, chunks in _CHUNKS.items():
        yield Case(f"chunks-{name}", request(START, HOST, JSON, CHUNKED, body=chunks) + SMUGGLED, frozenset({400, 431}))
    large = b"%x\r\n%s\r\n0\r\n\r\n" % (PAYLOAD_LIMIT + 1, BODY.ljust(PAYLOAD_LIMIT + 1))
    yield Case("chunks-too-large", request(START, HOST, JSON, CHUNKED, body=large), frozenset({413}))
    yield Case("chunks-nothing-in-it", request(START, HOST, JSON, CHUNKED, body=b"0\r\n\r\n"), frozenset({400}))
    many = b"1\r\n \r\n" * (PAYLOAD_LIMIT + 1) + CHUNKS
    # So much is sent behind the refusal that it may be torn up by a reset.
    yield Case("chunks-too-many", request(START, HOST, JSON, CHUNKED, body=many), frozenset({413, CLOSED}))


# ---- bodies: is it JSON? ------------------------------------------------------------------------------

_NOT_JSON = named(
    [
        *(b"", b" ", b"\0", b"{", b"}", b"[", b"{}}", b"{]", b"hostile", b'"hostile', b"input=hostile", b"<input/>"),
        *(b'{"input"}', b'{"input":}', b'{"input" "hostile"}', b'{"input":"hostile",}', b'{,"input":"hostile"}'),
        *(b"{'input':'hostile'}", b'{input:"hostile"}', b'{"input":"hostile"', b'{"input":"hostile}'),
        b'{"input":hostile}',
        *(b'{"input":"hostile"}{}', b'{"input":"hostile"} x', b'{"input":"hostile"}\0', b'{"input":"hostile"},'),
        *(b'{"input":"hostile";"x":1}', b'{"input":"hostile" "x":1}', b'{"input"::"hostile"}', b'{"input"="hostile"}'),
        *(b'// x\n{"input":"hostile"}', b'/* */{"input":"hostile"}', b'{"input":"hostile"}#'),
        b'\x0b{"input":"hostile"}',
        *(b'\xc2\xa0{"input":"hostile"}', b'{"input":["hostile",]}', b'{"input":["hostile"}'),
        b'{"input":["hostile"]]}',
        *(b'{"input":["a" "b"]}', b'{"input":[,"a"]}', b'{"input":"a\nb"}', b'{"input":"a\0b"}', b'{"input":"\x1f"}'),
        *(b'{"input":"\\x41"}', b'{"input":"\\u12"}', b'{"input":"\\u12g4"}', b'{"input":"\\"}', b'{"input":"\\\'"}'),
        *(b'{"input":"\\U00000041"}', b'{"input":"\t"}', b'{"input":True}', b'{"input":None}', b'{"input":undefined}'),
        *(b'{"input":nul}', b'{"input":"a","x":tru}', b'{1:"hostile"}', b'{null:"hostile"}'),
        b')]}\'{"input":"hostile"}',
    ]
)
_NOT_NUMBERS = [
    *("NaN", "Infinity", "-Infinity", "nan", "inf", "-NaN", "1e999", "-1e999", "1e400", "01", "-01", "+1", ".5", "1."),
    *("-", "--1", "1e", "1e+", "0x10", "1_000", "1,5", "0b1", "1.2.3", "1e5.5", "9" * 5000, "-" + "9" * 5000, "1f"),
]
_NUMBER_PLACES = {
    "option": '{"input":"hostile","x":%s}',
    "token": '{"input":[%s]}',
    "deep": '{"inputs":["a"],"x":[{"y":%s}]}',
}
_NOT_UTF_8 = {
    "lone-continuation": b"\x80",
    "last-continuation": b"\xbf",
    "two-continuations": b"\x80\x80",
    "lead-of-two-alone": b"\xc3",
    "lead-of-three-alone": b"\xe2",
    "lead-of-three-cut": b"\xe2\x82",
    "lead-of-four-alone": b"\xf0",
    "lead-of-four-cut": b"\xf0\x9f\x98",
    "overlong-slash-of-two": b"\xc0\xaf",
    "overlong-of-two": b"\xc1\xbf",
    "overlong-of-three": b"\xe0\x80\xaf",
    "overlong-of-four": b"\xf0\x80\x80\xaf",
    "overlong-nul": b"\xc0\x80",
    "high-surrogate": b"\xed\xa0\x80",
    "low-surrogate": b"\xed\xb0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "last-surrogate": b"\xed\xbf\xbf",
    "above-unicode": b"\xf4\x90\x80\x80",
    "far-above-unicode": b"\xf7\xbf\xbf\xbf",
    "lead-of-five": b"\xf8\x88\x80\x80\x80",
    "lead-of-six": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "latin-1": b"\xe9t\xe9",
    "good-then-bad": b"\xc3\xa9\xff",
}
_UTF_8_PLACES = {
    "input": b'{"input":"%s"}',
    "name": b'{"input":"hostile","%s":1}',
    "option": b'{"inputs":["hostile"],"x":"%s"}',
    "outside": b'{"input":"hostile"}%s',
}
_TEXT = BODY.decode()
_ENCODED = {
    **{name: _TEXT.encode(name) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")},
    **{name: _TEXT.encode(name) for name in ("utf-8-sig", "cp500")},
    "utf-7-bom": b"+/v8-" + BODY,
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
}
_DEPTHS = (400, 990, 1000, 1500, 3000, 9000)
_NESTED = {
    "arrays": lambda depth: b'{"inputs":' + b"[" * depth + b"]" * depth + b"}",
    "objects": lambda depth: b'{"inputs":' + b'{"":' * (depth // 2) + b"1" + b"}" * (depth // 2) + b"}",
    "mixed": lambda depth: b'{"inputs":' + b'[{"":' * (depth // 4) + b"1" + b"}]" * (depth // 4) + b"}",
    "never-closed": lambda depth: b'{"inputs":' + b"[" * depth,
    "never-closed-objects": lambda depth: b'{"":' * depth,
}
_TWICE = named(
    [
        *(b'{"input":"hostile","input":"hostile"}', b'{"input":"hostile","input":"other"}'),
        *(b'{"input":"hostile","\\u0069nput":"x"}', b'{"input":"hostile","x":1,"x":1}'),
        b'{"input":"hostile","":1,"":2}',
        *(b'{"input":"hostile","x":{"y":1,"y":2}}', b'{"input":"a","normalize":true,"normalize":false}'),
        *(b'{"input":"hostile","x":[{"y":1,"y":1}]}', b'{"input":"hostile","\\ud800":1,"\\ud800":1}'),
        *(b'{"input":"hostile","dimensions":1,"dimensions":2}', b'{"input":{"a":1,"a":1}}'),
    ]
)
#: Bodies for TEI, which answers 422 to these.
_TWICE_FOR_TEI = named(
    [
        *(
            b'{"inputs":"hostile","inputs":"hostile"}',
            b'{"inputs":[],"inputs":[1]}',
            b'{"inputs":"hostile","x":1,"x":1}',
        ),
        b'{"inputs":["a"],"normalize":true,"normalize":false}',
    ]
)
_NOT_OBJECTS = named(
    [b"null", b"true", b"0", b"1.5", b'"hostile"', b"[]", b'["hostile"]', b"[" + BODY + b"]", b"[[1]]"]
)


def _bodies() -> Iterator[Case]:
    for group, bodies in {
        "json": _NOT_JSON,
        "encoding": _ENCODED,
        "twice": _TWICE,
        "number": {
            f"{number[:12]}-as-{place}": (text % number).encode()
            for number, (place, text) in product(_NOT_NUMBERS, _NUMBER_PLACES.items())
            if (number, place) != ("1,5", "token")
        },
        "utf-8": {
            f"{name}-in-{place}": text % data
            for (name, data), (place, text) in product(_NOT_UTF_8.items(), _UTF_8_PLACES.items())
        },
    }.items():
        yield from cases(group, {name: post(body) for name, body in bodies.items()}, 400)
    yield from cases("not-an-object", {name: post(body) for name, body in _NOT_OBJECTS.items()}, 422)
    yield from cases("twice-for-tei", {name: post(body) for name, body in _TWICE_FOR_TEI.items()}, 400, 422)
    nested = {f"{name}-{depth}": post(make(depth)) for (name, make), depth in product(_NESTED.items(), _DEPTHS)}
    yield from cases("depth", {name: raw for name, raw in nested.items() if len(raw) < PAYLOAD_LIMIT}, 400, 422)
    yield from cases("depth", {name: raw for name, raw in nested.items() if len(raw) >= PAYLOAD_LIMIT}, 413)


# ---- members: does it mean anything? -----------------------------------------------------------------

_NAMES = ("input", "inputs")
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    1.5,
    2.0,
    10**30,
    "",
    "hostile",
    [],
    ["hostile"],
    [1],
    {},
    {"hostile": 1},
)
#: For each option which of these values are right.
_RIGHT: dict[str, tuple[Any, ...]] = {
    "normalize": (True,),
    "truncate": (None, True),
    "truncation_direction": (),
    "prompt_name": (None, "", "hostile"),
    "dimensions": (None, 1),
}
_BAD_INPUTS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, {}, {"text": "hostile"}, [None], [True], [1.5], [{}], [-1]),
    *([2**32], [10**30], [1, True], [1, 1.0], [1, None], [1, "hostile"], [1, [1]], ["hostile", 1], ["hostile", None]),
    *(["hostile", {}], ["hostile", True], [["hostile"]], [[[1]]], [[1], [-1]]),
    [[1.5]],
    *([[1], 1], [[1, "hostile"]], [[True]], [[2**32]], ["hostile"] * (MOST_ITEMS + 1), [[1]] * 3000),
)
#: Inputs that TEI answers 400 to, and this service's own API 422: nothing to embed, and halves of surrogate pairs.
_EMPTY_INPUTS: tuple[Any, ...] = (
    *("", [""], [[]], ["hostile", ""], ["hostile", []], [[1], []]),
    *("\ud800", "\udfff", "hostile\ud83d", "\ude00\ud83d", ["hostile", "\udc00"], ["\ud800\ud800"]),
)
_BAD_SHAPES: tuple[dict[str, Any], ...] = (
    *({}, {"text": "hostile"}, {"Input": "hostile"}, {"INPUTS": ["hostile"]}, {"input ": "hostile"}, {"": "hostile"}),
    *({"input": "hostile", "inputs": "hostile"}, {"input": "hostile", "inputs": ["hostile"]}, {"data": ["hostile"]}),
    *({"model": "m", "messages": [{"role": "user", "content": "hostile"}]}, {"instances": [{"input": "hostile"}]}),
    *({"query": "{ embed }"}, {"jsonrpc": "2.0", "method": "embed", "params": ["hostile"], "id": 1}),
    {"normalize": True},
    *({"input": "hostile", "x": "x" * 5000}, {"inputs": ["hostile"], "prompt_name": "x" * 5000}),
    {"input": "hostile", **{f"x{number}": number for number in range(1000)}},
    {"input": "hostile", "x" * 5000: 1},
    *({"input": "hostile", "x": "\ud800"}, {"input": "hostile", "\udfff": 1}),
    {"input": "hostile", "x": [{"y": "\ud800"}]},
    *({"input": "hostile", "prompt_name": "\ud800"}, {"input": "hostile", "truncation_direction": "LEFT"}),
    *({"input": "hostile", "truncation_direction": "Right "}, {"input": "hostile", "dimensions": 1_000_001}),
    *({"input": "hostile", "normalize": "yes", "truncate": 1, "dimensions": 0}, {"inputs": [""], "normalize": None}),
)


def _members() -> Iterator[Case]:
    for name, (option, right), value in product(_NAMES, _RIGHT.items(), _VALUES):
        if not any(type(value) is type(each) and value == each for each in right):
            body = json.dumps({name: "hostile", option: value}).encode()
            yield Case(f"{name}-and-{option}-{json.dumps(value)}", post(body), frozenset({422}))
    for name, value in product(_NAMES, _BAD_INPUTS):
        text = json.dumps(value)
        yield Case(f"{name}-{text[:30]}-{len(text)}", post(json.dumps({name: value}).encode()), frozenset({422}))
    for (name, status), value in product({"input": 422, "inputs": 400}.items(), _EMPTY_INPUTS):
        text = json.dumps(value)
        yield Case(f"{name}-{text[:30]}-{len(text)}", post(json.dumps({name: value}).encode()), frozenset({status}))
    for name in _NAMES:
        yield Case(f"{name}-empty-list", post(json.dumps({name: []}).encode()), frozenset({400}))
    for position, shape in enumerate(_BAD_SHAPES):
        body = json.dumps(shape).encode()
        yield Case(
            f"shape-{position}-{','.join(shape)[:30].encode('ascii', 'backslashreplace').decode()}",
            post(body),
            frozenset({422}),
        )


# ---- headers, methods and paths -----------------------------------------------------------------------

_MEDIA_TYPES = named(
    [
        *(b"", b"text/plain", b"text/json", b"text/html", b"json", b"application", b"application/", b"*/*"),
        b"application/*",
        *(b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"application/xml"),
        b"application/jsonp",
        *(b"application/json, text/plain", b"application/json-seq", b"application/ld+jsonp"),
        b"application/octet-stream",
        *(b"application/x-json", b"application / json", b'"application/json"', b";application/json"),
    ]
)
_CONTENT_CODINGS = named(
    [b"gzip", b"br", b"deflate", b"zstd", b"", b"identity, gzip", b"gzip, identity", b"x", b"\xff"]
)
_TIMEOUTS = named(
    [
        *(b"0", b"00", b"-1", b"+5", b"1.5", b"", b"abc", b"1e3", b"0x10", b"10ms", b"1,000", b"1 000", b"1_000"),
        b"\xb2",
        *(b"\xd9\xa3", b"Infinity", b"NaN", b"null", b'"5"', b"5;", b"1\xa0"),
    ]
)
_PATHS = [
    *("/embed/", "/Embed", "/EMBED", "/embed//", "/./embed", "/../embed", "/embed/.", "/embed/..", "/x"),
    *("/embed%00", "/embed%20", "/embed%0d%0aX:%201", "/embed%0a", "/embed%2f", "/embed%3finput=hostile"),
    *("/%2e%2e/etc/passwd", "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%c0%ae%c0%ae/", "/%ff", "/%ed%a0%80"),
    *("/%", "/%zz", "/%u0041", "/embed%", "/embed%2", "/embed;x=1", "/embed.json", "/embed\\", "/embed_every"),
    "/%F0%9F%98%80",
    *("/.env", "/.git/config", "/admin", "/static/app.js", "/favicon.ico", "/graphql", "/metrics/", "/health/"),
    *("/health/live/", "/health/x", "/'--", '/"', "/<script>", "/{{7*7}}", "/$%7bjndi:x%7d", "/" + "x" * 3000),
]
_IDENTITIES = named(
    [b"a b", b"<script>", b"\xe9", b"x" * 65, b"x" * 4000, b"", b"a;b", b"../x", b"{}", b"%0d%0a", b'"']
)


def _headers() -> Iterator[Case]:
    typed = {
        name: request(START, HOST, b"Content-Type: " + value, LENGTH, body=BODY) for name, value in _MEDIA_TYPES.items()
    }
    yield from cases("type", {**typed, "missing": request(START, HOST, LENGTH, body=BODY)}, 415)
    coded = {name: post(BODY, b"Content-Encoding: " + value) for name, value in _CONTENT_CODINGS.items()}
    yield from cases("content-coding", coded, 415)
    timed = {name: post(BODY, b"X-Request-Timeout-Ms: " + value) for name, value in _TIMEOUTS.items()}
    yield from cases("timeout", timed, 400)
    twice = post(BODY, b"X-Request-Timeout-Ms: 5", b"X-Request-Timeout-Ms: 5")
    yield Case("timeout-twice", twice, frozenset({400}))
    named_badly = {
        name: request(b"GET /nowhere HTTP/1.1", HOST, b"X-Request-Id: " + value) for name, value in _IDENTITIES.items()
    }
    yield from cases("identity", named_badly, 404)


def _routes() -> Iterator[Case]:
    for method in ("GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW", "EMBED"):
        raw = request(f"{method} /embed HTTP/1.1".encode(), HOST, JSON, LENGTH, body=BODY)
        yield Case(f"method-{method}-embed", raw, frozenset({405}))
    for method, path in product(
        ("POST", "PUT", "DELETE", "PATCH"), ("/health", "/health/live", "/health/ready", "/metrics")
    ):
        raw = request(f"{method} {path} HTTP/1.1".encode(), HOST, JSON, LENGTH, body=BODY)
        yield Case(f"method-{method}-{path[1:]}", raw, frozenset({405}))
    for method, path in product(("GET", "POST"), _PATHS):
        raw = request(f"{method} {path} HTTP/1.1".encode(), HOST, JSON, LENGTH, body=BODY)
        yield Case(f"path-{method}-{path[:40]}", raw, frozenset({404}))


# ---- sizes, and requests that break off ---------------------------------------------------------------


def _sizes() -> Iterator[Case]:
    over = PAYLOAD_LIMIT + 1
    large = {
        "a-byte-too-much": post(BODY.ljust(over)),
        "a-long-text": post(b'{"input":"%s"}' % (b"x" * over)),
        "much-too-much": post(b"x" * 200_000),
        "announced-enormous": request(START, HOST, JSON, b"Content-Length: 99999999999999999999"),
        "announced-beyond-reason": request(START, HOST, JSON, b"Content-Length: " + b"9" * 4000),
    }
    yield from cases("size", large, 413)
    cut = request(START, HOST, JSON, b"Content-Length: 10", body=BODY)
    yield Case("size-cut-by-its-length", cut, frozenset({400}), goes_on=True)


def _cut() -> Iterator[Case]:
    whole = {
        "length": request(START, HOST, JSON, LENGTH, body=BODY),
        "chunks": request(START, HOST, JSON, CHUNKED, body=CHUNKS),
    }
    for kind, raw in whole.items():
        body_at = raw.index(b"\r\n\r\n") + 4
        sizes = [body_at - 3, body_at, body_at + 1, len(raw) - 8, len(raw) - 2, len(raw) - 1]
        if kind == "length":
            sizes += [1, 4, 12, 20, 21, 22, 30]
        for size in sizes:
            in_head = size < body_at
            yield Case(f"stalls-{kind}-at-{size}", raw[:size], frozenset({408}), stalls=True)
            outcomes = {CLOSED, 400} if in_head else {400}
            yield Case(f"ends-{kind}-at-{size}", raw[:size], frozenset(outcomes), ends=True)
    over = request(START, HOST, JSON, b"Content-Length: 20", body=BODY)
    yield Case("stalls-length-over-by-one", over, frozenset({408}), stalls=True)
    yield Case("ends-length-over-by-one", over, frozenset({400}), ends=True)
    enormous = request(START, HOST, JSON, CHUNKED, body=b"f" * 16 + b"\r\n" + BODY)
    yield Case("stalls-chunk-enormous", enormous, frozenset({408}), stalls=True)
    yield Case("ends-chunk-enormous", enormous, frozenset({400}), ends=True)
    waiting = request(START, HOST, JSON, LENGTH, b"Expect: 100-continue")
    yield Case("stalls-told-to-continue", waiting, frozenset({408}), stalls=True)
    yield Case("stalls-bare-lf", b"POST /embed HTTP/1.1\nHost: test\n\n", frozenset({400, 408}), stalls=True)


# ---- found once -----------------------------------------------------------------------------------------

_WHOLE = b'{"input":"hostile"}'
_WHOLE_CHUNK = b"13\r\n" + _WHOLE + b"\r\n0\r\n\r\n"


def _found_once() -> Iterator[Case]:
    unread = {
        "no-such-path": (404, b"POST /nowhere HTTP/1.1"),
        "no-such-method": (405, b"PUT /embed HTTP/1.1"),
        "no-media-type": (415, START),
    }
    broken = {"size": b"zz\r\n\r\n", "minus": b"-1\r\n\r\n", "length": b"5\r\nabc\r\n0\r\n\r\n"}
    for (name, (status, start)), (fault, chunks) in product(unread.items(), broken.items()):
        raw = request(start, HOST, CHUNKED, body=chunks) + SMUGGLED
        yield Case(f"unread-{name}-and-bad-{fault}", raw, frozenset({status, 400}))
    for path in ("//embed", "///embed", "/%2fembed", "//embed?x=1"):
        raw = request(f"POST {path} HTTP/1.1".encode(), HOST, JSON, b"Content-Length: 19", body=_WHOLE)
        yield Case(f"path-POST-{path}", raw, frozenset({404}))
    for coding in (b"gzip, chunked", b"deflate, chunked", b"compress, chunked", b"identity, chunked"):
        raw = request(START, HOST, JSON, b"Transfer-Encoding: " + coding, body=_WHOLE_CHUNK)
        yield Case(f"coding-{coding.decode()}", raw, frozenset({400, 501}))
    for blank in (b"\xa0", b"\x85"):
        head = (START, HOST, b"Content-Type: application/json" + blank, b"Content-Length: 19")
        raw = request(*head, body=_WHOLE)
        yield Case(f"type-and-{blank.hex()}", raw, frozenset({400, 415}))


CASES = [
    *_framing(),
    *_heads(),
    *_chunks(),
    *_bodies(),
    *_members(),
    *_headers(),
    *_routes(),
    *_sizes(),
    *_cut(),
    *_found_once(),
]
