"""Reads from a reply's headers what an account may still ask for: calls and tokens, and when they are there again.

::

    x-ratelimit-limit-requests: 60        x-ratelimit-limit-tokens: 150000
    x-ratelimit-remaining-requests: 59    x-ratelimit-remaining-tokens: 149984
    x-ratelimit-reset-requests: 1s        x-ratelimit-reset-tokens: 6m0s

OpenAI writes durations ("6m0s", "12ms"), Azure seconds ("7"). Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds. A reset further ahead is a mistake: a moment instead of a span, or a clock that is wrong.
FURTHEST = 86_400.0
#: No sensible value is longer, nor has a count more digits.
LONGEST_VALUE = 64
MOST_DIGITS = 12

_WHAT = ("requests", "tokens")
#: The headers that are looked at; a reply without any of them says nothing.
NAMES = frozenset(f"x-ratelimit-{part}-{what}" for what in _WHAT for part in ("limit", "remaining", "reset"))

_COUNT = re.compile(rf"-?[0-9]{{1,{MOST_DIGITS}}}(?:\.0*)?")
_SECONDS = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}(?:\.[0-9]*)?|\.[0-9]+")
_PIECE = re.compile(r"([0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]{1,9})(d|h|ms|us|µs|ns|m|s)")
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Figures(NamedTuple):
    """What was told of one kind of limit; None where nothing was that makes sense."""

    #: Units (calls or tokens) that are there at most, and units that are left.
    limit: int | None = None
    remaining: int | None = None
    #: Seconds until all of the limit is there again. 0: in less than a second, or it is not known.
    reset: float | None = None


class RateLimits(NamedTuple):
    """What one reply tells of its account."""

    calls: Figures
    tokens: Figures


UNTOLD = Figures()


def read(headers: Mapping[str, str]) -> RateLimits | None:
    """Return what the headers tell (names in lower case); None where that is nothing.

    A limit of 0 or less is no limit, and makes the figures beside it worthless; a reset below 0 is unknown.
    """
    calls, tokens = (_figures(headers, what) for what in _WHAT)
    return None if calls == tokens == UNTOLD else RateLimits(calls, tokens)


def _figures(headers: Mapping[str, str], what: str) -> Figures:
    limit_text = headers.get(f"x-ratelimit-limit-{what}")
    limit = count(limit_text or "")
    if limit_text is not None and not limit:
        return UNTOLD
    remaining = count(headers.get(f"x-ratelimit-remaining-{what}", ""))
    if limit is not None and remaining is not None:
        remaining = min(remaining, limit)
    return Figures(limit, remaining, duration(headers.get(f"x-ratelimit-reset-{what}", "")))


def count(text: str) -> int | None:
    """Read a number of units; None where it is negative or none. Of several, which gateways put together, the least."""
    if not text or len(text) > LONGEST_VALUE:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(map(_COUNT.fullmatch, parts)):
        return None
    least = min(int(float(part)) for part in parts)
    return least if least >= 0 else None


def duration(text: str) -> float | None:
    """Read a span: seconds, or numbers each with a unit. None where it is too long, or none."""
    text = text.strip()
    if not text or len(text) > LONGEST_VALUE:
        return None
    if _SECONDS.fullmatch(text):
        return _sensible(float(text))
    pieces = _PIECE.findall(text)
    if "".join(number + unit for number, unit in pieces) != text:
        return None
    return _sensible(sum(float(number) * _UNITS[unit] for number, unit in pieces))


def _sensible(span: float) -> float | None:
    return span if span <= FURTHEST else None
