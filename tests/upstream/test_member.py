"""One upstream as the pool sees it: which ends of calls count against it, and how many batches it may have when."""

from __future__ import annotations

import pytest

from batching import Batch
from batching.call import Part
from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.fakes import KEY, FakeUpstream, call_of, items_of
from upstream.breaker import Breaker
from upstream.member import HUNG, LONGEST_PAUSE, LONGEST_WITNESS, WITNESS, Member

THREW = UpstreamFailed("500")
DOWN = UpstreamUnavailable("refused")
MOST = 4


def batch_of(*texts: str) -> Batch:
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call_of(*texts), 0, len(texts)))
    return batch


class MemberBench:
    """A member, and calls that begin and end at it."""

    def __init__(self, *, has_others: bool = False, timeout: float = 30.0) -> None:
        upstream = FakeUpstream()
        upstream.timeout = timeout
        self.member = Member(upstream, MOST, has_others=has_others)
        self._number = 0

    def end(self, error: UpstreamError | None, *texts: str, began: float = 0.0, now: float = 0.0) -> bool:
        """Let a call end; return whether that ejects the upstream."""
        self._number += 1
        self.member.in_flight += 1
        return self.member.ended(batch_of(*texts or (f"text {self._number}",)), error, began, now)

    def witness(self, error: UpstreamError, *texts: str) -> Batch | None:
        self._number += 1
        return self.member.witness(batch_of(*texts or (f"text {self._number}",)), error, 0.0)

    def fail(self, times: int, error: UpstreamError = THREW) -> None:
        for _ in range(times):
            self.end(error)

    @property
    def slots(self) -> list[Slots]:
        return list(self.member.slots(0.0))


# Which ends count


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (None, False),
        (THREW, True),
        (DOWN, True),
        (UpstreamError("599"), True),
        (UpstreamBroke("reset"), True),
        (UpstreamGateway("502"), True),
        (UpstreamProtocolError("nonsense"), True),
        (UpstreamUnavailable("503", pause=0.0), True),
        (UpstreamRejected("422", status=422), False),
        (UpstreamOverloaded("429", pause=0.0), False),
        (UpstreamTimeout("late"), False),  # after no time
        (UpstreamMisconfigured("401"), False),  # the only one there is
    ],
    ids=repr,
)
def test_so_many_failures_of_different_inputs_in_a_row_eject_it(error: UpstreamError | None, counts: bool) -> None:
    bench = MemberBench()
    ejected = [bench.end(error) for _ in range(Breaker.FAILURES)]
    assert ejected == [False] * (Breaker.FAILURES - 1) + [counts]


@pytest.mark.parametrize("error", [DOWN, UpstreamMisconfigured("401")], ids=repr)
def test_failures_that_no_input_can_cause_count_whatever_the_inputs(error: UpstreamError) -> None:
    bench = MemberBench(has_others=True)
    assert [bench.end(error, "same") for _ in range(Breaker.FAILURES)][-1]


@pytest.mark.parametrize("error", [THREW, UpstreamError("599"), UpstreamBroke("reset")], ids=repr)
def test_others_of_one_input_do_not(error: UpstreamError) -> None:
    bench = MemberBench(has_others=True)
    assert not any(bench.end(error, "same") for _ in range(10 * Breaker.FAILURES))


@pytest.mark.parametrize("between", [None, UpstreamRejected("422", status=422)], ids=repr)
def test_a_call_that_was_answered_between_begins_the_count_anew(between: UpstreamError | None) -> None:
    bench = MemberBench()
    for _ in range(10):
        bench.fail(Breaker.FAILURES - 1)
        assert not bench.end(between)
    assert bench.member.breaker.is_closed


@pytest.mark.parametrize(
    ("has_others", "timeout", "took", "succeeded_at", "ejects"),
    [
        (True, 30.0, 30.0, NOW, True),
        (True, 30.0, HUNG, NOW, True),
        (True, 30.0, HUNG - 0.001, NOW, False),
        (True, 2.0, 2.0, NOW, True),  # all the time that a call gets there
        (True, 30.0, 30.0, 99.0, True),
        (True, 30.0, 30.0, 101.0, False),  # another came back meanwhile
        (False, 30.0, 30.0, NOW, False),
    ],
)
def test_a_call_that_hangs_ejects_it_at_once_where_others_are_there(
    has_others: bool, timeout: float, took: float, succeeded_at: float, ejects: bool
) -> None:
    bench = MemberBench(has_others=has_others, timeout=timeout)
    if succeeded_at != NOW:
        bench.end(None, began=succeeded_at, now=succeeded_at)
    assert bench.end(UpstreamTimeout("late"), began=100.0, now=100.0 + took) is ejects


@pytest.mark.parametrize(
    ("errors", "is_bad"),
    [
        ([], False),
        ([THREW], True),
        ([UpstreamProtocolError("nonsense")], True),
        ([UpstreamMisconfigured("401")], True),
        ([DOWN], False),
        ([UpstreamBroke("reset")], False),
        ([UpstreamGateway("502")], False),
        ([UpstreamTimeout("late")], False),
        ([THREW, DOWN], False),
        ([DOWN, THREW], True),
        ([THREW, UpstreamOverloaded("429")], True),  # which says nothing new
    ],
    ids=str,
)
def test_its_latest_failure_tells_whether_it_answers_badly_or_not_at_all(
    errors: list[UpstreamError], is_bad: bool
) -> None:
    bench = MemberBench(has_others=True)
    for error in errors:
        bench.end(error)
    assert bench.member.answers_badly is is_bad


# How many batches


def test_a_well_one_may_have_as_many_as_the_settings_say() -> None:
    bench = MemberBench()
    bench.member.in_flight = 1
    assert bench.slots == [Slots(NOW, 1), Slots(NOW, MOST - 1)]
    assert bench.member.is_steady(0.0)


def test_a_doubtful_one_gets_one_at_a_time_until_a_call_succeeds() -> None:
    bench = MemberBench()
    bench.fail(Breaker.DOUBTFUL - 1)
    assert bench.member.most_in_flight == MOST
    bench.fail(1)
    assert (bench.member.most_in_flight, bench.slots) == (1, [Slots(NOW, 0), Slots(NOW, 1)])
    assert not bench.member.is_steady(0.0)
    bench.end(None)
    assert bench.member.most_in_flight == MOST


def test_a_paused_one_may_have_them_later() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=2.0))
    assert bench.slots == [Slots(NOW, 0), Slots(2.0, MOST // 2)]


def test_it_is_asked_again_after_the_longest_pause() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=1e9))
    assert bench.member.not_before == LONGEST_PAUSE


def test_an_ejected_one_may_have_one_later_and_none_while_that_one_is_under_way() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES)
    assert bench.slots == [Slots(NOW, 0), Slots(Breaker.FIRST, 1)]
    assert [bench.member.wants_probe(now) for now in (0.0, Breaker.FIRST)] == [False, True]
    bench.member.breaker.probe()
    bench.member.in_flight = 1
    assert bench.slots == [Slots(NOW, 1)]


def test_one_that_was_seen_to_answer_may_be_tried_at_once() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES, UpstreamUnavailable("503", pause=30.0))
    assert not bench.member.wants_probe(0.0)
    bench.member.readmit()
    assert bench.member.wants_probe(0.0)


def test_that_ends_no_pause_of_one_that_is_not_ejected() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=30.0))
    bench.member.readmit()
    assert bench.member.not_before == 30.0


# Witnesses


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


def test_it_says_how_it_fares() -> None:
    bench = MemberBench()
    bench.member.is_up = False
    assert repr(bench.member) == (
        "<http://upstream: down, 0 in flight, <Breaker closed, 0 different failures in a row>, <Window 4.00 of 4>>"
    )
