"""The simulated account counts in the three ways that servers have, and refuses in four."""

import json

import pytest

from benchmarks.rate_limits import BUCKET, NONE, SECONDS, SLIDING, WINDOW, Account, Rates, duration
from upstream.rate_headers import read


def _spend(account, moments, tokens=10):
    """Return for each moment whether a call was admitted."""
    return [account.ask(tokens, 0, moment) is None for moment in moments]


def _told(account, now):
    return dict(line.split(": ") for line in account.headers(now).decode().splitlines())


@pytest.mark.parametrize(
    ("form", "admitted"),
    [
        (WINDOW, [True, True, False, False, True, True, False]),
        (BUCKET, [True, True, False, True, True, False, False]),
        (SLIDING, [True, True, False, False, True, True, False]),
    ],
)
def test_two_calls_in_ten_seconds(form, admitted):
    account = Account(Rates(calls=12, window=10.0, counts_by=form))
    assert _spend(account, [0.0, 0.1, 0.2, 5.5, 10.2, 10.3, 10.4]) == admitted


def test_a_window_that_slides_forgets_one_call_after_the_other():
    account = Account(Rates(calls=12, window=10.0, counts_by=SLIDING))
    assert _spend(account, [0.0, 6.0, 10.1, 10.2, 16.1]) == [True, True, True, False, True]


def test_tokens_are_a_limit_of_their_own():
    account = Account(Rates(calls=60, tokens=100))
    assert _spend(account, [0.0, 1.0], tokens=60) == [True, False]
    assert (account.admitted, account.tokens, account.refused) == (1, 60, {"tokens": 1})


@pytest.mark.parametrize(
    ("rates", "kind", "code"),
    [
        (Rates(calls=1), "calls", "rate_limit_exceeded"),
        (Rates(tokens=15), "tokens", "rate_limit_exceeded"),
        (Rates(quota_calls=1), "quota", "insufficient_quota"),
        (Rates(at_once=1), "concurrency", "concurrency_limit"),
    ],
)
def test_a_refusal_tells_its_kind(rates, kind, code):
    account = Account(rates)
    account.ask(10, 0, 0.0)
    refusal = account.ask(10, 1, 0.5)
    assert refusal is not None
    assert (refusal.kind, json.loads(refusal.body)["error"]["code"]) == (kind, code)


def test_the_headers_tell_what_is_left_as_the_proxy_reads_it():
    account = Account(Rates(calls=60, tokens=1000, counts_by=BUCKET))
    account.ask(100, 0, 0.0)
    limits = read(_told(account, 0.0))
    assert limits is not None
    assert (limits.calls, limits.tokens) == ((60, 59, 1.0), (1000, 900, 6.0))


def test_headers_may_be_in_seconds_or_missing():
    account = Account(Rates(calls=60, headers=SECONDS))
    account.ask(1, 0, 0.0)
    assert _told(account, 0.0)["x-ratelimit-reset-requests"] == "60"
    assert Account(Rates(calls=60, headers=NONE)).headers(0.0) == b""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0001, "1ms"), (0.012, "12ms"), (1.0, "1s"), (1.5, "1.5s"), (360.0, "6m0s")]
)
def test_spans_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
