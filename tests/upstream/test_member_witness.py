"""The failure that would eject an upstream asks for an input that it has accepted, unless no input can be the cause."""

from __future__ import annotations

import pytest

from batching.errors import UpstreamBroke, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.support.fakes import KEY, items_of
from tests.upstream.member_bench import THREW, MemberBench
from upstream.breaker import Breaker
from upstream.member import LONGEST_WITNESS, WITNESS

DOWN = UpstreamUnavailable("refused")


def test_the_failure_that_would_eject_it_asks_for_something_it_has_accepted() -> None:
    bench = MemberBench()
    bench.end(None, "good", "better")
    bench.fail(Breaker.FAILURES - 2)
    assert bench.witness(THREW) is None
    bench.fail(1)
    call = bench.witness(THREW)
    assert call is not None
    assert (call.key, call.items, call.reason) == (KEY, items_of("good"), WITNESS)


@pytest.mark.parametrize(
    "error", [DOWN, UpstreamBroke("reset"), UpstreamTimeout("late"), UpstreamError("599")], ids=repr
)
def test_failures_that_no_input_causes_ask_for_none(error: UpstreamError) -> None:
    bench = MemberBench()
    bench.end(None, "good")
    bench.fail(Breaker.FAILURES - 1)
    assert bench.witness(error) is None


def test_inputs_of_a_failure_that_is_counted_ask_for_none() -> None:
    bench = MemberBench()
    for number in range(Breaker.FAILURES - 1):
        bench.end(THREW, f"bad {number}")
    assert bench.witness(THREW, "bad 0") is None
    assert bench.witness(THREW, "new") is not None


def test_nor_does_a_probe() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES)
    bench.member.breaker.probe()
    assert bench.witness(THREW) is None


def test_one_is_asked_at_a_time() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES - 1)
    assert bench.witness(THREW) is not None
    assert bench.witness(THREW) is None
    assert not bench.end(THREW)  # left to the answer
    bench.member.heard_witness(is_well=False)
    assert bench.end(THREW)


def test_one_that_is_answered_well_begins_the_count_anew() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES - 1)
    bench.witness(THREW)
    bench.member.heard_witness(is_well=True)
    assert not bench.end(THREW)
    assert bench.member.breaker.is_closed


@pytest.mark.parametrize(("length", "is_kept"), [(LONGEST_WITNESS - 2, True), (LONGEST_WITNESS - 1, False)])
def test_long_inputs_are_not_kept(length: int, is_kept: bool) -> None:
    bench = MemberBench()
    bench.end(None, "x" * length)  # and its quotation marks
    bench.fail(Breaker.FAILURES - 1)
    call = bench.witness(THREW)
    assert call is not None
    assert bool(call.items) is is_kept
