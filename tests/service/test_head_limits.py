"""The limits of a request's head are settings, and a header with an underscore is dropped, whatever its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import Service, embed_request
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTOR = b"[" + vector_for("a") + b"]"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def plain(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("plain"), inference_url=upstream.url) as service:
        yield service


@pytest.fixture(scope="module")
def narrow(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits: dict[str, Any] = {"limit_request_line": 100, "limit_request_fields": 10, "limit_request_field_size": 300}
    with Service(tmp_path_factory.mktemp("narrow"), inference_url=upstream.url, **limits) as service:
        yield service


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_bytes", "by_default", "when_narrow"),
    [
        (get("/health/live?" + "x" * 100), 200, 414),
        (get("/health/live?" + "x" * 4000), 200, 414),
        (get("/health/live?" + "x" * 4100), 414, 414),
        (get("/health/live", *(f"X-{number}: 1" for number in range(20))), 200, 431),
        (get("/health/live", *(f"X-{number}: 1" for number in range(120))), 431, 431),
        (get("/health/live", f"Authorization: Bearer {'x' * 8000}"), 200, 431),
        (get("/health/live", f"Authorization: Bearer {'x' * 9000}"), 431, 431),
        (get("/health/live", f"X: {'x' * 250}"), 200, 200),
    ],
)
def test_the_limits_are_gunicorns_unless_they_are_set(
    plain: Service, narrow: Service, request_bytes: bytes, by_default: int, when_narrow: int
) -> None:
    assert plain.say(request_bytes).status == by_default
    assert narrow.say(request_bytes).status == when_narrow


@pytest.mark.parametrize(
    "header",
    ["api_key: abc", "Content_Length: 3", "Transfer_Encoding: chunked", "X_Forwarded_Proto: https", "Script_Name: /x"],
)
def test_a_header_with_an_underscore_changes_nothing(plain: Service, header: str) -> None:
    answer = plain.say(embed_request("a", f"{header}\r\n"))
    assert (answer.status, answer.body) == (200, VECTOR)


def test_a_dropped_length_smuggles_no_second_request(plain: Service) -> None:
    hidden = embed_request("hidden")
    first = embed_request("a", f"Content_Length: {len(hidden)}\r\nTransfer_Encoding: chunked\r\n")
    with plain.connect() as connection:
        connection.sendall(first + get("/health/live", "Connection: close"))
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == 2


def test_a_request_with_a_dropped_length_only_has_no_body(plain: Service) -> None:
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent_Length: 14\r\n"
    answer = plain.say(head + b'Connection: close\r\n\r\n{"inputs":"a"}')
    assert answer.status in {400, 411, 422}


def test_a_dropped_key_opens_no_door(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keyed")
    with Service(folder, secrets={"API_KEY": "hush"}, inference_url=upstream.url) as service:
        assert service.say(embed_request("a", "Authorization_: Bearer hush\r\n")).status == 401
        assert service.say(embed_request("a", "Authorization: Bearer hush\r\n")).status == 200
