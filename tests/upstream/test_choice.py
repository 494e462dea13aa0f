"""The upstream for a call: in use, not paused, answering, with room, and with the least to do."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeUpstream
from upstream.choice import due_for_probe, elsewhere, least_busy, usable
from upstream.member import Member

NOW = 100.0


def member(
    in_flight: int = 0, calls: int = 0, *, is_up: bool = True, paused: bool = False, ejected: bool = False
) -> Member:
    made = Member(FakeUpstream(), 4, has_others=True)
    made.in_flight, made.calls, made.is_up = in_flight, calls, is_up
    made.not_before = NOW + 5 if paused else 0.0
    if ejected:
        for number in range(20):
            made.breaker.failed(NOW, [b"%d" % number])
        assert not made.breaker.is_closed
    return made


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (member(3, 9), member(0, 0, ejected=True)),
        (member(3, 9), member(0, 0, paused=True)),
        (member(3, 9), member(0, 0, is_up=False)),
        (member(3, 9), member(4, 0)),
        (member(1, 9), member(2, 0)),
        (member(1, 3), member(1, 4)),
    ],
)
def test_the_better_one_gets_the_call_wherever_it_stands(better: Member, worse: Member) -> None:
    assert least_busy([better, worse], None, NOW) is better
    assert least_busy([worse, better], None, NOW) is better


def test_one_to_be_avoided_comes_after_all_that_ask_for_no_pause() -> None:
    first, other, paused = member(), member(4, 9, is_up=False), member(paused=True)
    assert least_busy([first, other], first, NOW) is other
    assert least_busy([first, paused], first, NOW) is first


def test_where_all_are_ejected_there_is_none() -> None:
    assert least_busy([member(ejected=True)], None, NOW) is None


def test_elsewhere_is_only_what_gets_calls_as_usual() -> None:
    first, well = member(), member(3)
    others = [member(ejected=True), member(paused=True), member(is_up=False)]
    assert elsewhere([first, *others], first, NOW) is None
    assert elsewhere([first, *others, well], first, NOW) is well


def test_those_that_do_not_answer_are_left_out_while_another_does() -> None:
    up, down = member(), member(is_up=False)
    assert usable([up, down]) == [up]
    assert usable([down]) == [down]
    assert usable([member(ejected=True), down])[1] is down


def test_a_probe_is_due_only_where_an_ejection_is_over() -> None:
    well, ejected = member(), member(ejected=True)
    assert due_for_probe([well, ejected], None, NOW) is None
    assert due_for_probe([well, ejected], None, NOW + 60) is ejected
    assert due_for_probe([well, ejected], ejected, NOW + 60) is None
