"""Who asks whether the process lives is answered on the main thread, as the application would answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from api.cors_headers import CorsHeaders
from serving.liveness import MOST_HEADS, LivenessAnswers
from tests.serving.conftest import answers_in
from tests.serving.main_thread_bench import LIVE, FakeLiveness

if TYPE_CHECKING:
    from tests.serving.conftest import Lines
    from tests.support.answer import Answer

APP: Any = SimpleNamespace(extensions={"liveness": FakeLiveness()})


def asked(lines: Lines, request: bytes, *, app: Any = APP, must_close: bool = False) -> tuple[Answer, bool] | None:
    made = LivenessAnswers().answer(app, lines.connect(), request, must_close=must_close)
    if made is None:
        return None
    (answer,) = answers_in(made[0])
    return answer, made[1]


def with_header(line: str, request: bytes = LIVE) -> bytes:
    return request.replace(b"\r\n\r\n", f"\r\n{line}\r\n\r\n".encode("latin-1"))


def test_the_answer_says_what_the_application_says(lines: Lines) -> None:
    answer, stays = asked(lines, LIVE) or pytest.fail("not answered")
    assert (answer.status, answer.body, stays) == (200, b"{}", True)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "keep-alive"
    assert answer.headers["x-request-id"]


def test_an_answer_to_head_has_no_body(lines: Lines) -> None:
    made = LivenessAnswers().answer(APP, lines.connect(), LIVE.replace(b"GET", b"HEAD"), must_close=False)
    assert made is not None
    assert made[0].endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 2\r\n" in made[0]


@pytest.mark.parametrize(
    ("request_", "closes"),
    [
        (with_header("Connection: close"), True),
        (with_header("Connection: keep-alive, Close"), True),
        (LIVE.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (with_header("Connection: keep-alive", LIVE.replace(b"HTTP/1.1", b"HTTP/1.0")), False),
        (LIVE.replace(b"HTTP/1.1", b"HTTP/1.2"), False),
    ],
)
def test_the_connection_ends_where_the_client_asks_for_that(lines: Lines, request_: bytes, closes: bool) -> None:
    answer, stays = asked(lines, request_) or pytest.fail("not answered")
    assert stays is not closes
    assert answer.headers["connection"] == ("close" if closes else "keep-alive")


def test_the_connection_ends_where_the_worker_must_end_it(lines: Lines) -> None:
    answer, stays = asked(lines, LIVE, must_close=True) or pytest.fail("not answered")
    assert (answer.headers["connection"], stays) == ("close", False)


def test_a_harmless_identity_is_sent_back_and_another_is_not(lines: Lines) -> None:
    answer, _ = asked(lines, with_header("X-Request-Id: mine")) or pytest.fail("not answered")
    assert answer.headers["x-request-id"] == "mine"
    for line in ("X-Request-Id: <script>", "X-Request-Id: a\r\nX-Request-Id: b"):
        answer, _ = asked(lines, with_header(line)) or pytest.fail("not answered")
        assert answer.headers["x-request-id"] not in {"<script>", "a", "b", "a,b"}


def test_a_page_of_another_origin_may_read_it(lines: Lines) -> None:
    app = SimpleNamespace(extensions={"liveness": FakeLiveness(), "cors_headers": CorsHeaders(["https://a"])})
    for origin, allowed in (("https://a", "https://a"), ("https://b", None)):
        answer, _ = asked(lines, with_header(f"Origin: {origin}"), app=app) or pytest.fail("not answered")
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    "request_",
    [
        LIVE.replace(b"GET", b"POST"),
        LIVE.replace(b"/health/live", b"/health"),
        LIVE.replace(b"/health/live", b"/health/live?x"),
        LIVE.replace(b"GET ", b"GET  "),
        LIVE.replace(b"HTTP/1.1", b"HTTP/2.0"),
        LIVE.replace(b"Host: test\r\n", b""),
        with_header("Host: other"),
        with_header("X y: 1"),
        with_header("X: \x00"),
        with_header("Content-Length: 2") + b"{}",
        with_header("Content-Length: 2"),
        with_header("Transfer-Encoding: chunked"),
        with_header("Expect: 100-continue"),
        with_header("Expect: miracles"),
        LIVE + LIVE,
        LIVE + b"x",
        b"\r\n" + LIVE,
        b"GET",
    ],
)
def test_whatever_is_not_a_plain_question_is_left_to_the_application(lines: Lines, request_: bytes) -> None:
    assert asked(lines, request_) is None


def test_an_application_that_says_nothing_of_it_answers_itself(lines: Lines) -> None:
    assert asked(lines, LIVE, app=None) is None
    assert asked(lines, LIVE, app=SimpleNamespace(extensions={})) is None


def test_each_answer_is_counted(lines: Lines) -> None:
    liveness = FakeLiveness()
    asked(lines, LIVE, app=SimpleNamespace(extensions={"liveness": liveness}))
    assert len(liveness.counted) == 1
    assert 0 <= liveness.counted[0] < 1


def test_a_head_that_is_remembered_means_the_same_again(lines: Lines) -> None:
    answers, conn = LivenessAnswers(), lines.connect()
    requests = [with_header(f"X-A: {number}") for number in range(MOST_HEADS + 2)]
    for request in (*requests, *requests[:2], with_header("Connection: close"), with_header("Connection: close")):
        made = answers.answer(APP, conn, request, must_close=False)
        assert made is not None
        assert made[1] is (b"close" not in request)
