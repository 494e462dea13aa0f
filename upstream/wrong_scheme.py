"""Recognises an upstream that takes only TLS, where its URL begins with http: by how it answers plain HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upstream.http_reply import Reply

#: What an error says of it.
EXPECTS_TLS = "the upstream expects TLS on this port, and its URL begins with http:"
#: How servers answer plain HTTP on a port of TLS: nginx, Apache. From the beginning: a text that a client has sent may
#: stand further back in the answer.
_TLS_WANTED = re.compile(
    rb"\s*(?:<html>\s*<head>\s*<title>(400 The plain HTTP request was sent to HTTPS port)</title>"
    rb"|<!DOCTYPE HTML PUBLIC [^>]*>\s*<html>\s*<head>\s*<title>400 Bad Request</title>\s*</head>\s*<body>\s*"
    rb"<h1>Bad Request</h1>\s*<p>Your browser sent a request that this server could not understand\.<br ?/>\s*"
    rb"Reason: (You're speaking plain HTTP to an SSL-enabled server port))",
    re.IGNORECASE,
)
#: The same of Go's, which comes without headers.
_TLS_WANTED_GO = b"Client sent an HTTP request to an HTTPS server."


def is_tls_alert(data: bytes | memoryview) -> bool:
    """Whether an answer begins like a TLS alert: its type, and the first byte of the version."""
    return bytes(data[:2]) == b"\x15\x03"


def complaint_of_plain_http(reply: Reply) -> str:
    """Return the words in which a 400 says that it was sent plain HTTP where TLS is spoken; empty if it does not."""
    if not reply.headers and reply.body.strip() == _TLS_WANTED_GO:
        return _TLS_WANTED_GO.decode()
    found = _TLS_WANTED.match(reply.body)
    return "" if found is None else (found[1] or found[2]).decode("latin-1")
