"""Learns which API one upstream speaks, where that is not a setting: when to ask, and what to make of the answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from batching.clock import NOW
from upstream.detection import SILENT
from upstream.health import FIRST_TRIAL, LAST_TRIAL

if TYPE_CHECKING:
    from upstream.endpoint import AnyEndpoint
    from upstream.spoken import Finding

log = logging.getLogger(__name__)

#: Seconds until a server that answers, and shows no API that can be used, is asked again: first and at most.
FIRST_LOOK, LAST_LOOK = 0.5, 4.0
#: What is said of an upstream that has not shown yet which API it speaks.
UNKNOWN_API = "it does not answer, or in no API that is known (see upstream_api)"


class ApiSearch:
    """The search of one monitor, whose thread it runs on.

    The server is asked for what it says of itself. One that says nothing is guessed at; where a guess has not proved
    right by the next look, small calls find out. The time between such calls doubles. A server that was found is asked
    again when it has been away, and when its calls are answered as no server of that API answers them.
    """

    def __init__(self, endpoint: AnyEndpoint) -> None:
        self._endpoint = endpoint
        self._is_guess = False
        self._has_looked = False
        self._sentence = ""
        self._next_calls = self._next_look = NOW
        self._pause, self._look_pause = FIRST_TRIAL, FIRST_LOOK
        #: Whether the upstream has been away since it was found: it may be another.
        self.has_left = False
        #: Why it is not known how the upstream is spoken to.
        self.reason = UNKNOWN_API

    def __repr__(self) -> str:
        state = "guessed" if self._is_guess else "known" if self._endpoint.speaks else "unknown"
        return f"<ApiSearch: {self._endpoint.speaks} {state}>"

    @property
    def is_guess(self) -> bool:
        """Whether the API was guessed, and no batch has proved that right yet."""
        return self._is_guess

    def look(self, timeout: float, now: float, *, has_succeeded: bool) -> bool:
        """Ask the server if need be; return whether it is spoken to in another way from now on.

        ``has_succeeded``: whether it has answered a batch since its API was found, so that a guess was right.
        """
        if has_succeeded:
            self._is_guess = False
        if not self._is_guess and (self._endpoint.speaks or now < self._next_look):
            return False
        has_changed = False
        may_call = self._has_looked and self._next_calls <= now
        if may_call:
            self._next_calls = now + self._pause
            self._pause = min(2 * self._pause, LAST_TRIAL)
        if may_call or not self._is_guess:
            has_changed = self._take(self._endpoint.find_out(timeout, may_call=may_call))
            if not self._endpoint.speaks and self.reason != SILENT:
                self._next_look = now + self._look_pause
                self._look_pause = min(2 * self._look_pause, LAST_LOOK)
        self._has_looked = True
        return has_changed

    def left(self) -> None:
        """The upstream cannot be reached, or says that it cannot work."""
        if self._endpoint.speaks:
            self.has_left = True
        self._next_calls = self._next_look = NOW
        self._pause, self._look_pause = FIRST_TRIAL, FIRST_LOOK

    def look_again(self, timeout: float, *, may_call: bool = False) -> bool:
        """Ask a server that was found before; return whether it is spoken to in another way from now on.

        ``may_call``: what it answers shows that it may be another.
        """
        has_changed = self._take(self._endpoint.find_out(timeout, may_call=may_call))
        if self.reason != SILENT:
            self.has_left = False
        return has_changed

    def _take(self, found: Finding | None) -> bool:
        """Note what was found; return whether it is another API, or another way to speak it."""
        self.reason = UNKNOWN_API
        if found is None:  # it is a setting
            self._is_guess = False
            return False
        if found.dialect is None:
            self.reason = found.sentence or UNKNOWN_API
            self._is_guess = self._is_guess and bool(self._endpoint.speaks)
            return False
        self._is_guess = found.is_guess
        if found.sentence == self._sentence:
            return False
        self._sentence = found.sentence
        log.info("upstream %s %s", self._endpoint.url, found.sentence)
        return True
