"""The line through measured calls, and what is said of batching and of the settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Settings
from wiring.check.payoff import CORE, Line, Pair, advice, fit, over_http, verdict

SIZES = (1, 2, 4, 8, 16, 32)


def times_of(fixed: float, per_item: float, sizes: tuple[int, ...] = SIZES) -> dict[int, float]:
    return {size: fixed + per_item * size for size in sizes}


def told(settings: Settings, times: dict[int, float], *pairs: Pair, cap: int | None = None) -> list[str]:
    return advice(settings, times, fit(times), pairs, cap)


@given(st.floats(0.0001, 10.0), st.floats(0.00001, 1.0))
def test_a_line_is_found_again(fixed: float, per_item: float) -> None:
    line = fit(times_of(fixed, per_item))
    assert line.fixed == pytest.approx(fixed, rel=1e-3, abs=1e-6)
    assert line.per_item == pytest.approx(per_item, rel=1e-3, abs=1e-6)


@given(st.dictionaries(st.integers(1, 2048), st.floats(1e-6, 100.0), min_size=1))
def test_neither_part_of_a_line_is_negative(times: dict[int, float]) -> None:
    line = fit(times)
    assert line.fixed >= -1e-9
    assert line.per_item >= 0.0


def test_small_calls_count_like_large_ones() -> None:
    times = times_of(0.02, 0.0005) | {32: 0.072}  # twice as long as by the line
    assert fit(times).of(1) == pytest.approx(0.0205, rel=0.15)


def test_one_size_gives_a_line_that_does_not_rise() -> None:
    assert fit({8: 0.5}) == Line(0.5, 0.0)


@pytest.mark.parametrize(
    ("batched", "said"),
    [
        (80.0, "Batching pays: 4.0 times the requests at 16 clients."),
        (21.0, "Batching neither gains nor costs throughput"),
        (10.0, "Batching costs here: 0.50 times the requests at best."),
    ],
)
def test_the_verdict_is_of_the_crowd_that_gains_most(batched: float, said: str) -> None:
    pairs = [Pair(1, 20.0, 9.0, 1.0), Pair(16, 20.0, batched, 16.0)]
    assert verdict(pairs).startswith(said)


def test_a_pair_without_any_answer_gains_nothing() -> None:
    assert Pair(1, 0.0, 0.0, 0.0).gain == 0.0


@pytest.mark.parametrize(
    ("engine", "clients", "batch_size", "measured"),
    [  # by `benchmarks.load closed`, upstreams of 20 + 0.5·n and 5 ms, and the embedded server
        (173.7, 4, 4.0, 165),
        (522.0, 16, 16.0, 474),
        (896.0, 64, 32.0, 896),
        (166.5, 1, 1.0, 157),
        (2335.0, 16, 16.0, 1695),
        (5855.0, 64, 29.3, 6120),
        (480.0, 16, 16.0, 424),
    ],
)
def test_what_http_takes_is_foretold_within_a_tenth(
    engine: float, clients: int, batch_size: float, measured: float
) -> None:
    assert over_http(engine, clients, batch_size) == pytest.approx(measured, rel=0.1)


def test_no_crowd_gets_more_than_a_core_of_the_service_does() -> None:
    assert over_http(1e6, 64, 4.0) == pytest.approx(1 / CORE)
    assert over_http(0.0, 64, 0.0) == 0.0


def test_larger_calls_are_advised_where_they_bring_more() -> None:
    (said,) = told(Settings(), times_of(0.02, 0.0005))
    assert said.startswith("max_batch_size = 64: by the line such calls bring 1231 texts a second instead of 889")


def test_larger_calls_are_not_advised_beyond_what_the_upstream_takes() -> None:
    assert told(Settings(), times_of(0.02, 0.0005), cap=32) == []


def test_smaller_calls_are_advised_where_they_bring_as_much() -> None:
    (said,) = told(Settings(), times_of(0.001, 0.02))
    assert said.startswith("max_batch_size = 1: calls of 1 texts bring 48 a second")


def test_the_upstreams_own_bound_is_named() -> None:
    said = told(Settings(), times_of(0.02, 0.0005, (1, 2, 4, 8)), cap=8)
    assert said == ["max_batch_size = 8: the upstream takes no more in a call; the proxy cuts calls to that anyway."]


def test_fixed_timing_is_named_where_one_client_waits_for_company() -> None:
    pairs = [Pair(1, 45.0, 8.0, 1.0), Pair(64, 49.0, 880.0, 32.0)]
    said = told(Settings(batch_timing="fixed"), times_of(0.02, 0.0001), *pairs)
    assert any(each.startswith("batch_timing = adaptive: by fixed timing one client waits 100 ms") for each in said)
    assert not any("batch_timing" in each for each in told(Settings(), times_of(0.02, 0.0001), *pairs))


def test_an_admission_that_is_too_small_is_named() -> None:
    said = told(Settings(max_concurrent_requests=16), times_of(0.02, 0.0005), Pair(64, 49.0, 300.0, 16.0), cap=32)
    assert said == ["max_concurrent_requests = 256: with 16 some of 64 clients are refused with 429."]


def test_a_slow_upstream_is_named() -> None:
    said = told(Settings(), times_of(2.0, 0.001), cap=32)
    assert said == ["A call of 1 takes 2.0 s at this upstream: each answer takes at least that."]


def test_without_times_nothing_is_said_of_sizes() -> None:
    assert advice(Settings(), {}, Line(1.0, 0.0), [], None) == []
