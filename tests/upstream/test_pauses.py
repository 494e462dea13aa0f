"""Time counts as paused where a call leaves as soon as it may: it has waited for that."""

from __future__ import annotations

import pytest

from upstream.busy import Busy
from upstream.pauses import AT_ONCE, QUIET, Pauses


@pytest.mark.parametrize(("left_at", "has_waited"), [(3.0, True), (3.0 + AT_ONCE, True), (3.1 + AT_ONCE, False)])
def test_a_call_that_leaves_when_it_may_has_waited(left_at: float, has_waited: bool) -> None:
    pauses = Pauses()
    pauses.hold(Busy.CALLS, 3.0, 1.0)
    assert pauses.left(left_at) is has_waited
    assert pauses.seconds == ({Busy.CALLS: left_at - 1.0} if has_waited else {})


def test_a_pause_that_becomes_longer_is_one_pause() -> None:
    pauses = Pauses()
    pauses.hold(Busy.CALLS, 3.0, 1.0)
    pauses.hold(Busy.TOKENS, 5.0, 2.0)
    pauses.left(5.0)
    assert pauses.seconds == {Busy.TOKENS: 4.0}


def test_a_pause_that_ends_early_is_none() -> None:
    pauses = Pauses()
    pauses.hold(Busy.CALLS, 3.0, 1.0)
    pauses.open(2.0)
    assert not pauses.left(3.0)
    assert pauses.seconds == {}


def test_pacing_begins_with_the_first_call_that_waits_and_ends_after_a_quiet_time() -> None:
    pauses = Pauses()
    for since, began in ((0.0, True), (2.0, False)):
        pauses.hold(Busy.CALLS, since + 1.0, since)
        assert pauses.left(since + 1.0) is began
    assert not pauses.is_over(3.0 + QUIET - 0.1)
    assert pauses.is_over(3.0 + QUIET)
    assert not pauses.is_over(3.0 + QUIET)


def test_it_says_what_was_missing() -> None:
    pauses = Pauses()
    assert repr(pauses) == "<Pauses none, not pacing>"
    pauses.add(Busy.QUOTA, 2.0)
    assert repr(pauses) == "<Pauses quota 2.0 s, not pacing>"
