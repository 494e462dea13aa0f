"""Tells apart why an upstream takes no more calls now: calls, tokens, a used up quota, or too many at once. Pure.

::

    429 ──> words or code of a quota, or a day to wait ──> QUOTA        clients are told, and it is left alone
        ├─> "tokens per min", type "tokens", none left ──> TOKENS       calls wait, and are smaller
        ├─> "requests per min", none left ───────────────> CALLS        calls wait, and are fuller
        └─> anything else ───────────────────────────────> CONCURRENCY  fewer at once
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from batching.clock import NOW
from batching.errors import UpstreamError, UpstreamOverloaded
from upstream import rate_headers
from upstream.dialects.words import decoded, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.http_reply import Reply
    from upstream.rate_headers import RateLimits

#: Seconds. Who is to wait for as long has met the limit of a day or of an account, not of a minute.
LONG = 3600.0


class Busy(Enum):
    """Why an upstream answers 429."""

    CALLS = "calls"
    TOKENS = "tokens"
    QUOTA = "quota"
    CONCURRENCY = "concurrency"


class RateLimited(UpstreamOverloaded):
    """The upstream refused a call over its limit of calls or tokens: the items wait in the queue until there are more.

    It is no sign that it has too much to do at once.
    """

    def __init__(self, kind: Busy, *, retry_after: float | None, pause: float) -> None:
        """``pause``: seconds that it names; 0.0: none."""
        super().__init__(f"the upstream has no {kind.value} left at present", retry_after=retry_after, pause=pause)
        self.kind = kind


class QuotaExhausted(UpstreamError):
    """The account has used up what it may have in a day, or what was paid for: calls succeed tomorrow, or when more is.

    It is told in the upstream's own words, which quote no input.
    """

    status = 429
    error_type = "Overloaded"
    is_final = True

    def __init__(self, message: str, *, pause: float | None) -> None:
        """``pause``: seconds that it names; None: none."""
        super().__init__(message, retry_after=pause, pause=pause)
        #: When the upstream is asked again, on the engine's clock.
        self.until = NOW
        self._now: Callable[[], float] | None = None

    def tell_by(self, now: Callable[[], float]) -> None:
        """Tell each client from now on how long it is until the moment ``until``, by this clock."""
        self._now = now
        self.retry_after = max(1.0, self.until - now())

    def copy(self) -> QuotaExhausted:
        """Return an equal error whose ``retry_after`` is right at this moment."""
        twin = QuotaExhausted(self.message, pause=self.pause)
        twin.until = self.until
        if self._now is not None:
            twin.tell_by(self._now)
        return twin


#: Codes and types of an error: OpenAI's and those that follow it.
_QUOTA_CODES = frozenset(
    {
        "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded", "access_terminated",
        "insufficient_balance", "insufficient_credits", "credit_limit_exceeded", "usage_limit_reached",
    }
)  # fmt: skip
_TOKEN_CODES = frozenset({"tokens", "tokens_usage_based", "token_rate_limit_exceeded", "input_tokens"})
_CALL_CODES = frozenset({"requests", "request_rate_limit_exceeded"})

_OF_MINUTE = re.compile(
    r"\bper[ _-]?(?:min(?:ute)?|s(?:ec(?:ond)?)?)\b|Per(?:Minute|Second)|/\s?min|\b[RT]P[MS]\b", re.IGNORECASE
)
_OF_QUOTA = re.compile(
    r"exceeded your current quota|check your plan and billing|\bbilling\b|\bpay(?:ment)?[ -]?method\b"
    r"|insufficient (?:quota|balance|credits?|funds)|out of credits?|credit balance|prepaid"
    r"|\bper[ _-]?(?:day|month)\b|PerDay|\b(?:daily|monthly)\b|\b[RT]PD\b",
    re.IGNORECASE,
)
_OF_TOKENS = re.compile(r"\btokens?[ _-]?(?:per|rate|limit|usage|quota)|\bTPM\b|\btokens?/min", re.IGNORECASE)
_OF_CALLS = re.compile(
    r"\b(?:requests?|calls?|quer(?:y|ies))[ _-]?(?:per|rate|limit)|\bRP[MS]\b|\brate[ _-]?limit",
    re.IGNORECASE,
)
_AT_ONCE = re.compile(
    r"concurren|\bat once\b|\bin parallel\b|\bsimultaneous|\boverloaded\b|\bqueue\b|\bcapacity\b", re.IGNORECASE
)
#: "Please retry after 86400 seconds", "Please try again in 7m12s".
_SECONDS = re.compile(r"\b(?:retry|try again) (?:after|in) (\d{1,9}) ?s(?:ec(?:ond)?s?)?\b", re.IGNORECASE)


def error_of(reply: Reply, asked: float | None) -> UpstreamError:
    """Return the error of a reply that says that the upstream is busy; ``asked``: seconds that its headers ask for."""
    kind, text = Busy.CONCURRENCY, ""
    if reply.status == 429:
        kind, text, asked = kind_of(reply, rate_headers.read(reply.headers), asked)
    if kind is Busy.QUOTA:
        return QuotaExhausted(text or "the upstream's quota is used up", pause=asked)
    if kind is Busy.CONCURRENCY:
        return UpstreamOverloaded("the upstream is overloaded", retry_after=asked or 1, pause=asked or 0.0)
    return RateLimited(kind, retry_after=asked or 1, pause=asked or 0.0)


def kind_of(reply: Reply, limits: RateLimits | None, asked: float | None) -> tuple[Busy, str, float | None]:
    """Return why a 429 was answered, the upstream's words, and the seconds that it asks for; None where it names none.

    ``limits``: what its headers tell. ``asked``: the seconds that they ask for.
    """
    text, _ = read(reply.body)
    if asked is None and (named := _SECONDS.search(text)) is not None:
        asked = min(float(named[1]), 86_400.0)
    codes = _codes(reply.body)
    is_of_minute = _OF_MINUTE.search(text) is not None
    if not _QUOTA_CODES.isdisjoint(codes) and not is_of_minute:
        return Busy.QUOTA, text, asked
    if (_OF_QUOTA.search(text) and not is_of_minute) or (asked is not None and asked >= LONG):
        return Busy.QUOTA, text, asked
    return _kind(text, codes, limits), text, asked


def _kind(text: str, codes: frozenset[str], limits: RateLimits | None) -> Busy:
    if not _TOKEN_CODES.isdisjoint(codes) or _OF_TOKENS.search(text):
        return Busy.TOKENS
    if not _CALL_CODES.isdisjoint(codes):
        return Busy.CALLS
    if _AT_ONCE.search(text):
        return Busy.CONCURRENCY
    if _OF_CALLS.search(text) or _OF_MINUTE.search(text):
        return Busy.CALLS
    if limits is not None and limits.tokens.remaining == 0:
        return Busy.TOKENS
    if limits is not None and limits.calls.remaining == 0:
        return Busy.CALLS
    return Busy.CONCURRENCY


def _codes(body: bytes) -> frozenset[str]:
    """Return the codes and types that an error's body has, in lower case."""
    said: Any = decoded(body)
    if isinstance(said, list) and said:
        said = said[0]
    error = said.get("error", said) if isinstance(said, dict) else None
    told = [error.get(name) for name in ("code", "type", "status")] if isinstance(error, dict) else [error]
    return frozenset(each.lower() for each in told if isinstance(each, str) and len(each) <= 64)
