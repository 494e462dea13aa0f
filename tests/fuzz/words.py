"""An upstream's words: whatever its body holds, they are one short line that a log, a terminal and JSON can take."""

from __future__ import annotations

from tests.support.upstream import forms
from upstream.dialects.dialect import RefusalKind
from upstream.dialects.refusals import refusal
from upstream.dialects.relaying import MAX_RELAYED_TEXT
from upstream.http_reply import Reply

STATUSES = (400, 401, 413, 422, 424, 429, 500, 502, 503, 599)

SEEDS = [
    *(b"\0" + form.refusal("input 3 is too long") for form in forms.ALL),
    *(b"\6" + form.failure("cannot embed 'x'").body for form in forms.ALL),
    *(b"\0" + reply.body[:3000] for form in forms.ALL for kind in forms.Trouble if (reply := form.trouble(kind))),
    b"\0<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
    b'\0\xef\xbb\xbf{"error":"\\u001b[31m\\r\\n\\ud800"}',
    b'\0{"detail":[{"msg":"too long","input":["',
    b"\0\xff\xfe",
]
TOKENS = [
    *(
        b'"error":',
        b'"message":',
        b'"detail":',
        b'"msg":',
        b'"input":',
        b'"errors":',
        b'"error_type":',
        b'"type":"Empty"',
    ),
    *(
        b"\\u001b[31m",
        b"\\u001b]0;",
        b"\\u0007",
        b"\\n",
        b"\\u2028",
        b"\\u202e",
        b"\\ud800",
        b"\xe2\x80\xa8",
        b"\x1b",
        b"\x9b",
    ),
    *(
        b"Traceback (most recent call last)",
        b"\nValueError: x",
        b"\n\nAt:\n",
        b"1 validation error:\n",
        b"'msg': '",
        b"'loc': ",
    ),
    *(
        b"[type=x, input_value=",
        b", input_type=x]",
        b"inputs[3]",
        b" -> 0",
        b"input 7",
        b" at index 3",
        b"line 1 column 2",
    ),
    *(
        b"<title>",
        b"&#27;",
        b"&#10;",
        b"Bearer ",
        b"sk-abcdef",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"'",
        b"\\",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
]


def check(data: bytes) -> None:
    """The first byte chooses the status, the rest is the body."""
    if not data:
        return
    status = STATUSES[data[0] % len(STATUSES)]
    kind, text, error_type, concerns_size, size, concerns_length = refusal(Reply(status, {}, data[1:]))
    assert len(text) <= MAX_RELAYED_TEXT
    assert text == text.strip()
    assert text.isprintable(), ascii(text)
    text.encode()
    assert error_type.isascii()
    assert error_type.isalpha()
    assert kind is RefusalKind.INPUTS or not (concerns_size or concerns_length)
    assert concerns_size is (size is not None)
    assert not (concerns_size and concerns_length)
