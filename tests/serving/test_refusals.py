"""The status of what the server refuses by itself is the one that gunicorn would answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.workers.base import Worker

from api.body import BrokenBodyError
from serving.refusals import MOST_TEXT, STATUSES, status_of, text_of

CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Exception) and each is not errors.NoMoreData
]


class Client:
    """Stands in for the client's socket and keeps what gunicorn sends it."""

    def __init__(self) -> None:
        self.sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data


class Bare(Worker):  # type: ignore[misc]
    """As much of gunicorn's worker as its ``handle_error`` needs."""

    def __init__(self) -> None:
        self.cfg, self.log = Config(), logging.getLogger("bare")


def instance(of: type[Exception]) -> Exception:
    """gunicorn's errors take one argument or none."""
    try:
        return of("what was wrong")
    except TypeError:
        return of()


def answered_by_gunicorn(problem: Exception) -> int:
    client = Client()
    Bare().handle_error(None, client, ("127.0.0.1", 1), problem)
    return int(client.sent.split()[1])


def test_gunicorn_has_the_errors_that_are_looked_for() -> None:
    assert len(CLASSES) >= 20


@pytest.mark.parametrize("of", [*CLASSES, ValueError, KeyError, RuntimeError], ids=lambda of: of.__name__)
def test_each_of_gunicorns_errors_has_the_status_that_gunicorn_answers(of: Any) -> None:
    problem = instance(of)
    assert status_of(problem) == answered_by_gunicorn(problem)


def test_the_table_names_no_error_that_gunicorn_does_not_have() -> None:
    assert STATUSES.keys() - set(CLASSES) == {BrokenBodyError}


def test_a_subclass_that_gunicorn_may_add_has_its_parents_status() -> None:
    class InvalidHeaderOfSomeKind(errors.InvalidHeader):  # type: ignore[misc]
        pass

    assert status_of(InvalidHeaderOfSomeKind("x")) == 400


def test_a_broken_body_that_the_application_lets_through_is_the_clients_error() -> None:
    assert status_of(BrokenBodyError("cut")) == 400


def test_the_text_is_the_errors_own_in_short_unless_the_fault_is_the_servers() -> None:
    assert text_of(ValueError("secret"), 500) == "the request could not be processed"
    assert text_of(errors.InvalidHeaderName("a b"), 400) == "Invalid HTTP header name: 'a b'"
    assert len(text_of(errors.InvalidHeaderName("x" * 9000), 400)) == MOST_TEXT
    assert text_of(errors.LimitRequestHeaders(""), 431) == "the request is malformed"
