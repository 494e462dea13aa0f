"""Reads from a reply's headers how long the upstream asks to be left alone, in every form that servers use."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds. What lies further ahead is a mistake (a moment instead of a span, a clock that is wrong), not a wish.
FURTHEST = 86_400.0
#: Headers in milliseconds, of OpenAI's and Azure's servers. They are more exact than ``Retry-After`` beside them.
IN_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
#: No sensible value is longer.
LONGEST_VALUE = 100

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
#: The forms of RFC 9110, 5.6.7: IMF-fixdate, RFC 850, asctime. The day of the week is not looked at.
_DATES = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"(?:[a-z]+, *)?(?P<day>\d\d?) (?P<month>[a-z]{{3}}) (?P<year>\d{{4}}) {_TIME} (?:GMT|UTC|[+-]0000)",
        rf"[a-z]+, *(?P<day>\d\d?)-(?P<month>[a-z]{{3}})-(?P<year>\d\d(?:\d\d)?) {_TIME} (?:GMT|UTC)",
        rf"[a-z]+ (?P<month>[a-z]{{3}}) +(?P<day>\d\d?) {_TIME} (?P<year>\d{{4}})",
    )
)


def seconds(headers: Mapping[str, str], wall_clock: Callable[[], float]) -> float | None:
    """Return the seconds for which the upstream wants no call; None if it names no time that makes sense.

    ``headers``: names in lower case. 0.0 where the time has passed or is negative: it may be asked again at once. A
    date is held against the ``Date`` of the same reply, since the two come from one clock, and against ``wall_clock``
    (seconds since 1970) if there is none.
    """
    for name in IN_MILLISECONDS:
        if (asked := _number(headers.get(name, ""))) is not None and (span := _sensible(asked / 1000)) is not None:
            return span
    value = headers.get("retry-after", "")
    if (asked := _number(value)) is not None:
        return _sensible(asked)
    if (moment := _moment(value, wall_clock)) is None:
        return None
    sent = _moment(headers.get("date", ""), wall_clock)
    return _sensible(moment - (wall_clock() if sent is None else sent))


def _sensible(span: float) -> float | None:
    return None if span > FURTHEST else max(0.0, span)


def _number(value: str) -> float | None:
    """Read a number; of several, which a gateway may have put together, the largest."""
    if not value or len(value) > LONGEST_VALUE:
        return None
    parts = [part.strip() for part in value.split(",")]
    return max(map(float, parts)) if all(map(_NUMBER.fullmatch, parts)) else None


def _moment(value: str, wall_clock: Callable[[], float]) -> float | None:
    """Read an HTTP date, in seconds since 1970."""
    if not value or len(value) > LONGEST_VALUE:
        return None
    for form in _DATES:
        if (found := form.fullmatch(value.strip())) is not None:
            with suppress(ValueError, OverflowError):  # no such month, day or hour
                return _seconds_of(found.groupdict(), wall_clock)
    return None


def _seconds_of(parts: dict[str, str], wall_clock: Callable[[], float]) -> float:
    year, month = int(parts["year"]), _MONTHS.index(parts["month"].lower()) + 1
    day, hour, minute = int(parts["day"]), int(parts["hour"]), int(parts["minute"])
    second = 59 if parts["second"] == "60" else int(parts["second"])  # a leap second
    if len(parts["year"]) == 2:
        # RFC 9110: a year that would be more than 50 years ahead is the one a century before.
        this_year = datetime.fromtimestamp(wall_clock(), UTC).year
        year = this_year + 50 - (this_year + 50 - year) % 100
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
