"""Every form of ``Retry-After`` that servers use is read; nonsense is no wish; no clock but the given one is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream.retry_after import FURTHEST, seconds

#: Sun, 06 Nov 1994 08:49:37 GMT
MOMENT = 784_111_777.0


def asked(value: str, *, now: float = MOMENT, **others: str) -> float | None:
    headers = {"retry-after": value} | {name.replace("_", "-"): text for name, text in others.items()}
    return seconds(headers, lambda: now)


def no_clock() -> float:
    raise AssertionError("the clock was read")


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("7", 7.0),
        ("007", 7.0),
        (" 7 ", 7.0),
        ("+7", 7.0),
        ("1.5", 1.5),
        ("2.", 2.0),
        (".25", 0.25),
        ("0", 0.0),
        ("0.0", 0.0),
        ("-5", 0.0),
        ("3, 5", 5.0),
        ("86400", FURTHEST),
    ],
)
def test_a_number_is_a_span_of_seconds(value: str, span: float) -> None:
    assert seconds({"retry-after": value}, no_clock) == span


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "5s",
        "1e3",
        "nan",
        "inf",
        "0x10",
        "٣",
        "1,5,",
        "86401",
        "1764000000",
        "9" * 400,
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "1994-11-06T08:49:37Z",
    ],
)
def test_nonsense_and_what_lies_more_than_a_day_ahead_name_no_time(value: str) -> None:
    assert asked(value) is None


def test_a_reply_without_the_header_names_no_time() -> None:
    assert seconds({"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, no_clock) is None


DATES = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]


@pytest.mark.parametrize("date", [*DATES, "sun, 06 nov 1994 08:49:37 gmt", "Sun, 6 Nov 1994 08:49:37 +0000"])
def test_a_date_is_held_against_the_clock(date: str) -> None:
    assert asked(date, now=MOMENT - 90) == 90.0
    assert asked(date, now=MOMENT + 90) == 0.0
    assert asked(date, now=MOMENT - FURTHEST - 1) is None


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("sent", ["Sun, 06 Nov 1994 08:49:07 GMT", "Sunday, 06-Nov-94 08:49:07 GMT"])
def test_a_date_is_held_against_the_date_of_the_reply_where_there_is_one(date: str, sent: str) -> None:
    assert asked(date, now=MOMENT + 10_000, date=sent) == 30.0


def test_a_reply_with_a_senseless_date_is_held_against_the_clock() -> None:
    assert asked(DATES[0], now=MOMENT - 5, date="yesterday") == 5.0


def test_a_leap_second_is_a_moment_too() -> None:
    assert asked("Sun, 06 Nov 1994 08:49:60 GMT", now=MOMENT) == 22.0


@pytest.mark.parametrize(
    ("year", "span"), [("94", 90.0), ("69", 0.0), ("45", 0.0), ("44", None), ("20", None)], ids=str
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(year: str, span: float | None) -> None:
    assert asked(f"Sunday, 06-Nov-{year} 08:49:37 GMT", now=MOMENT - 90) == span


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_milliseconds_are_read_before_seconds(name: str) -> None:
    assert seconds({name: "1500", "retry-after": "2"}, no_clock) == 1.5
    assert seconds({name: "250.5"}, no_clock) == 0.2505
    assert seconds({name: "-1"}, no_clock) == 0.0
    assert seconds({name: "soon", "retry-after": "2"}, no_clock) == 2.0
    assert seconds({name: "99999999999", "retry-after": "2"}, no_clock) == 2.0
    assert seconds({name: "soon"}, no_clock) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_server_says_is_a_span_within_a_day_or_nothing(value: str, date: str) -> None:
    span = asked(value, date=date)
    assert span is None or 0.0 <= span <= FURTHEST
