"""How much of one kind of limit (calls or tokens) may be spent, and when, by what the account tells.

::

    left                                 a window: all of the limit is there again at its end
    limit ┤\\
          │ \\__  quiet: a burst may take what is above the line
          │  line\\__
          │         \\____\\
          └───────────────┴── end

Where an account gives back what was spent bit by bit there is no line: what is left may be spent. Pure; all moments are
seconds on the engine's clock, all amounts units of the limit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from batching.clock import NEVER
from upstream.pace import LEAST_PACE, MINUTE, NEARLY

if TYPE_CHECKING:
    from upstream.rate_headers import Figures

#: Windows that servers have, in seconds.
WINDOWS = (1.0, 10.0, MINUTE, 3600.0, 86_400.0)
#: The share of a limit that may be spent at once at the beginning of a window.
BURST = 0.1
#: The share of a window's time before its end in which all of it may be spent: later the last call would come too late.
EARLY = 0.02
#: The share of a limit that is left alone where others spend from the same account.
BESIDE_OTHERS = 0.05
#: And at least so many calls' worth: each of them may have sent one of which no reply has told yet.
CALLS_BESIDE = 3
#: Others spend, where it is more than this share of the limit in its time.
IS_SPENT = 0.05
#: Seconds over which the spending of others is averaged.
MEMORY = 20.0
#: The share of what others are likely to spend that is left to them. Below 1 the parts of several proxies become equal:
#: one that gets nothing asks for more, and the others see what it spends.
YIELD = 1 - LEAST_PACE
#: Seconds. A window as short may be spent at once where that is wanted.
SHORT = 10.0
#: Seconds. Some servers write whole ones only.
WHOLE = 1.0


class Account:
    """What is left of a limit that the upstream tells of, for all who spend from it: other proxies, too.

    Each reply tells what was left when its call had been counted. What was spent here since is taken off, and what
    others are likely to have spent.
    """

    def __init__(self, *, reserve: float = 0.0, spends_short_at_once: bool = False) -> None:
        """``reserve``: the share of the limit that is left alone in any case, where costs are estimated.

        ``spends_short_at_once``: whether a short window may be spent at its beginning.
        """
        self._least_reserve = reserve
        self._spends_short_at_once = spends_short_at_once
        self.limit = 0.0
        #: Units spent from here, since the beginning, and by a usual call.
        self.spent = 0.0
        self._usual = 0.0
        #: What was left, after how much was spent from here, and when that was told.
        self._left = self._mark = self._at = 0.0
        #: When all is there again, and the length of a window, of which the longest reset tells.
        self._end, self._window = NEVER, 0.0
        #: Seconds in which one unit comes back, where they come back one by one; else 0.
        self._unit = 0.0
        self._votes = 0
        #: Whether a reset of 0 says nothing, as replies have shown.
        self.is_mute = False
        #: Where the last reply told one: when all is there again by that, and what had been spent with its call.
        self._zero: tuple[float, float] | None = None
        #: Whether some reply has told when all is there again, and whether all that did told whole seconds.
        self._tells_resets, self._is_blurred = False, True
        self._others = 0.0

    def __repr__(self) -> str:
        form = f"one each {self._unit:.3g} s" if self._unit else f"windows of {self._window:g} s"
        return f"<Account {self._left:g} of {self.limit:g} left, {form}, others {self.others:.3g} a second>"

    # ---- what is told ---------------------------------------------------------------------------

    def told(self, figures: Figures, mark: float, now: float) -> bool:
        """Take what a reply tells; ``mark``: what had been spent when its call was sent, with its own cost.

        False where that is nothing: no figure of what is left, or one that is older than what is known.
        """
        remaining, limit = figures.remaining, float(figures.limit or max(self.limit, figures.remaining or 0))
        if remaining is None or limit <= 0 or (mark < self._mark and limit == self.limit):
            return False
        if self._zero is not None and now >= self._zero[0] and remaining < limit - (mark - self._zero[1]) - NEARLY:
            # Not all was there again after it, so a 0 says nothing, and what was learned from it is wrong.
            self.is_mute = True
            self._votes, self._unit, self._window, self._tells_resets, self._end = 0, 0.0, 0.0, False, NEVER
        reset = None if figures.reset == 0.0 and self.is_mute else figures.reset
        self._zero = (now + WHOLE, mark) if reset == 0.0 else None
        if reset is None:
            reset = self._usual_reset(limit, remaining)
        else:
            self._tells_resets = True
            self._is_blurred &= reset == int(reset)
            reset = reset or WHOLE / 2
        if limit != self.limit:
            self.limit, self._votes, self._unit = limit, 0, 0.0
            self._window = self._others = 0.0
        else:
            self._learn_others(remaining, mark, now)
        self._learn_form(remaining, reset, now)
        self._left, self._mark, self._end = float(remaining), mark, self._end_by(reset, now)
        self._at = now
        return True

    def _usual_reset(self, limit: float, remaining: int) -> float:
        """Return the seconds until all is there again, where a reply does not tell them.

        Servers that write whole seconds tell 0 in the last of them, which is as good as nothing.
        """
        if self._tells_resets and limit == self.limit:
            return WHOLE
        return max((limit - remaining) * MINUTE / limit, NEARLY)

    def _end_by(self, reset: float, now: float) -> float:
        """Return when all is there again, by a reply.

        Whole seconds are cut off or rounded. Of several ends of one window the latest is the right one then: at an
        earlier one a call would be refused.
        """
        end = now + reset
        if self._is_blurred and not self._unit and now < self._end != NEVER and abs(end - self._end) <= WHOLE:
            return max(end, self._end)
        return end

    def _learn_form(self, remaining: int, reset: float, now: float) -> None:
        """Tell a window from units that come back one by one: the end of a window stays where it is."""
        gone = self.limit - remaining
        if self._end == NEVER or not self._votes:
            of_minute = gone * MINUTE / self.limit
            self._votes = 1 if gone and abs(reset - of_minute) <= 0.05 * of_minute + 0.02 else -1
        elif gone and now < self._end - NEARLY and remaining != self._left:
            by_window = abs(now + reset - self._end)
            gone_then = max(self.limit - self._left, 1.0)
            by_unit = abs(reset - gone * (self._end - self._at) / gone_then)
            if abs(by_window - by_unit) > 0.02 * MINUTE / self.limit + 0.01:
                vote = 1 if by_unit < by_window else -1
                self._votes = max(-3, min(3, self._votes + vote)) or vote
        if self._votes > 0:
            self._unit = reset / gone if gone else (self._unit or MINUTE / self.limit)
        else:
            self._unit = 0.0
            # Near its end a long window looks like a short one.
            self._window = max(self._window, next((each for each in WINDOWS if reset <= 1.02 * each), reset))

    def _learn_others(self, remaining: int, mark: float, now: float) -> None:
        """Hold what is left against what was spent from here: the rest was spent by others."""
        passed = now - self._at
        if passed <= 0 or (not self._unit and now >= self._end):
            return  # a new window says nothing of the one before
        came_back = passed / self._unit if self._unit else 0.0
        gone = self._left - remaining + min(came_back, max(self.limit - self._left, 0.0))
        # It may be negative: replies overtake one another.
        theirs = gone - (mark - self._mark)
        self._others = self._others * math.exp(-passed / MEMORY) + theirs / MEMORY

    def spend(self, amount: float, now: float) -> None:
        """Take what a call costs."""
        self._roll(now)
        self.spent += amount
        if amount > 0:
            self._usual += (amount - self._usual) / 4 if self._usual else amount

    # ---- what may be spent ----------------------------------------------------------------------

    def left(self, at: float) -> float:
        """Return the units that are likely to be left at a moment, if nothing is spent from here until then."""
        if self._is_over(at):
            return self.limit
        passed = at - self._at
        # Others that are not heard of any more are taken to spend less and less.
        theirs = YIELD * self.others * MEMORY * (1 - math.exp(-passed / MEMORY))
        left = self._left - (self.spent - self._mark) - theirs
        return min(left + passed / self._unit, self.limit) if self._unit else left

    def spare(self, at: float) -> float:
        """Return the units that may be spent at a moment: in a window those above the line, which ends at nothing."""
        return self.left(at) - self._reserve - self._line(at)

    def when(self, amount: float, now: float, calls: int = 1) -> float:
        """Return the first moment from ``now`` on at which so many calls may be made that cost so much each.

        A call that costs more than the limit goes with all of it.
        """
        self._roll(now)
        amount = min(amount, self.limit - self._reserve) + (calls - 1) * amount
        spare = self.spare(now)
        if spare >= amount - NEARLY:
            return now
        if self._unit:
            return now + (amount - spare) / max(1 / self._unit - YIELD * self.others, LEAST_PACE / self._unit)
        pace = self._pace
        slope = max(pace - YIELD * self.others, LEAST_PACE * self.limit / self._window)
        at = now + (amount - spare) / slope
        if at <= self._end and self.left(now) - self._reserve >= amount + YIELD * self.others * (at - now):
            return at
        fresh = self.limit - self._reserve - pace * (self._window - self._early)
        return self._end + max(0.0, amount - fresh) / slope

    @property
    def is_refilled(self) -> bool:
        """Whether units come back one by one."""
        return self._unit > 0

    @property
    def others(self) -> float:
        """Units that others spend in a second, on the average."""
        return min(max(self._others, 0.0), self.per_minute / MINUTE)

    @property
    def per_minute(self) -> float:
        """Units of a minute; 0: nothing was told."""
        if not self.limit:
            return 0.0
        return MINUTE / self._unit if self._unit else self.limit * MINUTE / self._window

    @property
    def _reserve(self) -> float:
        has_others = self.others * MINUTE > IS_SPENT * self.per_minute
        least = self._least_reserve * self.limit
        if not has_others:
            return least
        return max(least, BESIDE_OTHERS * self.limit, min(CALLS_BESIDE * self._usual, self.limit / 4))

    @property
    def _pace(self) -> float:
        """Units a second at which a window is spent evenly, but for the burst at its beginning."""
        if self._spends_short_at_once and self._window <= SHORT:
            return 0.0
        burst = max(1.0 + self._reserve, BURST * self.limit)
        return max(self.limit - burst, 0.0) / (self._window - self._early)

    @property
    def _early(self) -> float:
        """Seconds before the end of a window in which nothing is left for later."""
        blur = min(WHOLE / 2, self._window / 4) if self._is_blurred and self._tells_resets else 0.0
        return max(EARLY * self._window, blur)

    def _line(self, at: float) -> float:
        if self._unit:
            return 0.0
        end = self._end + self._window if self._is_over(at) else self._end
        return self._pace * min(max(end - at - self._early, 0.0), self._window)

    def _is_over(self, at: float) -> bool:
        """Whether the window that was told of is over."""
        return not self._unit and at >= self._end

    def _roll(self, now: float) -> None:
        """Begin a new window where the one before is over."""
        if self._is_over(now):
            windows = 1 + int((now - self._end) / self._window)
            self._at = self._end + (windows - 1) * self._window
            self._left, self._mark = self.limit, self.spent
            self._end += windows * self._window
