"""An upstream that takes only TLS is known by how it answers plain HTTP; a text within an answer is no such sign."""

from __future__ import annotations

import pytest

from upstream.http_reply import Reply
from upstream.wrong_scheme import complaint_of_plain_http, is_tls_alert

NGINX = (
    b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n"
    b"<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n"
    b"<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n"
)
APACHE = (
    b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n'
    b"<h1>Bad Request</h1>\n<p>Your browser sent a request that this server could not understand.<br />\n"
    b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n"
)
GO = b"Client sent an HTTP request to an HTTPS server.\n"


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({"content-type": "text/html"}, NGINX, "400 The plain HTTP request was sent to HTTPS port"),
        ({"content-type": "text/html"}, APACHE, "You're speaking plain HTTP to an SSL-enabled server port"),
        ({}, GO, "Client sent an HTTP request to an HTTPS server."),
    ],
    ids=["nginx", "Apache", "Go"],
)
def test_the_complaint_of_a_server_that_takes_only_tls_is_found(
    headers: dict[str, str], body: bytes, words: str
) -> None:
    assert complaint_of_plain_http(Reply(400, headers, body)) == words


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"error":"inputs: The plain HTTP request was sent to HTTPS port"}',
        b"<html><head><title>400 Bad Request</title></head><body>" + NGINX,
        b"cannot read: " + GO,
        GO,
    ],
)
def test_the_same_words_elsewhere_in_an_answer_are_no_complaint(body: bytes) -> None:
    assert complaint_of_plain_http(Reply(400, {"content-type": "text/plain"}, body)) == ""


@pytest.mark.parametrize("data", [b"\x15\x03\x01\x00\x02\x02\x46", memoryview(b"\x15\x03\x03")])
def test_a_tls_alert_is_known_by_its_first_bytes(data: bytes | memoryview) -> None:
    assert is_tls_alert(data)


@pytest.mark.parametrize("data", [b"", b"\x15", b"HTTP/1.1 400", b"\x16\x03\x01"])
def test_nothing_else_is_one(data: bytes) -> None:
    assert not is_tls_alert(data)
