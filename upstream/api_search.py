"""Learns which API one upstream speaks, where that is not a setting: when to ask, and what to make of the answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from batching.clock import NOW
from upstream.detection import SILENT
from upstream.health import FIRST_TRIAL, LAST_TRIAL

if TYPE_CHECKING:
    from upstream.endpoint import AnyEndpoint, Finding
    from upstream.identity import Identities

log = logging.getLogger(__name__)

#: Seconds until a server that answers, and shows no API that can be used, is asked again: first and at most.
FIRST_LOOK, LAST_LOOK = 0.5, 4.0
#: What is said of an upstream that has not shown yet which API it speaks.
UNKNOWN_API = "it does not answer, or in no API that is known (see upstream_api)"


class ApiSearch:
    """The search of one monitor, whose thread it runs on.

    The server is asked for what it says of itself. One that says nothing is guessed at; where a guess has not proved
    right by the next look, small calls find out. The time between such calls doubles.
    """

    def __init__(self, endpoint: AnyEndpoint, identities: Identities) -> None:
        """``identities``: what is known of the APIs of all upstreams."""
        self._endpoint = endpoint
        self._identities = identities
        self._is_guess = False
        self._has_looked = False
        self._sentence = ""
        self._next_calls = self._next_look = NOW
        self._pause, self._look_pause = FIRST_TRIAL, FIRST_LOOK
        #: Why it is not known how the upstream is spoken to.
        self.reason = UNKNOWN_API

    def __repr__(self) -> str:
        state = "guessed" if self._is_guess else "known" if self._endpoint.speaks else "unknown"
        return f"<ApiSearch: {self._endpoint.speaks} {state}>"

    @property
    def is_guess(self) -> bool:
        """Whether the API was guessed, and no batch has proved that right yet."""
        return self._is_guess

    def look(self, timeout: float, now: float, *, has_succeeded: bool) -> None:
        """Ask the server if need be. ``has_succeeded``: whether it has answered a batch, so that a guess was right."""
        if has_succeeded:
            self._is_guess = False
        if self._is_guess or not (self._endpoint.speaks or now < self._next_look):
            may_call = self._has_looked and self._next_calls <= now
            if may_call:
                self._next_calls = now + self._pause
                self._pause = min(2 * self._pause, LAST_TRIAL)
            if may_call or not self._is_guess:
                self._take(self._endpoint.find_out(timeout, may_call=may_call))
                if not self._endpoint.speaks and self.reason != SILENT:
                    self._next_look = now + self._look_pause
                    self._look_pause = min(2 * self._look_pause, LAST_LOOK)
            self._has_looked = True
        if self._endpoint.speaks:
            self._identities.speaks(self._endpoint.url, self._endpoint.speaks)

    def look_again(self, timeout: float) -> None:
        """Ask a server that has come back: it may be another."""
        self._take(self._endpoint.find_out(timeout))
        self._identities.speaks(self._endpoint.url, self._endpoint.speaks)

    def _take(self, found: Finding | None) -> None:
        if found is None:  # it is a setting
            self._is_guess = False
            return
        if found.dialect is not None:
            self._is_guess = found.is_guess
        else:
            self.reason = found.sentence or UNKNOWN_API
        if found.sentence != self._sentence and found.dialect is not None:
            log.info("upstream %s %s", self._endpoint.url, found.sentence)
        self._sentence = found.sentence
