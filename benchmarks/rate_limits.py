"""The rate limits of a hosted server, for the simulated upstream: what it refuses, in which words, and its headers.

Three ways of counting are in use. *window*: so much in each second, ten seconds or minute. *bucket*: what was spent
comes back evenly (OpenAI). *sliding*: so much in any window, and no word of when there is more (as Azure is described).
Time is an argument.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MINUTE = 60.0
WINDOW, BUCKET, SLIDING = "window", "bucket", "sliding"
DURATIONS, SECONDS, NONE = "durations", "seconds", "none"


@dataclass(frozen=True, slots=True)
class Rates:
    """What the account may have. 0: no limit.

    ``window``: seconds in which its share of a minute may be spent. ``quota_calls``: calls after which the account's
    quota is used up. ``at_once``: calls under way at once.
    """

    calls: int = 0
    tokens: int = 0
    window: float = MINUTE
    counts_by: str = WINDOW
    headers: str = DURATIONS
    quota_calls: int = 0
    at_once: int = 0


class Left(NamedTuple):
    """What is left of one limit: all of it is there again after ``reset`` seconds; None: that is not told."""

    limit: int
    remaining: int
    reset: float | None


class Meter(Protocol):
    """Counts what is spent of one limit."""

    def may(self, amount: int, now: float) -> bool: ...
    def spend(self, amount: int, now: float) -> None: ...
    def left(self, now: float) -> Left: ...
    def wait(self, amount: int, now: float) -> float:
        """Return the seconds until so much may be spent."""
        ...


class Window:
    """So much in each window; they follow one another from the first call on."""

    def __init__(self, per_minute: int, window: float) -> None:
        self._limit = max(1, round(per_minute * window / MINUTE))
        self._window = window
        self._end = -math.inf
        self._spent = 0

    def may(self, amount: int, now: float) -> bool:
        self._roll(now)
        return self._spent + amount <= self._limit

    def spend(self, amount: int, now: float) -> None:
        self._roll(now)
        self._spent += amount

    def left(self, now: float) -> Left:
        self._roll(now)
        return Left(self._limit, self._limit - self._spent, self._rest(now))

    def wait(self, amount: int, now: float) -> float:  # noqa: ARG002 - all comes at once
        return self._rest(now)

    def _rest(self, now: float) -> float:
        self._roll(now)
        return self._end - now

    def _roll(self, now: float) -> None:
        if self._end == -math.inf:
            self._end = now + self._window
        elif now >= self._end:
            self._end += (1 + (now - self._end) // self._window) * self._window
            self._spent = 0


class Bucket:
    """What was spent comes back evenly, up to what a window may have."""

    def __init__(self, per_minute: int, window: float) -> None:
        self._limit = max(1, round(per_minute * window / MINUTE))
        self._rate = per_minute / MINUTE
        self._there = float(self._limit)
        self._at = 0.0

    def may(self, amount: int, now: float) -> bool:
        self._fill(now)
        return self._there >= amount

    def spend(self, amount: int, now: float) -> None:
        self._fill(now)
        self._there -= amount

    def left(self, now: float) -> Left:
        self._fill(now)
        return Left(self._limit, int(self._there), max((self._limit - self._there) / self._rate, 0.001))

    def wait(self, amount: int, now: float) -> float:
        self._fill(now)
        return max((amount - self._there) / self._rate, 0.001)

    def _fill(self, now: float) -> None:
        self._there = min(self._limit, self._there + (now - self._at) * self._rate)
        self._at = now


class Sliding:
    """So much in any span as long as the window. It tells of the last minute, and not when there is more."""

    def __init__(self, per_minute: int, window: float) -> None:
        self._per_minute = per_minute
        self._limit = max(1, round(per_minute * window / MINUTE))
        self._window = window
        self._spent: deque[tuple[float, int]] = deque()

    def may(self, amount: int, now: float) -> bool:
        return self._within(self._window, now) + amount <= self._limit

    def spend(self, amount: int, now: float) -> None:
        self._spent.append((now, amount))

    def left(self, now: float) -> Left:
        return Left(self._per_minute, max(0, self._per_minute - self._within(MINUTE, now)), None)

    def wait(self, amount: int, now: float) -> float:
        over = self._within(self._window, now) + amount - self._limit
        for at, spent in self._spent:
            if at > now - self._window:
                over -= spent
                if over <= 0:
                    return at + self._window - now
        return self._window

    def _within(self, span: float, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - MINUTE:
            self._spent.popleft()
        return sum(amount for at, amount in self._spent if at > now - span)


_METERS: dict[str, type[Window | Bucket | Sliding]] = {
    WINDOW: Window,
    BUCKET: Bucket,
    SLIDING: Sliding,
}


class Refusal(NamedTuple):
    """A 429: why (``calls``, ``tokens``, ``quota``, ``concurrency``), its body, and its headers."""

    kind: str
    body: bytes
    headers: bytes


class Account:
    """Admits calls, or refuses them with one of the four kinds of 429."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        meter = _METERS[rates.counts_by]
        self._calls: Meter | None = meter(rates.calls, rates.window) if rates.calls else None
        self._tokens: Meter | None = meter(rates.tokens, rates.window) if rates.tokens else None
        self.admitted = self.tokens = 0
        self.refused: Counter[str] = Counter()

    def ask(self, tokens: int, under_way: int, now: float) -> Refusal | None:
        """Admit a call of so many tokens beside those under way, or return why not."""
        refusal = self._refusal(tokens, under_way, now)
        if refusal is not None:
            self.refused[refusal.kind] += 1
            return refusal
        for meter, amount in ((self._calls, 1), (self._tokens, tokens)):
            if meter is not None:
                meter.spend(amount, now)
        self.admitted += 1
        self.tokens += tokens
        return None

    def headers(self, now: float) -> bytes:
        """Return the header lines that tell what is left."""
        if self._rates.headers == NONE:
            return b""
        lines = []
        for what, meter in (("requests", self._calls), ("tokens", self._tokens)):
            if meter is not None:
                limit, remaining, reset = meter.left(now)
                lines += [f"x-ratelimit-limit-{what}: {limit}", f"x-ratelimit-remaining-{what}: {remaining}"]
                if reset is not None:
                    told = duration(reset) if self._rates.headers == DURATIONS else str(round(reset))
                    lines.append(f"x-ratelimit-reset-{what}: {told}")
        return "".join(line + "\r\n" for line in lines).encode()

    def _refusal(self, tokens: int, under_way: int, now: float) -> Refusal | None:
        rates = self._rates
        if rates.quota_calls and self.admitted >= rates.quota_calls:
            text = "You exceeded your current quota, please check your plan and billing details."
            return Refusal("quota", _error(text, "insufficient_quota", "insufficient_quota"), b"")
        if rates.at_once and under_way >= rates.at_once:
            text = f"Too many concurrent requests: {under_way} are under way."
            return Refusal("concurrency", _error(text, "server_busy", "concurrency_limit"), b"")
        for kind, short, meter, amount in (
            ("calls", "RPM", self._calls, 1),
            ("tokens", "TPM", self._tokens, tokens),
        ):
            if meter is not None and not meter.may(amount, now):
                wait = meter.wait(amount, now)
                what = "requests" if kind == "calls" else kind
                text = (
                    f"Rate limit reached for simulated on {what} per min ({short}): Limit {meter.left(now).limit}, "
                    f"Requested {amount}. Please try again in {duration(wait)}."
                )
                told = f"retry-after-ms: {wait * 1000:.0f}\r\nretry-after: {wait:.0f}\r\n".encode()
                return Refusal(kind, _error(text, what, "rate_limit_exceeded"), told + self.headers(now))
        return None


def duration(seconds: float) -> str:
    """Write a span as OpenAI does: ``6m0s``, ``1.5s``, ``12ms``."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    minutes, rest = divmod(round(seconds, 3), MINUTE)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


def _error(message: str, error_type: str, code: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": error_type, "param": None, "code": code}}).encode()
