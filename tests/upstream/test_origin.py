"""A URL leads to a host and a port, over TLS if it says so."""

from __future__ import annotations

import pytest

from upstream.origin import Origin, origin_of


@pytest.mark.parametrize(
    ("url", "host", "port", "text"),
    [
        ("http://upstream", "upstream", 80, "http://upstream:80"),
        ("http://upstream:8080/models/one?x=1", "upstream", 8080, "http://upstream:8080"),
        ("http://user:secret@upstream/", "upstream", 80, "http://upstream:80"),
        ("http://[::1]:8080", "::1", 8080, "http://[::1]:8080"),
        ("http://[fe80::1%lo]/", "fe80::1%lo", 80, "http://[fe80::1%lo]:80"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "http://xn--bcher-kva.example:80"),
    ],
)
def test_an_origin_is_read_from_a_url(url: str, host: str, port: int, text: str) -> None:
    origin = origin_of(url)
    assert (origin, str(origin)) == (Origin(host, port, None), text)


def test_the_origin_of_https_has_its_port_and_a_context() -> None:
    origin = origin_of("https://upstream")
    assert str(origin) == "https://upstream:443"
    assert origin.tls is not None
