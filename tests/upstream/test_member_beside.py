"""What requests beside the batches say of an upstream: that it cannot be reached, or has too much to do."""

from __future__ import annotations

import pytest

from batching.errors import UpstreamBroke, UpstreamError, UpstreamGateway, UpstreamOverloaded, UpstreamUnavailable
from tests.upstream.member_bench import MOST, MemberBench
from upstream.breaker import Breaker


def beside(bench: MemberBench, error: UpstreamError, body: bytes = b"{}", now: float = 0.0) -> bool:
    return bench.member.failed_beside(error, body, now, now)


@pytest.mark.parametrize(
    ("error", "differ", "ejects"),
    [
        (UpstreamUnavailable("refused"), False, True),
        (UpstreamBroke("reset"), True, True),
        (UpstreamBroke("reset"), False, False),
        (UpstreamGateway("502"), True, True),
        (UpstreamOverloaded("429", pause=0.0), True, False),
    ],
)
def test_so_many_failures_in_a_row_eject_it(error: UpstreamError, differ: bool, ejects: bool) -> None:
    bench = MemberBench()
    ejected = [beside(bench, error, b"%d" % (number * differ)) for number in range(Breaker.FAILURES)]
    assert ejected == [False] * (Breaker.FAILURES - 1) + [ejects]
    assert bench.member.in_flight == 0


def test_they_count_together_with_those_of_batches() -> None:
    bench = MemberBench()
    for number in range(Breaker.FAILURES - 1):
        bench.end(UpstreamBroke("reset"))
        assert bench.member.breaker.is_closed, number
    assert beside(bench, UpstreamBroke("reset"))


def test_one_that_is_ejected_hears_nothing_of_them_until_its_time_is_over() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES, UpstreamUnavailable("refused"))
    assert not beside(bench, UpstreamUnavailable("refused"))
    assert not bench.member.answered_beside(0.0)
    until = bench.member.probe_due
    assert beside(bench, UpstreamUnavailable("refused"), now=until)
    assert bench.member.probe_due > until
    assert bench.member.answered_beside(bench.member.probe_due)
    assert bench.member.breaker.is_closed


def test_while_a_batch_tries_it_only_that_one_counts() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES, UpstreamUnavailable("refused"))
    bench.member.breaker.probe()
    assert not beside(bench, UpstreamUnavailable("refused"), now=100.0)
    assert not bench.member.answered_beside(100.0)
    assert not bench.member.breaker.is_closed


def test_one_that_answers_batches_badly_is_not_shown_to_work_by_other_requests() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES)
    assert not bench.member.answered_beside(100.0)
    assert not bench.member.breaker.is_closed


def test_a_pause_that_is_asked_for_holds_for_batches_too() -> None:
    bench = MemberBench()
    beside(bench, UpstreamOverloaded("429", pause=7.0))
    assert (bench.member.not_before, bench.member.most_in_flight) == (7.0, MOST // 2)
