"""Four kinds of 429 are told apart by codes, types, words and headers."""

from __future__ import annotations

import json

import pytest

from batching.errors import UpstreamOverloaded
from upstream.busy import Busy, QuotaExhausted, RateLimited, error_of, kind_of
from upstream.http_reply import Reply
from upstream.rate_headers import Figures, RateLimits

AZURE = (
    "Requests to the Embeddings_Create Operation under Azure OpenAI API version 2023-05-15 have exceeded {} of your "
    "current OpenAI S0 pricing tier. Please retry after {} seconds. Please go here: https://aka.ms/oai/quotaincrease"
)


def openai(message: str, error_type: str | None = None, code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": error_type, "param": None, "code": code}}).encode()


def reply(body: bytes, status: int = 429, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        # OpenAI
        (openai("Rate limit reached for m in organization o on requests per min (RPM): Limit 3", "requests"), "calls"),
        (openai("Rate limit reached for m in organization o on tokens per min (TPM): Limit 40000", "tokens"), "tokens"),
        (openai("Rate limit reached for m on requests per day (RPD): Limit 200, Used 200", "requests"), "quota"),
        (openai("You exceeded your current quota, please check your plan", "insufficient_quota"), "quota"),
        (openai("x", None, "insufficient_quota"), "quota"),
        (openai("You have reached your billing hard limit", "billing_hard_limit_reached"), "quota"),
        # Azure
        (openai(AZURE.format("call rate limit", 7), None, "429"), "calls"),
        (openai(AZURE.format("token rate limit", 7), None, "429"), "tokens"),
        (openai(AZURE.format("token rate limit", 86400), None, "429"), "quota"),
        # Google: the word quota is in all of them
        (openai("Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'"), "calls"),
        (openai("Quota exceeded: EmbedContentRequestsPerDayPerUserPerProject, limit 1000"), "quota"),
        # Mistral, flat
        (b'{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","code":"1300"}', "calls"),
        # too many at once
        (b'{"error":"Model is overloaded","error_type":"Overloaded"}', "concurrency"),
        (openai("Too many concurrent requests", "server_busy"), "concurrency"),
        (b"", "concurrency"),
        (b"<html><title>429 Too Many Requests</title></html>", "concurrency"),
        (b'{"error": ["nonsense"]}', "concurrency"),
        (b"\xff\xfe", "concurrency"),
    ],
)
def test_the_kind_is_told_by_code_type_and_words(body: bytes, kind: str) -> None:
    assert kind_of(reply(body), None, None)[0] is Busy(kind)


@pytest.mark.parametrize(
    ("calls", "tokens", "kind"), [(0, 500, Busy.CALLS), (5, 0, Busy.TOKENS), (5, 500, Busy.CONCURRENCY)]
)
def test_where_no_word_tells_what_is_left_does(calls: int, tokens: int, kind: Busy) -> None:
    limits = RateLimits(Figures(60, calls), Figures(1000, tokens))
    assert kind_of(reply(b""), limits, None)[0] is kind


@pytest.mark.parametrize(("asked", "kind"), [(3599.0, Busy.CONCURRENCY), (3600.0, Busy.QUOTA), (86_400.0, Busy.QUOTA)])
def test_who_is_to_wait_for_an_hour_has_met_the_limit_of_a_day(asked: float, kind: Busy) -> None:
    assert kind_of(reply(b""), None, asked)[0] is kind


@pytest.mark.parametrize(("asked", "seconds"), [(None, 7.0), (3.0, 3.0)])
def test_the_time_in_the_words_counts_where_no_header_names_one(asked: float | None, seconds: float) -> None:
    assert kind_of(reply(openai(AZURE.format("call rate limit", 7))), None, asked)[2] == seconds


def test_a_limit_of_the_minute_is_a_pause_and_no_sign_of_too_many_at_once() -> None:
    error = error_of(reply(openai("x", "tokens")), 2.5)
    assert isinstance(error, RateLimited)
    assert (error.kind, error.pause, error.retry_after, error.status) == (Busy.TOKENS, 2.5, 2.5, 429)


def test_too_many_at_once_is_what_it_was() -> None:
    error = error_of(reply(b""), None)
    assert type(error) is UpstreamOverloaded
    assert (error.pause, error.retry_after) == (0.0, 1)


def test_another_status_than_429_is_too_many_at_once() -> None:
    assert type(error_of(reply(openai("x", "insufficient_quota"), status=503), None)) is UpstreamOverloaded


def test_a_quota_that_is_used_up_is_told_in_the_upstreams_words() -> None:
    error = error_of(reply(openai("You exceeded your current quota", None, "insufficient_quota")), None)
    assert isinstance(error, QuotaExhausted)
    assert (error.message, error.status, error.pause) == ("You exceeded your current quota", 429, None)
    assert error.retry_reason is None


def test_each_client_is_told_the_time_that_is_left_when_it_asks() -> None:
    moment = [100.0]
    error = QuotaExhausted("used up", pause=50.0)
    error.until = 150.0
    error.tell_by(lambda: moment[0])
    assert error.retry_after == 50.0
    moment[0] = 120.0
    assert (error.copy().retry_after, error.copy().message) == (30.0, "used up")
    moment[0] = 200.0
    assert error.copy().retry_after == 1.0
