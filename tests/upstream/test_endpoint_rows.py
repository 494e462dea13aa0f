"""Rows that are no vectors, or of a wrong length, cost their mates nothing; each answer says which model gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Options, SystemClock, Task
from batching.errors import UpstreamFailed, UpstreamMisconfigured
from batching.outcomes import Source
from tests.support.upstream import ScriptedUpstream, TeiForm, faults
from tests.upstream.endpoint_bench import TIMEOUT, assert_fails, batch_of
from upstream.dialects.tei import TeiDialect
from upstream.endpoint import Endpoint
from upstream.identity import Identities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.upstream import Fault

GOOD, LONGER = b"[1,2]", b"[1,2,3]"
BAD = [
    b"null",
    b"[]",
    b"[1,NaN]",
    b"[NaN,NaN]",
    b"[1,null]",
    b"[1,Infinity]",
    b'{"error":"x"}',
    b'"text"',
    b"1",
    b"[1]",
]


# Bad rows


@pytest.mark.parametrize("bad", BAD, ids=bytes.decode)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_row_is_told_by_its_position_and_the_others_are_kept(
    upstream: ScriptedUpstream, endpoint: Endpoint, bad: bytes, at: int
) -> None:
    rows = [GOOD] * 3
    rows[at] = bad
    upstream.script(faults.vectors(*rows))
    answer = endpoint.send(batch_of("a", "b", "c"))
    assert list(answer.bad) == [at]
    assert answer.bad[at]
    assert [row for position, row in enumerate(answer.results) if position != at] == [GOOD] * 2
    assert answer.dimension == 2


@pytest.mark.parametrize("bad", BAD[:-1], ids=bytes.decode)
def test_the_bad_row_of_an_input_that_was_alone_is_a_failed_call(
    upstream: ScriptedUpstream, endpoint: Endpoint, bad: bytes
) -> None:
    upstream.script(faults.vectors(bad))
    assert_fails(endpoint, UpstreamFailed, 502, "a")


def test_what_is_told_of_a_bad_row_quotes_nothing_of_the_answer(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.script(faults.vectors(GOOD, b'{"error":"my neighbour said: secret"}'))
    assert "secret" not in str(endpoint.send(batch_of("a", "b")).bad)
    upstream.script(faults.vectors(b'{"error":"my neighbour said: secret"}'))
    error = assert_fails(endpoint, UpstreamFailed, 502, "a")
    assert "secret" not in f"{error!r} {vars(error)}"


# Lengths


def test_a_vector_of_another_length_than_before_is_a_failed_call(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.script(faults.every_vector(GOOD), faults.every_vector(LONGER), faults.every_vector(GOOD))
    endpoint.send(batch_of(*"vwxyz"))
    error = assert_fails(endpoint, UpstreamFailed, 502, "b")
    assert error.message == "the upstream gave a vector of 3 numbers instead of 2"
    assert endpoint.send(batch_of("c")).dimension == 2


def test_beside_others_of_the_known_length_it_is_a_bad_row(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.script(faults.every_vector(GOOD), faults.vectors(LONGER, GOOD, LONGER))
    endpoint.send(batch_of(*"vwxyz"))
    assert list(endpoint.send(batch_of("a", "b", "c")).bad) == [0, 2]


def test_each_key_has_its_own_length(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    for number in range(1, 4):
        upstream.script(faults.every_vector(b"[" + b",".join([b"1"] * number) + b"]"))
        key = BatchKey(Task.EMBED, Options(dimensions=number))
        assert endpoint.send(batch_of("a", key=key)).dimension == number


def test_an_upstream_that_has_gone_may_come_back_with_another_model(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.script(faults.every_vector(GOOD), faults.every_vector(LONGER))
    endpoint.info(TIMEOUT)
    endpoint.send(batch_of("a"))
    endpoint.went_away()
    assert endpoint.send(batch_of("a")).source == Source(None, 3)


# Several upstreams


@pytest.fixture
def listed() -> Iterator[Callable[[ScriptedUpstream], Endpoint]]:
    """A maker of endpoints that know of each other."""
    identities, endpoints = Identities(), []

    def listed(upstream: ScriptedUpstream) -> Endpoint:
        endpoints.append(
            Endpoint(upstream.url, TeiDialect(), SystemClock(), connections=1, timeout=TIMEOUT, identities=identities)
        )
        return endpoints[-1]

    yield listed
    for each in endpoints:
        each.close()


def test_the_source_of_an_answer_is_its_model_and_the_length_of_its_vectors(
    upstream: ScriptedUpstream, plain: ScriptedUpstream, listed: Callable[[ScriptedUpstream], Endpoint]
) -> None:
    endpoint = listed(upstream)
    assert endpoint.send(batch_of("a")).source == Source(None, 8)
    endpoint.info(TIMEOUT)
    assert endpoint.send(batch_of("a")).source == Source("scripted", 8)
    assert listed(plain).send(batch_of("a")).source == Source(None, 8)


def test_vectors_of_another_length_than_another_upstreams_are_a_mistake_of_configuration(
    upstream: ScriptedUpstream, plain: ScriptedUpstream, listed: Callable[[ScriptedUpstream], Endpoint]
) -> None:
    first, second = listed(upstream), listed(plain)
    first.send(batch_of(*"vwxyz"))
    plain.fault = faults.every_vector(GOOD)
    error = assert_fails(second, UpstreamMisconfigured, 502, "a")
    assert error.message == "the upstreams serve different models"
    assert error.reason == "its vectors have 2 numbers, and those of another upstream 8"
    assert first.send(batch_of("a")).dimension == 8


# Trials


def test_a_trial_is_one_short_call(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    assert endpoint.try_out(TIMEOUT).is_well
    (request,) = upstream.requests
    assert (request.method, request.path, request.body) == ("POST", "/embed", b'{"inputs":["ping"]}')


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.refusal(401), "status 401"),
        (faults.html(404), "status 404"),
        (faults.redirect("/elsewhere"), "/elsewhere"),
        (faults.refusal(500, "it threw"), "it threw"),
        (faults.refusal(422, "no such model"), "it refuses a plain text with status 422: no such model"),
        (faults.html(502), "status 502"),
        (faults.html(503), "status 503"),
        (faults.every_vector(b"null"), "null"),
        (faults.answer(b"{}"), "not a JSON array"),
        (faults.close, "broke"),
        (faults.hang, "in time"),
    ],
)
def test_one_that_fails_says_why(upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault, reason: str) -> None:
    upstream.script(fault)
    health = endpoint.try_out(0.2)
    assert not health.is_well
    assert reason in health.reason


def test_it_teaches_no_length(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.script(faults.every_vector(GOOD))
    endpoint.try_out(TIMEOUT)
    assert endpoint.send(batch_of("a")).dimension == 8


# Health checks


@pytest.mark.parametrize(
    ("status", "is_unknown"), [(404, True), (405, True), (501, True), (401, True), (500, False), (503, False)]
)
def test_a_server_without_a_health_check_is_not_a_sick_one(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int, is_unknown: bool
) -> None:
    upstream.fault = faults.html(status)
    health = endpoint.health(TIMEOUT)
    assert (health.is_well, health.is_unknown) == (False, is_unknown)
    assert health.reason == f"GET /health is answered with status {status}"


def test_where_its_health_check_leads_is_told(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.fault = faults.redirect("https://elsewhere/health")
    assert endpoint.health(TIMEOUT).reason.endswith("status 307, which leads to 'https://elsewhere/health'")


def test_a_model_that_is_told_in_terminal_escapes_is_told_plainly() -> None:
    with ScriptedUpstream(TeiForm({"model_id": "a\x1b[31m\nb"})) as upstream:
        endpoint = Endpoint(upstream.url, TeiDialect(), SystemClock(), connections=1, timeout=TIMEOUT)
        info = endpoint.info(TIMEOUT)
        endpoint.close()
    assert info is not None
    assert info.model_id is not None
    assert info.model_id.isprintable()
