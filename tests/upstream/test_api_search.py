"""A monitor learns which API its upstream speaks: from what it says, else by a guess and a few small calls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tests.support.fakes import FakeUpstream
from upstream.api_search import UNKNOWN_API, ApiSearch
from upstream.dialects.tei import TeiDialect
from upstream.health import FIRST_TRIAL, LAST_TRIAL
from upstream.spoken import Finding

if TYPE_CHECKING:
    import pytest

SILENT = Finding(None, "it does not answer")
KNOWN = Finding(TeiDialect(), "speaks TEI's API")
GUESS = Finding(TeiDialect(), "is taken for TEI", is_guess=True)


class AskedUpstream(FakeUpstream):
    """Is asked for its API, and answers by the list, whose last element holds from then on."""

    def __init__(self, *findings: Finding | None) -> None:
        super().__init__()
        self.speaks = ""
        self.findings = list(findings)
        #: For each time it was asked, whether small calls might be made.
        self.asked: list[bool] = []

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None:
        self.asked.append(may_call)
        found = self.findings.pop(0) if len(self.findings) > 1 else self.findings[0]
        if found is not None and found.dialect is not None:
            self.speaks = found.dialect.name
        return found


def looks(upstream: AskedUpstream, *moments: float, has_succeeded: bool = False) -> ApiSearch:
    search = ApiSearch(upstream)
    for moment in moments:
        search.look(2.0, moment, has_succeeded=has_succeeded)
    return search


def test_a_server_that_tells_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    upstream = AskedUpstream(KNOWN)
    with caplog.at_level(logging.INFO):
        looks(upstream, 0.0, 5.0, 10.0)
    assert upstream.asked == [False]
    assert [record.getMessage() for record in caplog.records] == ["upstream http://upstream speaks TEI's API"]


def test_a_silent_server_is_asked_with_every_look_and_says_why_it_is_not_ready() -> None:
    upstream = AskedUpstream(SILENT)
    search = looks(upstream, 0.0, 0.25, 0.5)
    assert len(upstream.asked) == 3
    assert search.reason == "it does not answer"


def test_before_the_first_look_no_api_is_known() -> None:
    assert ApiSearch(AskedUpstream(SILENT)).reason == UNKNOWN_API


def test_the_first_look_makes_no_calls_and_later_ones_make_them_ever_more_seldom() -> None:
    upstream = AskedUpstream(GUESS)
    looks(upstream, *[moment / 4 for moment in range(1 + 4 * 60)])
    calls = upstream.asked.count(True)
    assert upstream.asked[0] is False
    assert FIRST_TRIAL < 60 / calls < LAST_TRIAL


def test_a_guess_is_not_made_again_between_the_calls_that_check_it() -> None:
    upstream = AskedUpstream(GUESS)
    looks(upstream, 0.0, 0.25, 0.5, 0.75)
    assert upstream.asked == [False, True]


def test_calls_that_tell_end_the_search() -> None:
    upstream = AskedUpstream(GUESS, KNOWN)
    looks(upstream, 0.0, 0.25, 5.0, 50.0)
    assert upstream.asked == [False, True]


def test_a_batch_that_succeeds_proves_the_guess() -> None:
    upstream = AskedUpstream(GUESS)
    search = looks(upstream, 0.0)
    search.look(2.0, 0.5, has_succeeded=True)
    search.look(2.0, 50.0, has_succeeded=True)
    assert upstream.asked == [False]


def test_what_is_a_setting_is_not_asked_for() -> None:
    upstream = AskedUpstream(None)
    upstream.speaks = "openai"
    looks(upstream, 0.0, 1.0)
    assert upstream.asked == []


def test_one_that_has_come_back_may_speak_another_api(caplog: pytest.LogCaptureFixture) -> None:
    other = Finding(TeiDialect(), "speaks OpenAI's API")
    upstream = AskedUpstream(KNOWN, other)
    search = looks(upstream, 0.0)
    with caplog.at_level(logging.INFO):
        search.look_again(2.0)
    assert [record.getMessage() for record in caplog.records] == ["upstream http://upstream speaks OpenAI's API"]
