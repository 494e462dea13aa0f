"""Holds the dialect in which one upstream is spoken to: the one that is set, or what was found out last."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from batching.errors import UpstreamProtocolError, UpstreamUnavailable
from upstream.dialects.dialect import RefusalKind
from upstream.dialects.vectors import find
from upstream.dialects.words import decoded
from upstream.dialects.wrong_members import wrong_members
from upstream.http_reply import Reply

if TYPE_CHECKING:
    from upstream.dialects.dialect import Dialect, Refusal

#: Seconds after which a call is sent again that showed that the API was guessed wrong: small calls are quicker.
SEARCH_PAUSE = 0.25
#: Refusals of the key: they tell nothing of the API.
_OF_KEY = frozenset({401, 402, 403, 407})
#: How servers refuse a body whose members they do not know.
_OF_MEMBERS = re.compile(
    r"field required|missing|required (?:field|member|parameter|property)|is required", re.IGNORECASE
)

#: Ask the server for a path, by GET or with a body; None where there is no reply in time.
Get = Callable[[str], Reply | None]
Post = Callable[[str, bytes], Reply | None]


class Finding(NamedTuple):
    """What was found out of a server."""

    #: How it is spoken to; None where it does not answer yet, or cannot be used.
    dialect: Dialect | None
    #: One sentence: what it speaks, and what tells so; or why it cannot be used.
    sentence: str
    #: Whether the server did not tell: calls will show whether it is right.
    is_guess: bool = False
    #: Where there is no dialect: whether the server has shown that it cannot be used.
    is_unusable: bool = False
    #: Whether it has answered small calls, and none of them well.
    is_settled: bool = False


#: Finds out which dialect a server speaks. The last argument: whether small calls may be made for it.
Detect = Callable[[Get, Post, bool], Finding]


class Spoken:
    """The dialect of one endpoint. Its monitor's thread changes it; others read it."""

    def __init__(self, dialect: Dialect | None, detect: Detect | None, prepare: Callable[[Dialect], object]) -> None:
        """``detect``: asked for the dialect where none is given. ``prepare``: told of one before it is spoken."""
        #: None while it is not known. Read only from outside: each request asks for it.
        self.current = dialect
        self._detect = detect
        self._prepare = prepare
        self._sentence = self._problem = ""
        #: Why it cannot be spoken to while its dialect is not known.
        self._unusable = "the upstream has not answered yet"
        #: Whether the server has shown that it cannot be used, and whether small calls have told nothing: no guess is
        #: taken any more, and none is waited for.
        self._is_disproved = self._is_settled = False
        #: Whether no reply has shown yet that the dialect is right.
        self.is_guess = False
        #: Whether calls may be under way whose keys another dialect has fitted.
        self.has_changed = False

    def __repr__(self) -> str:
        return f"<Spoken {self.name or 'not found out yet'}{', guessed' if self.is_guess else ''}>"

    @property
    def name(self) -> str:
        """The dialect's name; empty while it is not known."""
        return "" if self.current is None else self.current.name

    @property
    def dialect(self) -> Dialect:
        """How the server is spoken to; raises ``UpstreamUnavailable`` while that is not known."""
        if self.current is None:
            raise UpstreamUnavailable(self._unusable, retry_after=1, reason="its API is unknown")
        return self.current

    def find_out(self, get: Get, post: Post, *, may_call: bool) -> Finding | None:
        """Ask the server which API it speaks, and speak it from now on; None where that is a setting.

        A guess takes the place of no dialect that was found: what was found is in doubt from then on. A dialect in
        doubt is given up where the server shows that it cannot be used.
        """
        if self._detect is None:
            return None
        found = self._detect(get, post, may_call)
        if found.is_guess and self.current is not None:
            self.is_guess = True
            return Finding(self.current, self._sentence, is_guess=True)
        if found.is_guess and self._is_disproved:
            return Finding(None, self._problem)
        if found.dialect is not None:
            self._take(found, found.dialect)
        elif found.sentence:
            self._problem = found.sentence
            self._unusable = f"the upstream {found.sentence.removeprefix('it ')}"
            if not found.is_settled:  # it is down, or in trouble: what comes back may be another
                self._is_disproved = False
            self._is_settled = found.is_settled
            if found.is_unusable and self.is_guess:
                self.current, self.is_guess, self._is_disproved = None, False, True
        return found

    def _take(self, found: Finding, dialect: Dialect) -> None:
        self.is_guess, self._is_disproved, self._is_settled = found.is_guess, False, False
        if self.current is not None and found.sentence == self._sentence:
            return  # what it has learned of the server goes on to hold
        self.has_changed = self.has_changed or bool(self._sentence)
        self._prepare(dialect)
        self.current, self._sentence = dialect, found.sentence

    def check(self, reply: Reply, refusal: Refusal | None) -> None:
        """Raise ``UpstreamUnavailable`` where the reply shows that the API was guessed wrong, and may be found out yet.

        The call waits for that. ``refusal``: what the reply was read as; None for a 200 that makes no sense.
        """
        if not self.is_guess or self._is_settled:
            return
        if holds_vectors(reply) if refusal is None else is_of_api(refusal, reply):
            text = "it is not known yet which API the upstream speaks"
            reason = f"status {reply.status}: its API was guessed wrong"
            raise UpstreamUnavailable(text, retry_after=1, pause=SEARCH_PAUSE, reason=reason)


def holds_vectors(reply: Reply) -> bool:
    """Whether there are vectors in the reply, in a place where another API has them."""
    try:
        return bool(find(reply.body))
    except UpstreamProtocolError:
        return False


def is_of_api(refusal: Refusal, reply: Reply) -> bool:
    """Whether the refusal is of the form of the call rather than of an input, the key or the moment."""
    if refusal.kind is RefusalKind.MISCONFIGURED:
        return reply.status not in _OF_KEY
    if refusal.kind is not RefusalKind.INPUTS or reply.status not in {400, 422}:
        return False
    return bool(wrong_members(decoded(reply.body))) or _OF_MEMBERS.search(refusal.text) is not None
