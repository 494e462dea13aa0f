"""A request that is passed on: its answer streams to the client, and all that it holds is let go once it is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from api.apis.query import Forward
from api.environ import IS_GONE
from api.forward import MOST_JOINED, PASSED_ON, Forwarder
from batching.errors import (
    ClientGone,
    DeadlineExceeded,
    Overloaded,
    ProxyError,
    Unsupported,
    UpstreamBroke,
    UpstreamProtocolError,
    UpstreamRejected,
)
from tests.support.observers import RecordingObserver
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flask import Response

ROUTE, PATH = "/decode", "/decode"
ID = {"HTTP_X_REQUEST_ID": "r-1"}


class FakeAnswer:
    """Brings these pieces; an error among them is raised in its place."""

    def __init__(self, pieces: Iterable[bytes | ProxyError], headers: dict[str, str]) -> None:
        self.headers = headers
        self.is_closed = False
        self._pieces = list(pieces)

    @property
    def is_whole(self) -> bool:
        return not self._pieces

    def read(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, bytes):
            return piece
        self._pieces = [piece]
        raise piece

    def close(self) -> None:
        self.is_closed = True


class FakeForwarding:
    """One passage at a time, which answers each request with the next of these answers."""

    def __init__(self, *answers: FakeAnswer | ProxyError) -> None:
        self.answers = list(answers)
        self.refusal: ProxyError | None = None
        self.entered: list[tuple[str, float, Callable[[], bool] | None]] = []
        self.passed: list[Request] = []
        self.is_left = False

    def enter(self, path: str, deadline: float, has_left: Callable[[], bool] | None = None) -> FakeForwarding:
        self.entered.append((path, deadline, has_left))
        if self.refusal is not None:
            raise self.refusal
        return self

    def open(self, request: Request) -> FakeAnswer:
        self.passed.append(request)
        answer = self.answers[len(self.passed) - 1]
        if isinstance(answer, ProxyError):
            raise answer
        return answer

    def leave(self) -> None:
        self.is_left = True


class FakeAdmission:
    def __init__(self) -> None:
        self.guests = 0
        self.is_full = False

    def admit_guest(self) -> None:
        if self.is_full:
            raise Overloaded("full", retry_after=1)
        self.guests += 1

    def guest_left(self) -> None:
        self.guests -= 1


class Bench:
    def __init__(self, *answers: FakeAnswer | ProxyError) -> None:
        self.forwarding = FakeForwarding(*answers)
        self.admission = FakeAdmission()
        self.observer = RecordingObserver()
        self.forwarder = Forwarder(self.forwarding, self.admission, self.observer)  # type: ignore[arg-type]
        self.app = Flask(__name__)

    def carry_out(self, *bodies: bytes, environ: dict[str, Any] | None = None, **more: Any) -> Response:
        forward = Forward(PATH, list(bodies or [b"{}"]), **more)
        return self.forwarder.carry_out(forward, ID.copy() if environ is None else environ, 99.0, ROUTE)

    def serve(self, response: Response) -> tuple[Iterable[bytes], Any]:
        """Call the response as a server does; return its body, unread, and its headers."""
        pieces, _, headers = run_wsgi_app(response, EnvironBuilder(method="POST").get_environ())
        return pieces, headers

    @property
    def outcomes(self) -> list[str]:
        assert all(report.route == ROUTE for report in self.observer.requests)
        return [report.outcome for report in self.observer.requests]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held any more."""
        answers = [each for each in self.forwarding.answers if isinstance(each, FakeAnswer)]
        return self.admission.guests == 0 and self.forwarding.is_left and all(each.is_closed for each in answers)


def answer(*pieces: bytes | ProxyError, **headers: str) -> FakeAnswer:
    return FakeAnswer(pieces, {name.replace("_", "-"): value for name, value in headers.items()})


# One body


def test_an_answer_in_one_piece_is_finished_at_once() -> None:
    bench = Bench(answer(b"[1]", content_type="text/plain", x_compute_time="3"))
    response = bench.carry_out(items=2)
    assert (bench.is_idle, bench.outcomes) == (True, ["ok"])
    assert [report.items for report in bench.observer.requests] == [2]
    body, headers = bench.serve(response)
    assert (b"".join(body), response.status_code) == (b"[1]", 200)
    assert dict(headers) == {
        "Content-Type": "application/json",
        "X-Request-Id": "r-1",
        "X-Compute-Time": "3",
        "Content-Length": "3",
    }


@pytest.mark.parametrize("length", [None, "6"])
def test_an_answer_in_pieces_streams_with_the_length_that_the_upstream_tells(length: str | None) -> None:
    told = {} if length is None else {"content_length": length}
    bench = Bench(answer(b"[1,", b"2,", b"3]", **told))
    response = bench.carry_out()
    assert (bench.admission.guests, bench.forwarding.is_left, bench.outcomes) == (1, False, [])
    body, headers = bench.serve(response)
    assert (headers["Content-Type"], headers.get("Content-Length")) == ("application/json", length)
    assert list(body) == [b"[1,", b"2,", b"3]"]
    assert (bench.is_idle, bench.outcomes) == (True, ["ok"])


def test_the_place_is_left_as_soon_as_the_last_piece_has_come() -> None:
    bench = Bench(answer(b"[1,", b"2]"))
    pieces = iter(bench.serve(bench.carry_out())[0])
    assert [next(pieces), bench.forwarding.is_left] == [b"[1,", False]
    assert [next(pieces), bench.forwarding.is_left, bench.admission.guests] == [b"2]", True, 1]
    assert next(pieces, None) is None
    assert bench.is_idle


def test_only_what_the_upstream_tells_of_its_work_is_passed_on_and_only_if_it_is_harmless() -> None:
    told = dict.fromkeys(PASSED_ON, "1.5") | {"x-queue-time": "1\r\nSet-Cookie: a"}
    others = {"set-cookie": "a=b", "server": "x", "content-type": "text/html", "connection": "close"}
    bench = Bench(FakeAnswer([b"[", b"]"], told | others))
    _, headers = bench.serve(bench.carry_out())
    passed = {name.lower() for name, _ in headers}
    assert passed == {"content-type", *PASSED_ON} - {"x-queue-time"}


def test_the_body_goes_upstream_with_the_requests_identity_and_trace() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    environ = {**ID, "HTTP_TRACEPARENT": trace, "HTTP_COOKIE": "a=b", "HTTP_AUTHORIZATION": "Bearer x"}
    bench = Bench(answer(b"[]"))
    bench.carry_out(b'{"ids":[1]}', environ=environ)
    lines = f"X-Request-Id: r-1\r\ntraceparent: {trace}\r\n".encode()
    assert bench.forwarding.passed == [Request(PATH, b'{"ids":[1]}', lines)]


def test_the_deadline_and_what_tells_of_the_client_hold_for_the_passage() -> None:
    def is_gone() -> bool:
        return False

    bench = Bench(answer(b"[]"))
    bench.carry_out(environ={**ID, IS_GONE: is_gone})
    assert bench.forwarding.entered == [(PATH, 99.0, is_gone)]


# What fails before an answer


@pytest.mark.parametrize(
    "pieces",
    [(b'{"error":"no room"}',), (b' {\n "error" : {"message":"no room"}}',), (b"{", b'"err', b'or":"no room"', b"}")],
)
def test_an_error_that_has_status_200_is_an_error(pieces: tuple[bytes, ...]) -> None:
    bench = Bench(answer(*pieces))
    with pytest.raises(UpstreamProtocolError, match="the upstream answered 200 with an error: no room"):
        bench.carry_out()
    assert (bench.is_idle, bench.outcomes) == (True, [UpstreamProtocolError.outcome])


@pytest.mark.parametrize("pieces", [(b'{"errors":0}',), (b"{", b'"a":{"error":1}', b"}"), (b'["error"]',)])
def test_any_other_object_is_passed_on(pieces: tuple[bytes, ...]) -> None:
    bench = Bench(answer(*pieces))
    assert b"".join(bench.serve(bench.carry_out())[0]) == b"".join(pieces)
    assert bench.outcomes == ["ok"]


def test_a_request_that_is_not_admitted_never_asks_for_a_place() -> None:
    bench = Bench()
    bench.admission.is_full = True
    with pytest.raises(Overloaded):
        bench.carry_out()
    assert (bench.forwarding.entered, bench.admission.guests, bench.outcomes) == ([], 0, ["shed"])


@pytest.mark.parametrize("error", [Unsupported("no", status=404), DeadlineExceeded("late"), ClientGone("gone")])
def test_a_request_that_gets_no_place_leaves_its_admission(error: ProxyError) -> None:
    bench = Bench()
    bench.forwarding.refusal = error
    with pytest.raises(type(error)):
        bench.carry_out()
    assert (bench.admission.guests, bench.outcomes) == (0, [error.outcome])


@pytest.mark.parametrize("answers", [[UpstreamRejected("no", status=422)], [answer(UpstreamBroke("broke"))]])
def test_a_failure_before_the_first_byte_is_an_error_of_the_api(answers: Sequence[Any]) -> None:
    bench = Bench(*answers)
    with pytest.raises((UpstreamRejected, UpstreamBroke)) as raised:
        bench.carry_out()
    assert (bench.is_idle or bench.forwarding.is_left, bench.admission.guests) == (True, 0)
    assert bench.outcomes == [raised.value.outcome]


@pytest.mark.parametrize("first", [b"", b"<html>", b" " * 65, b"OK", b"null"])
def test_an_answer_that_is_not_json_is_not_passed_on(first: bytes) -> None:
    bench = Bench(answer(first, b"more"))
    with pytest.raises(UpstreamProtocolError, match="not JSON"):
        bench.carry_out()
    assert (bench.is_idle, bench.outcomes) == (True, ["error"])


@pytest.mark.parametrize("first", [b"[", b"{", b' \n["a"'])
def test_json_may_begin_with_space(first: bytes) -> None:
    bench = Bench(answer(first, b"more"))
    assert b"".join(bench.serve(bench.carry_out())[0]) == first + b"more"


def test_a_bug_leaves_nothing_behind() -> None:
    bench = Bench()
    with pytest.raises(IndexError):
        bench.carry_out()
    assert (bench.forwarding.is_left, bench.admission.guests, bench.outcomes) == (True, 0, ["error"])


# What fails within an answer


@pytest.mark.parametrize(
    "error", [UpstreamBroke("broke"), DeadlineExceeded("late"), ClientGone("gone"), UpstreamProtocolError("nonsense")]
)
def test_a_failure_within_the_answer_breaks_its_connection_off(error: ProxyError) -> None:
    bench = Bench(answer(b"[1,", error))
    pieces = iter(bench.serve(bench.carry_out())[0])
    assert next(pieces) == b"[1,"
    with pytest.raises(ConnectionAbortedError):
        next(pieces)
    assert (bench.is_idle, bench.outcomes) == (True, [error.outcome])


def test_a_client_that_takes_no_more_ends_its_call() -> None:
    bench = Bench(answer(b"[1,", b"2,", b"3]"))
    body: Any = bench.serve(bench.carry_out())[0]
    assert next(iter(body)) == b"[1,"
    for _ in range(2):
        body.close()
    assert (bench.is_idle, bench.outcomes) == (True, ["abandoned"])


def test_a_body_that_is_closed_at_its_end_is_reported_once() -> None:
    bench = Bench(answer(b"[1,", b"2]"))
    body: Any = bench.serve(bench.carry_out())[0]
    list(body)
    body.close()
    assert bench.outcomes == ["ok"]


# Several bodies


def joined(bodies: list[bytes]) -> bytes:
    return b"+".join(bodies)


def test_several_bodies_are_sent_one_after_the_other_and_joined_in_their_order() -> None:
    bench = Bench(answer(b"1", b"2"), answer(b"3"), answer(b"4", b"", b""))
    response = bench.carry_out(b"a", b"b", b"c", join=joined, items=70)
    assert response.get_data() == b"12+3+4"
    assert [request.body for request in bench.forwarding.passed] == [b"a", b"b", b"c"]
    assert [request.headers for request in bench.forwarding.passed] == [b"X-Request-Id: r-1\r\n"] * 3
    assert (len(bench.forwarding.entered), bench.is_idle, bench.outcomes) == (1, True, ["ok"])


def test_the_first_of_several_that_fails_ends_them_all() -> None:
    bench = Bench(answer(b"1"), answer(b"2", UpstreamBroke("broke")), answer(b"3"))
    with pytest.raises(UpstreamBroke):
        bench.carry_out(b"a", b"b", b"c", join=joined)
    assert (len(bench.forwarding.passed), bench.forwarding.is_left, bench.admission.guests) == (2, True, 0)
    assert bench.outcomes == ["error"]


def test_answers_that_do_not_fit_together_are_an_error() -> None:
    def refuse(bodies: list[bytes]) -> bytes:
        raise UpstreamProtocolError("no lists")

    bench = Bench(answer(b"1"), answer(b"2"))
    with pytest.raises(UpstreamProtocolError):
        bench.carry_out(b"a", b"b", join=refuse)
    assert bench.is_idle


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_several_answers_are_held_up_to_a_bound(more: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.forward.MOST_JOINED", 10)
    bench = Bench(answer(b"12345"), answer(b"123", b"45" + b"6" * more))
    if fits:
        assert bench.carry_out(b"a", b"b", join=len_of_all).get_data() == b"10"
        return
    with pytest.raises(UpstreamProtocolError, match="longer than 10 bytes together"):
        bench.carry_out(b"a", b"b", join=len_of_all)
    assert bench.is_idle
    assert MOST_JOINED > 10


def len_of_all(bodies: list[bytes]) -> bytes:
    return json.dumps(sum(map(len, bodies))).encode()


def test_one_body_needs_no_joining() -> None:
    bench = Bench(answer(b"[1,", b"2]"))
    assert list(bench.serve(bench.carry_out(join=joined))[0]) == [b"[1,", b"2]"]
