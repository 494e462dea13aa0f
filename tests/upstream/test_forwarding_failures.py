"""A request that fails is passed on to another upstream, or waits for one, unless it may be the cause itself."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from batching.errors import (
    ClientGone,
    NoUpstream,
    ProxyError,
    Unsupported,
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.upstream.endpoint_bench import batch_of
from tests.upstream.forwarding_bench import PATH, ForwardingBench
from upstream.breaker import Breaker
from upstream.forwarded import Forwarded
from upstream.forwarding import Passage


def unavailable() -> UpstreamUnavailable:
    return UpstreamUnavailable("no connection")


@pytest.mark.parametrize(
    "error",
    [unavailable(), UpstreamBroke("broke"), UpstreamGateway("bad gateway"), UpstreamOverloaded("busy", pause=0.0)],
)
def test_what_failed_without_being_at_fault_is_asked_of_another_upstream_once(error: UpstreamError) -> None:
    bench = ForwardingBench(2)
    bench.upstreams[0].failures = [error]
    assert bench.ask() == b"[1,2]"
    assert bench.asked == [1, 1]
    assert [(call.upstream, call.retry_reason) for call in bench.observer.calls] == [
        ("http://0", None),
        ("http://1", error.retry_reason),
    ]


def test_a_second_failure_is_told() -> None:
    bench = ForwardingBench(3)
    for upstream in bench.upstreams:
        upstream.failures = [unavailable()]
    with pytest.raises(UpstreamUnavailable):
        bench.ask()
    assert sum(bench.asked) == 2


@pytest.mark.parametrize(
    "error",
    [
        UpstreamFailed("throws"),
        UpstreamRejected("too long", status=422),
        UpstreamMisconfigured("401"),
        Unsupported("404", status=404),
        ClientGone("gone"),
    ],
)
def test_what_the_request_may_be_the_cause_of_is_asked_once_and_ejects_no_upstream(error: ProxyError) -> None:
    bench = ForwardingBench(2)
    for number in range(3 * Breaker.FAILURES):
        for upstream in bench.upstreams:
            upstream.failures = [error.copy()]
        with pytest.raises(type(error)):
            bench.ask(body=b"%d" % number)
    assert sum(bench.asked) == 3 * Breaker.FAILURES
    assert not bench.observer.ejections


def test_a_request_waits_out_a_restart_of_the_only_upstream() -> None:
    bench = ForwardingBench(wait=5.0)
    bench.upstreams[0].failures = [unavailable() for _ in range(Breaker.FAILURES + 1)]
    assert bench.ask() == b"[1,2]"
    assert 1.0 < bench.clock.now() < 5.0


@pytest.mark.parametrize(("lasts", "told_by"), [(100.0, 5.0), (2.0, 2.0)])
def test_a_request_waits_so_long_for_an_upstream_that_can_be_reached(lasts: float, told_by: float) -> None:
    bench = ForwardingBench(wait=5.0)
    bench.upstreams[0].failures = [unavailable() for _ in range(99)]
    with pytest.raises((UpstreamUnavailable, NoUpstream)) as raised:
        bench.ask(lasts=lasts)
    assert (raised.value.status, told_by - 0.3 < bench.clock.now() <= told_by) == (503, True)


def test_a_client_that_hangs_up_in_an_outage_is_not_waited_for() -> None:
    bench = ForwardingBench(wait=5.0)
    bench.upstreams[0].failures = [unavailable() for _ in range(99)]
    with pytest.raises(ClientGone):
        bench.ask(has_left=lambda: bench.clock.now() >= 1.0)


def test_no_request_waits_for_an_upstream_that_answers_badly() -> None:
    bench = ForwardingBench(wait=5.0)
    bench.upstreams[0].failures = [UpstreamFailed("throws") for _ in range(3 * Breaker.FAILURES)]
    for number in range(2 * Breaker.FAILURES):
        with pytest.raises(UpstreamError):
            bench.pool.send(batch_of(f"text {number}"))
    with pytest.raises(NoUpstream) as raised:
        bench.ask()
    assert (raised.value.status, bench.clock.now()) == (502, 0.0)


def test_retries_are_bounded_by_a_share_of_the_calls() -> None:
    bench = ForwardingBench(2, each=9)
    bench.pool.on_state("http://1", ready=False)
    for _ in range(30):
        bench.upstreams[0].failures = [UpstreamGateway("bad gateway")]
        try:
            bench.ask()
        except UpstreamGateway:
            continue
    assert 10 <= bench.asked[1] <= 13


def test_an_answer_that_breaks_within_its_body_is_not_asked_for_again() -> None:
    bench = ForwardingBench(2)
    for upstream in bench.upstreams:
        upstream.pieces = (b"[1", UpstreamBroke("broke"))
    with pytest.raises(UpstreamBroke):
        bench.ask()
    assert sum(bench.asked) == 1


def test_a_bug_of_ours_says_nothing_about_the_upstream_and_keeps_nothing() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].failures = [RuntimeError("a bug")]
    with pytest.raises(RuntimeError):
        bench.ask()
    assert bench.ask() == b"[1,2]"
    assert len(bench.observer.calls) == 1


@pytest.mark.parametrize("error", [UpstreamBroke("broke"), UpstreamTimeout("late"), UpstreamRejected("no", status=422)])
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_failure_leaves_nothing_for_the_collector(error: ProxyError, is_begun: bool) -> None:
    bench = ForwardingBench()
    gc.collect()
    gc.disable()
    before = passing()
    try:
        for _ in range(3):
            if is_begun:
                bench.upstreams[0].pieces = (b"[1", error.copy())
            else:
                bench.upstreams[0].failures = [error.copy()]
            with suppress(ProxyError):
                bench.ask()
        bench.upstreams[0].pieces = ()  # which hold on to the error that was raised
        assert passing() == before
    finally:
        gc.enable()


def passing() -> int:
    """Return how many passages and answers there are; errors of other tests may hold on to some."""
    return sum(isinstance(each, Passage | Forwarded) for each in gc.get_objects())


def test_a_forwarding_says_what_it_has() -> None:
    bench = ForwardingBench()
    bench.forwarding.enter(PATH, 1.0)
    assert repr(bench.forwarding) == "<Forwarding <Places: 0 free, 0 requests wait>, retries <Budget 10.0 of 10>>"
