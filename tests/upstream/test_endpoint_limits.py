"""An endpoint passes on what replies tell of the account's limits, with the batch that they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamOverloaded
from tests.support.upstream import ScriptedUpstream, faults
from tests.upstream.endpoint_bench import batch_of
from upstream.busy import Busy, QuotaExhausted, RateLimited
from upstream.rate_headers import Figures, RateLimits

if TYPE_CHECKING:
    from batching import Batch
    from tests.upstream.endpoint_bench import Connect

TOLD = ("x-ratelimit-limit-requests: 60", "X-RateLimit-Remaining-Requests: 59", "x-ratelimit-reset-requests: 1s")
LIMITS = RateLimits(Figures(60, 59, 1.0), Figures())


@pytest.fixture
def heard() -> list[tuple[Batch, RateLimits]]:
    return []


def test_what_an_answer_tells_is_passed_on(
    upstream: ScriptedUpstream, connect: Connect, heard: list[tuple[Batch, RateLimits]]
) -> None:
    upstream.fault = faults.ok_with(*TOLD)
    endpoint = connect(upstream)
    endpoint.on_limits = lambda batch, limits: heard.append((batch, limits))
    batch = batch_of("a")
    endpoint.send(batch)
    assert heard == [(batch, LIMITS)]


def test_what_a_refusal_tells_is_passed_on(
    upstream: ScriptedUpstream, connect: Connect, heard: list[tuple[Batch, RateLimits]]
) -> None:
    upstream.fault = faults.refusal(429, "slow down", *TOLD)
    endpoint = connect(upstream)
    endpoint.on_limits = lambda batch, limits: heard.append((batch, limits))
    with pytest.raises(UpstreamOverloaded):
        endpoint.send(batch_of("a"))
    assert [limits for _, limits in heard] == [LIMITS]


def test_a_reply_without_limits_is_not_passed_on(
    upstream: ScriptedUpstream, connect: Connect, heard: list[tuple[Batch, RateLimits]]
) -> None:
    endpoint = connect(upstream)
    endpoint.on_limits = lambda batch, limits: heard.append((batch, limits))
    endpoint.send(batch_of("a"))
    assert heard == []


def test_where_no_listener_is_told_calls_go_as_usual(upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.fault = faults.ok_with(*TOLD)
    connect(upstream).send(batch_of("a"))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Rate limit reached on requests per min (RPM)", Busy.CALLS),
        ("Rate limit reached on tokens per min (TPM)", Busy.TOKENS),
    ],
)
def test_a_limit_of_the_minute_is_told_with_its_kind_and_time(
    words: str, kind: Busy, upstream: ScriptedUpstream, connect: Connect
) -> None:
    upstream.fault = faults.refusal(429, words, "retry-after-ms: 250", "retry-after: 1")
    with pytest.raises(RateLimited) as raised:
        connect(upstream).send(batch_of("a"))
    assert (raised.value.kind, raised.value.pause) == (kind, 0.25)


def test_a_used_up_quota_is_told_in_the_servers_words(upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.fault = faults.refusal(429, "You exceeded your current quota", "retry-after: 7200")
    with pytest.raises(QuotaExhausted, match="You exceeded your current quota") as raised:
        connect(upstream).send(batch_of("a"))
    assert raised.value.pause == 7200.0
