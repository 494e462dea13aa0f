"""A request that is passed on gets a place, an upstream that takes calls, and another one if that fails."""

from __future__ import annotations

import pytest

from batching.errors import (
    ClientGone,
    DeadlineExceeded,
    NoUpstream,
    ProxyError,
    ShuttingDown,
    Unsupported,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.upstream.forwarding_bench import PATH, ForwardingBench
from upstream.breaker import Breaker
from upstream.forwarding import FORWARD
from upstream.member import RETRY_SOON
from upstream.request import Request


def unavailable() -> UpstreamUnavailable:
    return UpstreamUnavailable("no connection")


# One call


def test_an_answer_comes_in_its_pieces_and_is_reported_at_its_end() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].takes = 2.0
    assert bench.ask(body=b'{"ids":[1]}') == b"[1,2]"
    assert bench.upstreams[0].passed == [Request(PATH, b'{"ids":[1]}')]
    (report,) = bench.observer.calls
    assert report == ("http://0", 1, FORWARD, None, 2.0, None, None)


@pytest.mark.parametrize(("lasts", "end"), [(10.0, 10.0), (100.0, 30.0)])
def test_the_first_bytes_have_the_upstreams_time_and_all_of_them_have_the_clients(lasts: float, end: float) -> None:
    bench = ForwardingBench()
    bench.ask(lasts=lasts)
    assert bench.upstreams[0].ends == [end]
    assert set(bench.upstreams[0].stream.ends) == {lasts}


@pytest.mark.parametrize(("lasts", "kind"), [(10.0, DeadlineExceeded), (100.0, UpstreamTimeout)])
def test_an_upstream_is_late_only_if_it_had_its_time(lasts: float, kind: type[ProxyError]) -> None:
    bench = ForwardingBench()
    bench.upstreams[0].failures = [UpstreamTimeout("late")]
    with pytest.raises(kind) as raised:
        bench.ask(lasts=lasts)
    assert raised.value.status == 504
    assert [type(call.error) for call in bench.observer.calls] == ([kind] if kind is UpstreamTimeout else [])


@pytest.mark.parametrize("error", [UpstreamBroke("broke"), ClientGone("gone"), ShuttingDown("over")])
def test_what_ends_an_answer_early_is_told(error: ProxyError) -> None:
    bench = ForwardingBench()
    bench.upstreams[0].pieces = (b"[1", error)
    with pytest.raises(type(error)):
        bench.ask()
    told = [type(call.error) for call in bench.observer.calls]
    assert told == ([type(error)] if isinstance(error, UpstreamError) else [])


def test_an_answer_that_is_not_whole_at_the_clients_deadline_is_too_late() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].pieces = (b"[1", UpstreamTimeout("late"))
    with pytest.raises(DeadlineExceeded):
        bench.ask()


def test_an_answer_that_is_closed_before_its_end_is_reported_as_neither_good_nor_bad() -> None:
    bench = ForwardingBench()
    passage = bench.forwarding.enter(PATH, 100.0)
    answer = passage.open(Request(PATH, b"{}"))
    answer.read()
    assert not answer.is_whole
    for _ in range(2):
        answer.close()
    assert bench.upstreams[0].stream.is_closed
    assert not bench.observer.calls


def test_a_path_that_the_upstreams_do_not_have_is_unknown_and_takes_no_place() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].speaks = "openai"
    with pytest.raises(Unsupported, match="does not have /tokenize: its API is openai") as raised:
        bench.forwarding.enter("/tokenize", 100.0)
    assert raised.value.status == 404
    assert bench.ask()


# Places


def test_so_many_are_under_way_at_once_as_batches_may_be() -> None:
    bench = ForwardingBench(2, each=2)
    passages = [bench.forwarding.enter(PATH, 100.0) for _ in range(4)]
    with pytest.raises(DeadlineExceeded):
        bench.forwarding.enter(PATH, 1.0)
    bench.clock.at(3.0, passages[0].leave)
    bench.forwarding.enter(PATH, 100.0)
    assert bench.clock.now() == 3.0


def test_a_passage_that_is_left_twice_gives_one_place() -> None:
    bench = ForwardingBench()
    passage = bench.forwarding.enter(PATH, 100.0)
    for _ in range(2):
        passage.leave()
    bench.forwarding.enter(PATH, 100.0)
    with pytest.raises(DeadlineExceeded):
        bench.forwarding.enter(PATH, 1.0)


def test_a_client_that_hangs_up_waits_no_more() -> None:
    bench = ForwardingBench()
    bench.forwarding.enter(PATH, 100.0)
    with pytest.raises(ClientGone):
        bench.forwarding.enter(PATH, 100.0, lambda: bench.clock.now() >= 2.0)
    assert bench.clock.now() == 2.0


def test_a_client_that_hangs_up_ends_its_call() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].takes = 2.0
    with pytest.raises(ClientGone):
        bench.ask(has_left=lambda: True)
    assert bench.ask()


def test_a_service_that_stops_ends_what_waits() -> None:
    bench = ForwardingBench()
    bench.forwarding.enter(PATH, 100.0)
    bench.clock.at(5.0, bench.pool.stop)
    with pytest.raises(ShuttingDown):
        bench.forwarding.enter(PATH, 100.0)
    assert bench.clock.now() < 5.5


def test_a_service_that_stops_ends_answers_that_come_without_end() -> None:
    bench = ForwardingBench()
    answer = bench.forwarding.enter(PATH, 100.0).open(Request(PATH, b"{}"))
    assert answer.read() == b"[1"
    bench.pool.stop()
    with pytest.raises(ShuttingDown):
        answer.read()
    answer.close()
    assert (bench.upstreams[0].stream.is_closed, bench.observer.calls) == (True, [])


def test_passed_requests_take_no_slot_of_a_batch() -> None:
    bench = ForwardingBench()
    slots = bench.capacity.batches(0.0)
    passage = bench.forwarding.enter(PATH, 100.0)
    answer = passage.open(Request(PATH, b"{}"))
    assert bench.capacity.batches(0.0) == slots
    answer.close()


# Which upstream


def test_the_upstream_with_the_fewest_passed_requests_is_asked() -> None:
    bench = ForwardingBench(2, each=4)
    for _ in range(4):
        bench.forwarding.enter(PATH, 100.0).open(Request(PATH, b"{}"))
    assert bench.asked == [2, 2]


def test_an_upstream_that_does_not_answer_its_health_check_is_not_asked_while_another_does() -> None:
    bench = ForwardingBench(2)
    bench.pool.on_state("http://0", ready=False)
    for _ in range(3):
        bench.ask()
    assert bench.asked == [0, 3]
    bench.pool.on_state("http://1", ready=False)
    bench.ask()
    assert sum(bench.asked) == 4


def test_an_ejected_upstream_is_not_asked() -> None:
    bench = ForwardingBench()
    bench.eject()
    assert bench.observer.ejections == ["http://0"]
    with pytest.raises(NoUpstream) as raised:
        bench.ask()
    assert (raised.value.status, bench.asked) == (503, [Breaker.FAILURES])
    assert bench.capacity.outage is not None


def test_one_that_has_been_ejected_is_asked_again_after_its_time_and_gets_calls_if_it_answers() -> None:
    bench = ForwardingBench()
    bench.eject()
    bench.clock.sleep(RETRY_SOON)
    assert bench.ask() == b"[1,2]"
    assert bench.capacity.outage is None
    assert bench.ask() == b"[1,2]"


def test_one_that_fails_again_is_left_alone_for_longer() -> None:
    bench = ForwardingBench()
    bench.eject()
    bench.clock.sleep(RETRY_SOON)
    bench.upstreams[0].failures = [unavailable()]
    for kind in (UpstreamUnavailable, NoUpstream):
        with pytest.raises(kind):
            bench.ask()
    assert bench.asked == [Breaker.FAILURES + 1]


def test_a_request_waits_for_the_end_of_a_pause_that_the_upstream_has_asked_for() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].failures = [UpstreamOverloaded("busy", pause=3.0)]
    with pytest.raises(UpstreamOverloaded):
        bench.ask()
    bench.ask()
    assert bench.clock.now() == 3.0


def test_a_request_whose_deadline_is_before_the_end_of_the_pause_is_told_at_once() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].failures = [UpstreamOverloaded("busy", pause=30.0)]
    with pytest.raises(UpstreamOverloaded):
        bench.ask()
    with pytest.raises(UpstreamOverloaded) as raised:
        bench.ask(lasts=10.0)
    assert (raised.value.status, raised.value.retry_after, bench.clock.now()) == (429, 30.0, 0.0)


def test_a_client_that_hangs_up_during_the_pause_is_not_waited_for() -> None:
    bench = ForwardingBench()
    bench.upstreams[0].failures = [UpstreamOverloaded("busy", pause=30.0)]
    with pytest.raises(UpstreamOverloaded):
        bench.ask()
    with pytest.raises(ClientGone):
        bench.ask(has_left=lambda: bench.clock.now() >= 1.0)
    assert bench.asked == [1]
