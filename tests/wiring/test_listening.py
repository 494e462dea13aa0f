"""An address that cannot be had is told in one line, at the start and at a reload."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from config import Settings
from wiring import listening
from wiring.listening import problem_of, problems_of_a_move, refusals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_address_has_no_problem() -> None:
    assert problem_of("127.0.0.1", 0) is None


def test_an_address_in_use_is_tried_for_a_while(taken: int) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    assert problem_of("127.0.0.1", taken, wait=3.0, sleep=sleep, monotonic=lambda: now) == (
        "another process listens there"
    )
    assert now == 3.0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "CAP_NET_BIND_SERVICE"),
        (errno.EADDRNOTAVAIL, "no such address, or no IPv6"),
        (errno.EAFNOSUPPORT, "no IPv6"),
        (errno.ENOBUFS, "No buffer space"),
    ],
)
def test_the_reason_is_told_in_words(number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str, port: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listening, "_try", fail)
    assert words in str(problem_of("::", 80))


def test_an_address_that_this_machine_has_not_is_refused() -> None:
    assert problem_of("192.0.2.1", 0) == "this machine has no such address"


def test_each_address_that_cannot_be_had_is_a_line(taken: int) -> None:
    lines = refusals([("127.0.0.1", taken), ("127.0.0.1", 0), "unix:/nowhere"], {}, wait=0.0)
    assert lines == [f"cannot listen on 127.0.0.1 port {taken}: another process listens there"]


@pytest.mark.parametrize("name", ["LISTEN_FDS", "GUNICORN_FD"])
def test_sockets_that_are_handed_over_are_not_tried(name: str, taken: int) -> None:
    assert refusals([("127.0.0.1", taken)], {name: "1"}, wait=0.0) == []


def test_a_reload_to_an_address_in_use_is_a_problem_of_the_settings(taken: int) -> None:
    before = Settings(host="127.0.0.1", port=1)
    (problem,) = problems_of_a_move(before, Settings(host="127.0.0.1", port=taken))
    assert "another process listens there" in str(problem)
    assert problem.keys == ("host", "port")


def test_a_reload_that_keeps_the_address_or_finds_a_free_one_has_no_problem(taken: int) -> None:
    here = Settings(host="127.0.0.1", port=taken)
    assert problems_of_a_move(None, here) == []
    assert problems_of_a_move(here, here) == []
    assert problems_of_a_move(here, Settings(host="127.0.0.1", port=0)) == []


def test_a_port_that_moves_to_another_host_is_still_held_and_not_tried(taken: int) -> None:
    here = Settings(host="127.0.0.1", port=taken)
    assert problems_of_a_move(here, Settings(host="0.0.0.0", port=taken)) == []
    (problem,) = problems_of_a_move(here, Settings(host="192.0.2.1", port=taken))
    assert "no such address" in str(problem)
