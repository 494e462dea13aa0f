"""Paces the calls of one upstream by its account's limits, so that a call leaves when it is not refused.

::

    settings ──> Pace ─────┐                        calls that may leave now,
    headers ───> Account ──┼──> when, spare ──────> the moment of the next,
    a refusal ─> Pace, ────┘                        and how large it may be
                 a moment to wait for

Pure: no clock, no lock, no socket. All moments are seconds on the engine's clock. The pool's lock guards it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.capacity import UNLIMITED_BYTES
from batching.clock import NOW
from upstream.allowance import BURST, Account
from upstream.busy import Busy
from upstream.dialects.sizes import BYTES_PER_TOKEN
from upstream.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Hashable

    from upstream.rate_headers import RateLimits

#: The share of an account's tokens that is left alone: a call's tokens are estimated.
OF_TOKENS = 0.05
#: The share of a minute's tokens that one call may have.
LARGEST_CALL = 0.25
#: Weight of the newest call in the average tokens of a call, and in that of its tokens by its bytes.
WEIGHT = 0.3
#: Seconds of quiet for which what has shown itself too fast goes evenly.
EVENLY = 600.0
#: Seconds until the next call after a refusal that names no time; twice as long after each further one in a row.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


class Openings(NamedTuple):
    """What may leave, and when."""

    #: Calls that may leave now.
    now: int
    #: When the next one may, beside these.
    next_at: float
    #: Bytes of items that each may have.
    most_bytes: int = UNLIMITED_BYTES


class Ticket(NamedTuple):
    """What was reserved for a call, and what had been spent with it."""

    size: int
    tokens: float
    calls_mark: float
    tokens_mark: float


class Limit:
    """One kind of limit: what the settings say, what the account tells, and what refusals have shown."""

    def __init__(self, per_minute: int, now: float, *, burst: float, reserve: float = 0.0) -> None:
        """``per_minute``: of the settings; 0: none. ``burst``: the share of it that may be spent at once.

        ``reserve``: the share that is left alone, where costs are estimated.
        """
        self.account = Account(reserve=reserve, spends_short_at_once=reserve > 0)
        self._counts_calls = not reserve
        self._set = Pace(per_minute, now, burst=burst * per_minute) if per_minute else None
        self._even: Pace | None = None
        self._even_until = NOW
        self._per_minute = float(per_minute)

    def __repr__(self) -> str:
        return f"<Limit {self._set}, {self.account}, {self._even}>"

    @property
    def is_known(self) -> bool:
        """Whether anything bounds what is spent."""
        return bool(self._set or self.account.limit or self._even)

    @property
    def per_minute(self) -> float:
        """Units in a minute, as far as is known; 0: nothing is."""
        told = self.account.per_minute
        return min(told, self._per_minute) if told and self._per_minute else told or self._per_minute

    def spend(self, amount: float, now: float) -> None:
        """Take what a call costs, or what it has cost beyond that."""
        self.account.spend(amount, now)
        for pace in (self._set, self._even):
            if pace is not None:
                pace.spend(amount, now)

    def when(self, amount: float, now: float, calls: int = 1) -> float:
        """Return the first moment at which so many calls may be made that cost so much each."""
        at = now
        for pace in (self._set, self._even):
            if pace is not None:
                at = max(at, pace.when(amount, now, calls))
        return max(at, self.account.when(amount, now, calls)) if self.account.limit else at

    def spare(self, now: float) -> float:
        """Return the units that may be spent now; only where something is known."""
        spares = [pace.spare(now) for pace in (self._set, self._even) if pace is not None]
        if self.account.limit:
            spares.append(self.account.spare(now))
        return min(spares)

    def go_evenly(self, now: float) -> None:
        """A call was refused although something was left: the server judges over a shorter time."""
        if self._even is None and self.per_minute:
            self._even = Pace(self.per_minute, now, burst=1.0 if self._counts_calls else BURST / 2 * self.per_minute)
            self._even.spend(1.0, now)
        self._even_until = now + EVENLY

    def relax(self, now: float) -> None:
        """After a quiet time bursts are tried again."""
        if self._even is not None and now >= self._even_until:
            self._even = None


class Governor:
    """What one upstream's account allows, what is reserved for calls under way, and what follows for the next."""

    def __init__(self, now: float, *, calls_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        """The settings' limits; 0: none."""
        self.calls = Limit(calls_per_minute, now, burst=0.0)
        self.tokens = Limit(tokens_per_minute, now, burst=BURST, reserve=OF_TOKENS)
        #: No call leaves before this moment: a refusal has said so, and over which kind of limit.
        self.not_before = NOW
        self._waits_for = Busy.CALLS
        self._tickets: dict[Hashable, Ticket] = {}
        #: Tokens of a usual call, and how many the upstream counts for one that is estimated.
        self._usual = 0.0
        self._ratio = 1.0
        self._refusals = 0

    def __repr__(self) -> str:
        return f"<Governor calls {self.calls}, tokens {self.tokens}, {len(self._tickets)} under way>"

    # ---- the life of a call ---------------------------------------------------------------------

    def reserve(self, call: Hashable, size: int, now: float) -> None:
        """A call of ``size`` bytes leaves."""
        tokens = self._tokens(size)
        self.calls.spend(1, now)
        self.tokens.spend(tokens, now)
        self._usual += WEIGHT * (tokens - self._usual) if self._usual else tokens
        self._tickets[call] = Ticket(size, tokens, self.calls.account.spent, self.tokens.account.spent)

    def told(self, call: Hashable, limits: RateLimits, now: float) -> None:
        """The reply of a call tells what the account has left."""
        ticket = self._tickets.get(call)
        calls, tokens = self.calls.account, self.tokens.account
        calls.told(limits.calls, calls.spent if ticket is None else ticket.calls_mark, now)
        tokens.told(limits.tokens, tokens.spent if ticket is None else ticket.tokens_mark, now)
        is_untold = limits.calls.reset is None or (limits.calls.reset == 0.0 and calls.is_mute)
        if calls.limit and limits.calls.remaining is not None and is_untold:
            self.calls.go_evenly(now)  # that holds whenever it is there again

    def ended(self, call: Hashable, now: float, *, tokens: int | None = None, is_well: bool = True) -> None:
        """A call came back; ``tokens``: as the upstream counted them. ``is_well``: without an error."""
        ticket = self._tickets.pop(call, None)
        if is_well:
            self._refusals = 0
            self.calls.relax(now)
            self.tokens.relax(now)
        if ticket is None or tokens is None or not ticket.size:
            return
        if not self.tokens.account.limit:
            self.tokens.spend(tokens - ticket.tokens, now)
        measured = min(max(tokens * BYTES_PER_TOKEN / ticket.size, 0.25), 4.0)
        self._ratio += WEIGHT * (measured - self._ratio)

    def give_back(self, call: Hashable, now: float) -> None:
        """A call was not made after all."""
        ticket = self._tickets.pop(call, None)
        if ticket is not None:
            self.calls.spend(-1, now)
            self.tokens.spend(-ticket.tokens, now)

    def refused(self, call: Hashable, kind: Busy, pause: float, now: float) -> None:
        """A call was refused over a limit of this kind; ``pause``: seconds that it names, 0.0 where it names none."""
        self._refusals += 1
        ticket = self._tickets.get(call)
        limit = self.tokens if kind is Busy.TOKENS else self.calls
        needed = 1.0
        if kind is Busy.TOKENS and ticket is not None:
            needed = ticket.tokens
            self._usual = max(self._usual, needed)
        account = limit.account
        if self._refusals > 1 or not account.limit or account.left(now) >= needed:
            limit.go_evenly(now)
        wait = pause or min(FIRST_WAIT * 2 ** (self._refusals - 1), LONGEST_WAIT)
        self.not_before = max(self.not_before, now + wait)
        self._waits_for = kind

    # ---- what follows ---------------------------------------------------------------------------

    @property
    def most_tokens(self) -> float:
        """Tokens that one call may have; 0: there is no bound."""
        most = LARGEST_CALL * self.tokens.per_minute
        limit = self.tokens.account.limit
        return min(most, (1 - OF_TOKENS) * limit) if limit else most

    def openings(self, now: float, room: int) -> Openings:
        """Say what may leave where ``room`` calls more may be under way."""
        first = self.opens_at(now)
        if first > now or not room:
            return Openings(0, first, self._most_bytes(max(first, now), 1))
        count = 1
        while count < room and self._when(count + 1, now) <= now:
            count += 1
        return Openings(count, self._when(count + 1, now), self._most_bytes(now, count))

    def opens_at(self, now: float) -> float:
        """Return the first moment from ``now`` on at which a call may leave."""
        return self._when(1, now)

    def waits_for(self, now: float) -> Busy:
        """Say which kind of limit the next call waits for."""
        if self.not_before > now:
            return self._waits_for
        tokens_at = self.tokens.when(self._needed, now) if self.tokens.is_known else now
        return Busy.TOKENS if tokens_at > self.calls.when(1, now) else Busy.CALLS

    def left(self, now: float) -> tuple[float | None, float | None]:
        """Return the calls and tokens that are left; None where the upstream does not tell."""
        calls, tokens = self.calls.account, self.tokens.account
        return calls.left(now) if calls.limit else None, tokens.left(now) if tokens.limit else None

    def _when(self, calls: int, now: float) -> float:
        at = max(now, self.not_before, self.calls.when(1, now, calls))
        return max(at, self.tokens.when(self._needed, now, calls)) if self.tokens.is_known else at

    @property
    def _needed(self) -> float:
        """Tokens that have to be there for a call."""
        return min(max(self._usual, 1.0), self.most_tokens) if self.tokens.is_known else 0.0

    def _most_bytes(self, at: float, count: int) -> int:
        """Return the bytes that each of so many calls may have that leave at this moment."""
        if not self.tokens.is_known:
            return UNLIMITED_BYTES
        spare = max(self.tokens.spare(at) / count, self._needed)
        return max(1, int(min(spare, self.most_tokens) * BYTES_PER_TOKEN / self._ratio))

    def _tokens(self, size: int) -> float:
        return max(1.0, size / BYTES_PER_TOKEN * self._ratio)


def sentence(governor: Governor | None) -> str:
    """Say for the log what the calls are paced by."""
    of = [] if governor is None else [(governor.calls.per_minute, "calls"), (governor.tokens.per_minute, "tokens")]
    return " and ".join(f"{figure:.0f} {what}" for figure, what in of if figure) or "calls that it does not name"
