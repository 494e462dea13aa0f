"""Calls are paced by settings, headers and refusals: nearly all that is allowed is used, and none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.capacity import UNLIMITED_BYTES
from benchmarks.rate_limits import BUCKET, NONE, SECONDS, SLIDING, WINDOW, Rates
from tests.upstream.governor_bench import LARGEST, Bench
from upstream.busy import Busy
from upstream.governor import EVENLY, FIRST_WAIT, LONGEST_WAIT, Governor, sentence
from upstream.rate_headers import Figures, RateLimits

MINUTE = 60.0


def told(governor: Governor, calls: Figures, *, now: float = 0.0, tokens: Figures | None = None) -> None:
    """Make a call whose reply tells these figures."""
    governor.reserve(now, 400, now)
    governor.told(now, RateLimits(calls, tokens or Figures()), now)
    governor.ended(now, now)


def leave(governor: Governor, now: float, *, size: int = 40) -> int:
    """Let as many calls leave as may; return how many that are."""
    count = 0
    while governor.opens_at(now) <= now:
        governor.reserve(("call", now, count), size, now)
        count += 1
        assert count < 10_000
    return count


# What is not known bounds nothing.


def test_an_upstream_of_which_nothing_is_known_takes_all_calls() -> None:
    assert Governor(0.0).openings(0.0, 4) == (4, 0.0, UNLIMITED_BYTES)


def test_without_room_no_call_leaves() -> None:
    assert Governor(0.0).openings(0.0, 0).now == 0


# Settings


@pytest.mark.parametrize("per_minute", [1, 60, 3000])
def test_by_a_setting_calls_leave_one_by_one_for_the_upstream_may_judge_over_seconds(per_minute: int) -> None:
    assert leave(Governor(0.0, calls_per_minute=per_minute), 0.0) == 1


def test_a_setting_of_60_calls_a_minute_lets_one_leave_about_each_second() -> None:
    governor = Governor(0.0, calls_per_minute=60)
    leave(governor, 0.0)
    assert 0.8 < governor.opens_at(0.0) < 1.1


def test_tokens_that_a_call_has_cost_beyond_its_estimate_are_taken_off() -> None:
    few, many = (Governor(0.0, tokens_per_minute=1000) for _ in range(2))
    for governor, tokens in ((few, 50), (many, 200)):
        governor.reserve("call", 200, 0.0)
        governor.ended("call", 0.0, tokens=tokens)
    assert many.tokens.spare(0.0) == pytest.approx(few.tokens.spare(0.0) - 150)


def test_tokens_bound_the_bytes_of_a_call() -> None:
    bounded = Governor(0.0, tokens_per_minute=10_000).openings(0.0, 1).most_bytes
    assert 0 < bounded <= 10_000 * 4 * 0.25


def test_a_call_that_was_not_made_costs_nothing() -> None:
    governor = Governor(0.0, calls_per_minute=60)
    governor.reserve("call", 40, 0.0)
    assert governor.opens_at(0.0) > 0.0
    governor.give_back("call", 0.0)
    assert governor.opens_at(0.0) == 0.0


# Headers


def test_at_the_beginning_of_a_window_a_tenth_may_leave_at_once() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 60, MINUTE))
    assert leave(governor, 0.0) == 6


def test_after_quiet_a_burst_takes_what_the_rest_of_the_window_does_not_need() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 60, MINUTE))
    assert leave(governor, 30.0) == pytest.approx(33, abs=2)


def test_in_the_last_moments_of_a_window_all_that_is_left_may_leave() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 17, MINUTE))
    assert leave(governor, 59.5) == 17


def test_where_nothing_is_left_the_next_call_leaves_when_all_is_there_again() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 0, 12.0))
    assert governor.opens_at(0.0) == pytest.approx(12.0)
    assert governor.waits_for(0.0) is Busy.CALLS


def test_where_calls_come_back_one_by_one_the_next_leaves_when_one_has() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 0, MINUTE))
    assert governor.calls.account.is_refilled
    assert governor.opens_at(0.0) == pytest.approx(1.0)


def test_calls_that_left_after_the_one_that_is_answered_are_taken_off() -> None:
    governor = Governor(0.0)
    for call in range(5):
        governor.reserve(call, 40, 0.0)
    governor.told(0, RateLimits(Figures(60, 10, 0.5), Figures()), 0.0)
    assert governor.left(0.0)[0] == 6


def test_a_reply_that_was_overtaken_changes_nothing() -> None:
    governor = Governor(0.0)
    for call in range(2):
        governor.reserve(call, 40, 0.0)
    governor.told(1, RateLimits(Figures(60, 10, 30.0), Figures()), 0.0)
    governor.told(0, RateLimits(Figures(60, 11, 30.0), Figures()), 0.1)
    assert governor.left(0.1)[0] == pytest.approx(10)


def test_where_no_reset_is_told_calls_leave_evenly() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 59))
    assert leave(governor, 10.0) == 1


@pytest.mark.parametrize("of", ["calls", "tokens"])
def test_what_is_missing_is_named(of: str) -> None:
    governor = Governor(0.0)
    none, plenty = Figures(1000, 0, 30.0), Figures(1000, 1000, 30.0)
    told(governor, none if of == "calls" else plenty, tokens=none if of == "tokens" else plenty)
    assert governor.waits_for(0.0) is Busy(of)


# Refusals


def test_after_a_refusal_no_call_leaves_for_as_long_as_it_names() -> None:
    governor = Governor(0.0)
    governor.reserve("call", 40, 0.0)
    governor.refused("call", Busy.TOKENS, 7.0, 1.0)
    assert governor.opens_at(1.0) == pytest.approx(8.0)
    assert governor.waits_for(1.0) is Busy.TOKENS


def test_refusals_that_name_no_time_are_followed_by_longer_and_longer_waits() -> None:
    governor = Governor(0.0)
    now, waits = 0.0, []
    for call in range(9):
        governor.reserve(call, 40, now)
        governor.refused(call, Busy.CALLS, 0.0, now)
        governor.ended(call, now, is_well=False)
        waits.append(governor.opens_at(now) - now)
        now += waits[-1]
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT


def test_a_refusal_although_calls_were_left_makes_the_next_leave_evenly_for_a_while() -> None:
    governor = Governor(0.0)
    told(governor, Figures(60, 60, 30.0))
    governor.refused("call", Busy.CALLS, 0.1, 0.0)
    assert leave(governor, 5.0) == 1
    governor.ended("call", EVENLY + 1)
    assert leave(governor, EVENLY + 1) > 1


# A whole account, by its own count


@pytest.mark.parametrize("form", [WINDOW, BUCKET])
@pytest.mark.parametrize("window", [10.0, MINUTE])
def test_one_proxy_uses_nearly_all_calls_and_none_is_refused(form: str, window: float) -> None:
    rates = Rates(calls=60, tokens=100_000, window=window, counts_by=form)
    bench = Bench(rates).run(180.0)
    allowed = 180 + (window if form == BUCKET else 0)
    assert bench.refused == 0
    assert bench.account.admitted >= 0.95 * allowed
    assert sum(bench.sizes) / len(bench.sizes) > 25


@pytest.mark.parametrize("form", [WINDOW, BUCKET])
@pytest.mark.parametrize("window", [1.0, 10.0, MINUTE])
def test_resets_in_whole_seconds_cost_no_more_than_the_second_that_they_leave_open(form: str, window: float) -> None:
    bench = Bench(Rates(calls=60, tokens=100_000, window=window, counts_by=form, headers=SECONDS)).run(180.0)
    assert bench.refused == 0
    assert bench.account.admitted >= 0.9 * 180


@pytest.mark.parametrize("form", [WINDOW, BUCKET])
@pytest.mark.parametrize("seed", range(3))
def test_three_proxies_share_an_account_without_talking_to_each_other(form: str, seed: int) -> None:
    bench = Bench(Rates(calls=60, tokens=100_000, counts_by=form), replicas=3, seed=seed).run(180.0)
    assert bench.refused <= 0.01 * bench.account.admitted
    assert bench.account.admitted >= 0.9 * 180
    assert max(bench.waits) < 30.0


@pytest.mark.parametrize("window", [1.0, 10.0, MINUTE])
@pytest.mark.parametrize("form", [WINDOW, SLIDING])
def test_settings_suffice_where_the_upstream_tells_nothing(window: float, form: str) -> None:
    rates = Rates(calls=60, tokens=100_000, window=window, counts_by=form, headers=NONE)
    bench = Bench(rates, settings=(60, 100_000)).run(180.0)
    assert bench.refused <= 0.01 * bench.account.admitted
    assert bench.account.admitted >= 0.95 * 180


@pytest.mark.parametrize("window", [10.0, MINUTE])
def test_an_upstream_that_judges_any_window_and_names_no_reset_refuses_next_to_none(window: float) -> None:
    bench = Bench(Rates(calls=60, tokens=100_000, window=window, counts_by=SLIDING, headers=SECONDS)).run(180.0)
    assert bench.refused <= 0.02 * bench.account.admitted
    assert bench.account.admitted >= 0.9 * 180


@pytest.mark.parametrize("replicas", [1, 3])
def test_where_tokens_are_scarce_they_are_used_up_and_calls_are_smaller(replicas: int) -> None:
    bench = Bench(Rates(calls=600, tokens=20_000), replicas=replicas, size=2000).run(300.0)
    assert bench.refused <= 0.02 * bench.account.admitted
    assert bench.account.tokens >= 0.8 * 100_000
    assert max(bench.sizes) < LARGEST


@settings(max_examples=25, deadline=None)
@given(
    st.integers(20, 600),
    st.sampled_from([WINDOW, SLIDING]),
    st.integers(1, 60),
    st.integers(10, 2000),
    st.floats(0.001, 3.0),
)
def test_paced_by_settings_no_window_holds_more_than_the_limit_and_every_text_is_answered(
    calls: int, form: str, clients: int, size: int, think: float
) -> None:
    rates = Rates(calls=calls, tokens=1000 * calls, counts_by=form, headers=NONE)
    bench = Bench(rates, settings=(calls, 1000 * calls), clients=clients, size=size, think=think).run(150.0)
    assert bench.refused == 0
    assert len(bench.waits) >= clients


@settings(max_examples=25, deadline=None)
@given(
    st.integers(20, 600),
    st.sampled_from([WINDOW, BUCKET]),
    st.integers(1, 60),
    st.floats(0.001, 3.0),
    st.integers(0, 1000),
)
def test_paced_by_headers_no_call_is_refused_and_every_text_is_answered(
    calls: int, form: str, clients: int, think: float, seed: int
) -> None:
    bench = Bench(Rates(calls=calls, tokens=100_000, counts_by=form), clients=clients, think=think, seed=seed).run(
        150.0
    )
    assert bench.refused == 0
    assert len(bench.waits) >= clients


# For the log


def test_the_log_names_the_limits() -> None:
    assert sentence(Governor(0.0, calls_per_minute=60, tokens_per_minute=1000)) == "60 calls and 1000 tokens"
    assert sentence(Governor(0.0)) == "calls that it does not name"
