"""A corpus of hostile requests against the real service: each is refused in JSON or hung up on, others are served."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.answer import Answer
from tests.support.hostile import CASES as CORPUS
from tests.support.hostile import CLOSED, MOST_ITEMS, PAYLOAD_LIMIT, Case
from tests.support.hostile_endings import ENDINGS
from tests.support.service import GUNICORN, Service, embed_request, read_answer
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [*CORPUS, *ENDINGS]
READ_TIMEOUT = 0.5
#: Seconds until each answer has come, and until that of a request that stalls has: a thread looks at the clock
#: once a second while it waits for more.
PROMPTLY, AFTER_THE_DEADLINE = 1.0, READ_TIMEOUT + 1.5
ATTACKERS, STALLERS = 8, 16


class Outcome(NamedTuple):
    """What a hostile client got: every answer on its connection, and the bytes that were none."""

    answers: list[Answer]
    rest: bytes
    took: float
    #: Whether the service closed the connection.
    is_closed: bool
    #: What the next request on the connection was answered, if it was kept.
    following: Answer | None = None


class Attack(NamedTuple):
    """The whole corpus, sent while others were being served."""

    outcomes: dict[str, Outcome]
    ordinary: list[Answer]
    workers_before: list[int]
    workers_after: list[int]
    upstream: ScriptedUpstream
    service: Service


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    settings: dict[str, Any] = {
        "payload_limit": PAYLOAD_LIMIT,
        "max_client_batch_size": MOST_ITEMS,
        "read_timeout_ms": int(READ_TIMEOUT * 1000),
    }
    folder = tmp_path_factory.mktemp("hostile")
    with (
        ScriptedUpstream() as upstream,
        Service(folder, command=GUNICORN, inference_url=upstream.url, **settings) as service,
    ):
        before = service.workers
        ordinary: list[Answer] = []
        over = threading.Event()
        with ThreadPoolExecutor() as pool:
            serving = pool.submit(_ask_until, over, service, ordinary)
            try:
                outcomes = _attack(service)
            finally:
                over.set()
            serving.result()
        yield Attack(outcomes, ordinary, before, service.workers, upstream, service)


def _ask_until(over: threading.Event, service: Service, answers: list[Answer]) -> None:
    while not over.wait(0.05):
        answers.append(service.embed("ordinary"))


def _attack(service: Service) -> dict[str, Outcome]:
    prompt = [case for case in CASES if not case.stalls]
    stalling = [case for case in CASES if case.stalls]
    with ThreadPoolExecutor(STALLERS) as stallers, ThreadPoolExecutor(ATTACKERS) as attackers:
        waiting = stallers.map(lambda case: _send(service, case), stalling)
        refused = attackers.map(lambda case: _send(service, case), prompt)
        outcomes = {case.name: outcome for case, outcome in zip(prompt, refused, strict=True)}
        outcomes |= {case.name: outcome for case, outcome in zip(stalling, waiting, strict=True)}
    # A busy machine proves nothing: what was late is asked again, alone.
    late = [case for case in CASES if outcomes[case.name].took >= _time_allowed(case)]
    return outcomes | {case.name: _send(service, case) for case in late[:5]}


def _time_allowed(case: Case) -> float:
    return AFTER_THE_DEADLINE if case.stalls else PROMPTLY


def _send(service: Service, case: Case) -> Outcome:
    """Send it all and read until the service hangs up; if it keeps the connection, let another client's request follow.

    That is what a front does that shares its connections between its clients.
    """
    with service.connect() as connection:
        began = time.monotonic()
        connection.settimeout(2 * AFTER_THE_DEADLINE)
        # The service need not read to the end what it refuses.
        with suppress(ConnectionError):
            connection.sendall(case.raw)
            if case.ends:
                connection.shutdown(socket.SHUT_WR)
        received, took = b"", 0.0
        while data := _receive(connection):
            received += data
            took = time.monotonic() - began
            answers, rest = _split(received)
            if answers and not rest and answers[-1].headers["connection"] == "keep-alive":
                following = None if case.ends or case.goes_on else _follow(connection, case)
                return Outcome(answers, rest, took, is_closed=False, following=following)
        return Outcome(*_split(received), took or time.monotonic() - began, is_closed=data is not None)


def _receive(connection: socket.socket) -> bytes | None:
    """Return what comes next: nothing at the end of the connection, None if nothing comes in time."""
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""
    except TimeoutError:
        return None


def _follow(connection: socket.socket, case: Case) -> Answer | None:
    try:
        connection.sendall(embed_request(f"after {case.name}"))
        return read_answer(connection)
    except (OSError, http.client.HTTPException):
        return None


def _split(received: bytes) -> tuple[list[Answer], bytes]:
    """Take the whole answers off a connection's bytes; go over interim ones."""
    answers: list[Answer] = []
    while True:
        head, found, behind = received.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        status = re.match(r"HTTP/1\.[01] (\d{3}) ", start)
        if not found or not status:
            return answers, received
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", 0))
        if len(behind) < length:
            return answers, received
        received = behind[length:]
        if int(status[1]) >= 200:
            answers.append(Answer(int(status[1]), fields, behind[:length]))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_is_refused(attack: Attack, case: Case) -> None:
    outcome = attack.outcomes[case.name]
    assert outcome.took < _time_allowed(case)
    assert outcome.rest == b""
    statuses = [answer.status for answer in outcome.answers] or [CLOSED]
    assert statuses[0] in case.outcomes
    # Nothing that rode behind it was taken for a request.
    assert len(statuses) == 1
    for answer in outcome.answers:
        assert answer.headers["content-type"] == "application/json"
        error = json.loads(answer.body)
        assert error.keys() == {"error", "error_type", "request_id"}
        assert error["error"]
        assert re.fullmatch("[A-Za-z]+", error["error_type"])
        assert re.fullmatch(r"[\w-]{1,64}", error["request_id"], re.ASCII)
        assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_its_connection_serves_the_next_client_or_is_closed_as_announced(attack: Attack, case: Case) -> None:
    outcome = attack.outcomes[case.name]
    said = outcome.answers[-1].headers["connection"] if outcome.answers else "close"
    if case.smuggles or outcome.is_closed:
        assert said == "close"
    if said == "close":
        assert outcome.is_closed
    elif not case.ends and not case.goes_on:
        assert outcome.following is not None
        assert outcome.following.body == b"[" + vector_for(f"after {case.name}") + b"]"


def test_ordinary_requests_were_served_all_the_while(attack: Attack) -> None:
    assert attack.ordinary
    expected = b"[" + vector_for("ordinary") + b"]"
    assert [answer.body for answer in attack.ordinary if answer.body != expected] == []


def test_the_worker_is_still_the_same_and_serves(attack: Attack) -> None:
    assert attack.workers_after == attack.workers_before
    assert attack.service.embed("afterwards").body == b"[" + vector_for("afterwards") + b"]"


def test_nothing_hostile_has_reached_the_upstream(attack: Attack) -> None:
    followed = {f"after {name}" for name in attack.outcomes}
    assert set(attack.upstream.inputs) - followed <= {"ordinary", "afterwards"}


def test_nothing_of_all_this_was_an_unexpected_error(attack: Attack) -> None:
    assert "Traceback" not in attack.service.log


def test_no_case_stands_for_another() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({(case.raw, case.ends) for case in CASES}) == len(CASES)
