"""Rate-limit headers are read in the forms of OpenAI and Azure; what makes no sense is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream.rate_headers import FURTHEST, NAMES, Figures, RateLimits, count, duration, read


def headers(**calls: str) -> dict[str, str]:
    """Return headers of calls: ``limit``, ``remaining``, ``reset``."""
    return {f"x-ratelimit-{part}-requests": text for part, text in calls.items()}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1m30.5s", 90.5),
        ("12ms", 0.012),
        ("1s", 1.0),
        ("7m12s", 432.0),
        ("1h0m3s", 3603.0),
        ("24h0m0s", 86_400.0),
        ("1d", 86_400.0),
        ("250µs", 0.00025),
        ("7", 7.0),
        ("0", 0.0),
        ("0s", 0.0),
        (" 0.5 ", 0.5),
        ("86400", FURTHEST),
    ],
)
def test_a_span_is_a_duration_or_seconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "-1", "-1s", "86401", "1764000000", "soon", "1e3", "nan", "5 s", "s", "1m30", "9" * 99, "٣s"],
)
def test_a_span_that_is_negative_or_makes_no_sense_is_unknown(text: str) -> None:
    assert duration(text) is None


@pytest.mark.parametrize(("text", "units"), [("60", 60), ("0", 0), ("150000", 150_000), ("60.0", 60), ("60, 59", 59)])
def test_a_count_is_a_whole_number_and_of_several_the_least(text: str, units: int) -> None:
    assert count(text) == units


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "1e3", "60,", "9" * 13, "60 ,-1"])
def test_a_count_that_is_negative_or_none_is_unknown(text: str) -> None:
    assert count(text) is None


def test_openais_headers_tell_of_calls_and_tokens() -> None:
    tokens = {"limit": "150000", "remaining": "149984", "reset": "6m0s"}
    told = headers(limit="60", remaining="59", reset="1s")
    told |= {f"x-ratelimit-{part}-tokens": text for part, text in tokens.items()}
    assert read(told) == RateLimits(Figures(60, 59, 1.0), Figures(150_000, 149_984, 360.0))
    assert told.keys() == NAMES


def test_azures_seconds_are_read() -> None:
    assert read(headers(limit="60", remaining="10", reset="7")) == RateLimits(Figures(60, 10, 7.0), Figures())


@pytest.mark.parametrize("limit", ["-1", "0", "none"])
def test_figures_beside_a_limit_that_is_none_are_not_believed(limit: str) -> None:
    assert read(headers(limit=limit, remaining="0", reset="1")) is None


def test_a_reset_of_nothing_is_unknown_and_the_rest_holds() -> None:
    assert read(headers(limit="60", remaining="10", reset="-1")) == RateLimits(Figures(60, 10), Figures())


def test_a_reset_of_0_is_told_as_it_is() -> None:
    assert read(headers(limit="60", remaining="10", reset="0")) == RateLimits(Figures(60, 10, 0.0), Figures())


def test_no_more_is_left_than_there_is() -> None:
    assert read(headers(limit="60", remaining="100")) == RateLimits(Figures(60, 60), Figures())


@pytest.mark.parametrize("other", [{}, {"content-type": "application/json"}, {"x-ratelimit-limit": "5"}])
def test_a_reply_without_these_headers_tells_nothing(other: dict[str, str]) -> None:
    assert read(other) is None


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), st.text(max_size=20)))
def test_any_text_is_read_into_figures_that_make_sense(told: dict[str, str]) -> None:
    limits = read(told)
    for figures in limits or ():
        assert figures.limit is None or figures.limit > 0
        assert figures.remaining is None or figures.remaining >= 0
        assert figures.reset is None or 0 < figures.reset <= FURTHEST
