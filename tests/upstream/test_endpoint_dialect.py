"""An endpoint finds out what its server speaks, asks in the form that the server takes, and tries each health check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Options, Task
from batching.errors import Unsupported, UpstreamError, UpstreamFailed, UpstreamUnavailable
from tests.support.fakes import items_of
from tests.support.upstream import ScriptedUpstream, faults
from tests.upstream.endpoint_bench import TIMEOUT, assert_answers, batch_of
from upstream.dialects.dialect import AskAgain
from upstream.dialects.plain import PlainDialect
from upstream.dialects.tei import TeiDialect
from upstream.endpoint import MOST_REQUESTS
from upstream.identity import Identities
from upstream.spoken import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batching import Answer, Item
    from tests.upstream.endpoint_bench import Connect
    from upstream.dialects.dialect import Dialect
    from upstream.http_reply import Reply
    from upstream.request import Request
    from upstream.spoken import Get, Post

KEY = BatchKey(Task.EMBED)


class LearningDialect(TeiDialect):
    """Asks for items under a wrong name until it has been refused ``lessons`` times."""

    def __init__(self, lessons: int) -> None:
        super().__init__()
        self.lessons = lessons

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        request = super().request(key, items)
        return request._replace(body=b"{}") if self.lessons else request

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        if self.lessons:
            self.lessons -= 1
            raise AskAgain
        return super().answer(key, count, reply)


class HeaderDialect(TeiDialect):
    name = "other"
    health_paths: Sequence[str] = ("/nope", "/health")

    def credentials(self, api_key: str) -> Mapping[str, str]:
        return {"api-key": api_key}


# Finding out


def test_while_the_api_is_not_known_nothing_is_sent(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url, dialect=None, detect=lambda get, post, may_call: Finding(None, "it is silent"))
    assert endpoint.find_out(TIMEOUT) == Finding(None, "it is silent")
    assert endpoint.speaks == ""
    with pytest.raises(UpstreamUnavailable):
        endpoint.fit(KEY, items_of("a"))
    with pytest.raises(UpstreamUnavailable):
        endpoint.send(batch_of("a"))
    assert upstream.requests == []


def test_what_was_found_out_is_spoken_from_then_on(upstream: ScriptedUpstream, connect: Connect) -> None:
    dialect = TeiDialect()

    def detect(get: Get, post: Post, may_call: bool) -> Finding:
        reply = get("/info")
        return Finding(dialect if reply is not None else None, f"it may be called: {may_call}")

    endpoint = connect(upstream.url, dialect=None, detect=detect)
    assert endpoint.find_out(TIMEOUT, may_call=True) == Finding(dialect, "it may be called: True")
    assert endpoint.speaks == "tei"
    assert_answers(endpoint, "a", "b")


def test_the_key_is_sent_as_the_dialect_that_was_found_sends_it(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(
        upstream.url,
        dialect=None,
        api_key="secret",
        detect=lambda get, post, may_call: Finding(HeaderDialect() if post("/x", b"{}") else None, "it does"),
    )
    endpoint.find_out(TIMEOUT)
    endpoint.send(batch_of("a"))
    asked, sent = upstream.requests
    assert (asked.header("Authorization"), asked.header("api-key")) == ("Bearer secret", None)
    assert (sent.header("Authorization"), sent.header("api-key")) == (None, "secret")


def test_a_given_dialect_is_not_questioned(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url)
    assert endpoint.find_out(TIMEOUT) is None
    assert upstream.requests == []


# Asking again


def test_a_dialect_that_learns_from_a_reply_asks_again_at_once(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url, dialect=LearningDialect(lessons=1))
    upstream.script(faults.answer(b"[]"))
    assert_answers(endpoint, "a")
    assert_answers(endpoint, "b")
    assert [request.body for request in upstream.requests] == [b"{}", b'{"inputs":["a"]}', b'{"inputs":["b"]}']


def test_a_dialect_that_never_learns_ends_as_a_failure(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url, dialect=LearningDialect(lessons=100))
    upstream.fault = faults.answer(b"[]")
    with pytest.raises(UpstreamFailed):
        endpoint.send(batch_of("a"))
    assert len(upstream.requests) == MOST_REQUESTS


# Health


def test_the_first_health_check_that_the_server_knows_decides(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url, dialect=HeaderDialect())
    upstream.script(faults.html(404))
    assert endpoint.health(TIMEOUT).is_well
    assert [request.path for request in upstream.requests] == ["/nope", "/health"]


def test_a_health_check_that_fails_is_not_overruled_by_another(upstream: ScriptedUpstream, connect: Connect) -> None:
    dialect = HeaderDialect()
    dialect.health_paths = ("/health", "/info")
    endpoint = connect(upstream.url, dialect=dialect)
    upstream.fault = faults.html(503)
    health = endpoint.health(TIMEOUT)
    assert (health.is_well, health.is_down) == (False, True)
    assert [request.path for request in upstream.requests] == ["/health"]


def test_a_server_that_knows_no_health_check_is_unknown(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url, dialect=HeaderDialect())
    upstream.fault = faults.html(404)
    health = endpoint.health(TIMEOUT)
    assert (health.is_well, health.is_unknown) == (False, True)
    assert "/health" in health.reason


# What the server lacks, and what is not known of it yet


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_route_that_the_server_lacks_says_nothing_of_its_health(
    upstream: ScriptedUpstream, connect: Connect, status: int
) -> None:
    endpoint = connect(upstream.url)
    upstream.fault = faults.html(status)
    with pytest.raises(Unsupported, match=f"^the upstream does not have /embed_all: .* status {status}") as raised:
        endpoint.send(batch_of("a", key=BatchKey(Task.EMBED_ALL)))
    assert raised.value.status == 404
    with pytest.raises(UpstreamError):
        endpoint.send(batch_of("a"))


def test_of_several_upstreams_each_gets_batches_once_it_was_looked_at(
    upstream: ScriptedUpstream, connect: Connect
) -> None:
    identities = Identities()
    identities.expect([upstream.url, "http://another"])
    endpoint = connect(upstream.url, identities=identities)
    with pytest.raises(UpstreamUnavailable):
        endpoint.send(batch_of("a"))
    assert upstream.requests == []
    identities.looked_at(upstream.url)
    assert_answers(endpoint, "a")


def test_a_lone_upstream_need_not_be_looked_at(upstream: ScriptedUpstream, connect: Connect) -> None:
    identities = Identities()
    identities.expect([upstream.url])
    assert_answers(connect(upstream.url, identities=identities), "a")


def test_keys_of_batches_that_wait_are_fitted_again_when_the_dialect_changes(
    upstream: ScriptedUpstream, connect: Connect
) -> None:
    dialects: list[Dialect] = [TeiDialect(), PlainDialect()]
    endpoint = connect(
        upstream.url,
        dialect=None,
        detect=lambda get, post, may_call: Finding(dialects.pop(0), f"speaks the one of {len(dialects)}"),
    )
    endpoint.find_out(TIMEOUT)
    key = endpoint.fit(BatchKey(Task.EMBED, Options(normalize=False)), items_of("a"))
    endpoint.find_out(TIMEOUT)
    with pytest.raises(Unsupported, match="normalize"):
        endpoint.send(batch_of("a", key=key))
    assert_answers(endpoint, "a")
