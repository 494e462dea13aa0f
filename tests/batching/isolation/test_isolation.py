"""A refused batch costs nobody but the guilty their answer, within a bounded number of extra calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching import Batcher, BatchKey, FixedTiming, SystemClock
from batching.errors import ProxyError, Unresolved, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from batching.isolation.bisection import most_calls
from batching.isolation.isolation import ISOLATION_FLOOR, Isolation
from batching.isolation.verdicts import MAX_VERDICTS, VERDICT_TTL, Verdicts
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, items_of, queue_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching import Batch, BatchQueue, Call

PATIENCE = 10.0
REFUSAL = UpstreamRejected("too long", status=422, error_type="Tokenizer")


class PickyUpstream(FakeUpstream):
    """Refuses batches with a poison text, or of more than ``most`` items."""

    def __init__(self, clock: FakeClock, *, poison: Sequence[str] = (), most: int = 1000) -> None:
        super().__init__(clock)
        self.poison = set(items_of(*poison))
        self.most = most
        #: What happens at call number so-and-so instead.
        self.accidents: dict[int, ProxyError] = {}

    def send(self, batch: Batch) -> list[bytes]:
        vectors = super().send(batch)
        if accident := self.accidents.get(len(self.batches)):
            raise accident
        count = len(batch.items)
        if count > self.most:
            raise UpstreamRejected("too much at once", status=413, words="quotes a neighbour")
        if self.poison & set(batch.items):
            text = "too long" if count == 1 else f"the upstream refused this batch of {count} inputs"
            raise UpstreamRejected(text, status=422, error_type="Tokenizer", words="quotes a neighbour")
        return vectors


class Bench:
    """A batcher run by the test, on the fake clock."""

    def __init__(self, upstream: PickyUpstream, clock: FakeClock, **limits: int) -> None:
        self.clock = clock
        self.upstream = upstream
        self.queue: BatchQueue = queue_of(clock, **limits)
        self.batcher = Batcher(self.queue, upstream, clock, threads=1)

    def submit(self, *texts: str, key: BatchKey = KEY, deadline: float = 1e9) -> Call:
        call = call_of(*texts, key=key, deadline=deadline)
        self.batcher.submit(call)
        return call

    def step(self) -> None:
        """Send a batch, and search it if it is refused."""
        batch = self.queue.take()
        assert batch is not None
        self.batcher._dispatch(batch)

    def run(self) -> None:
        """Send all that waits."""
        while self.queue.queued_items:
            self.step()

    def searches(self) -> list[int]:
        """Say how many calls each search took."""
        lengths = []
        for batch in self.upstream.batches:
            if batch.reason != "isolation":
                lengths.append(0)
            else:
                lengths[-1] += 1
        return lengths

    def verdict_on(self, call: Call) -> ProxyError | None:
        assert call.done
        if call.error is None:
            assert call.results == [vector_of(item) for item in call.items]
        return call.error


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def texts_of(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


@pytest.mark.parametrize("guilty", range(32))
def test_one_poison_text_among_31_clean_ones_is_refused_alone(clock: FakeClock, guilty: int) -> None:
    texts = texts_of(32)
    bench = Bench(PickyUpstream(clock, poison=[texts[guilty]]), clock)
    calls = [bench.submit(text) for text in texts]
    bench.run()
    verdicts = [bench.verdict_on(call) for call in calls]
    assert [number for number, verdict in enumerate(verdicts) if verdict] == [guilty]
    verdict = verdicts[guilty]
    assert isinstance(verdict, UpstreamRejected)
    assert (verdict.status, verdict.message, verdict.error_type) == (422, "too long", "Tokenizer")
    assert len(bench.upstream.batches) <= 14


@settings(derandomize=True, max_examples=300, deadline=None)
@given(guilty=st.sets(st.integers(0, 31)))
def test_whoever_is_guilty_everybody_is_told_what_became_of_their_own_text(guilty: set[int]) -> None:
    """Be it all of them. Each search stays within its bound, and soon there are none, for batches become smaller."""
    clock = FakeClock()
    texts = texts_of(32)
    bench = Bench(PickyUpstream(clock, poison=[texts[position] for position in guilty]), clock)
    calls = [bench.submit(text) for text in texts]
    bench.run()
    assert {position for position, call in enumerate(calls) if bench.verdict_on(call)} == guilty
    assert all(isinstance(calls[position].error, UpstreamRejected) for position in guilty)
    assert max(bench.searches(), default=0) <= most_calls(32)
    assert sum(bench.searches()) <= 2 * len(guilty) + 16


@settings(derandomize=True, max_examples=100, deadline=None)
@given(guilty=st.sets(st.integers(0, 31), max_size=6), size=st.integers(1, 7))
def test_clients_of_several_texts_share_the_fate_of_their_own_texts_only(guilty: set[int], size: int) -> None:
    """Some of these lie in two batches: their items cannot return, and are asked about."""
    clock = FakeClock()
    texts = texts_of(32)
    bench = Bench(PickyUpstream(clock, poison=[texts[position] for position in guilty]), clock, max_batch_size=16)
    calls = {first: bench.submit(*texts[first : first + size]) for first in range(0, 32, size)}
    bench.run()
    refused = {first for first, call in calls.items() if bench.verdict_on(call)}
    assert refused == {position - position % size for position in guilty}
    assert all(isinstance(calls[first].error, UpstreamRejected) for first in refused)


def test_whoever_returns_is_in_front_next_time_and_its_client_hears_nothing(clock: FakeClock) -> None:
    texts = texts_of(8)
    bench = Bench(PickyUpstream(clock, poison=[texts[0]]), clock, max_batch_size=8)
    calls = [bench.submit(text) for text in texts]
    clock.time += 0.001
    calls.append(bench.submit("came later"))
    bench.step()
    assert [bench.upstream.batches[at].items for at in (1, 2, 3)] == [items_of(*texts[:size]) for size in (4, 2, 1)]
    assert [call.done for call in calls] == [True] + [False] * 8
    assert not any(call.event.is_set() for call in calls[1:])
    bench.step()
    assert bench.upstream.batches[4].items[0] == items_of(texts[1])[0]
    bench.run()
    assert not any(bench.verdict_on(call) for call in calls[1:])


def test_what_could_not_be_asked_about_goes_alone_next_time_and_is_then_cleared(clock: FakeClock) -> None:
    texts = texts_of(8)
    bench = Bench(PickyUpstream(clock, most=4, poison=texts), clock, max_batch_size=8)
    calls = [bench.submit(text) for text in texts]
    bench.run()  # it may only have been too large: nobody returns
    doubted = [text for text, call in zip(texts, calls, strict=True) if isinstance(call.error, Unresolved)]
    assert len(doubted) == 4
    bench.upstream.poison = set(items_of(doubted[0]))
    bench.upstream.batches.clear()
    again = [bench.submit(text) for text in doubted]
    bench.run()
    assert bench.upstream.sizes == [1] * len(doubted)
    assert isinstance(bench.verdict_on(again[0]), UpstreamRejected)
    assert not any(bench.verdict_on(call) for call in again[1:])
    bench.upstream.batches.clear()
    for text in doubted[1:]:
        assert bench.submit(text).key == KEY
    bench.run()


def test_a_verdict_holds_for_a_while_without_asking_again(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock, poison=["bad"]), clock)
    calls = [bench.submit("bad"), bench.submit("good")]
    bench.run()
    assert [type(bench.verdict_on(call)) for call in calls] == [UpstreamRejected, type(None)]
    asked = len(bench.upstream.batches)
    for texts in (["bad"], ["fine", "bad"]):
        with pytest.raises(UpstreamRejected, match="too long"):
            bench.submit(*texts)
    assert bench.queue.calls == 0
    bench.submit("bad", key=BatchKey("/embed", b',"truncate":true'))
    clock.time += VERDICT_TTL
    bench.submit("bad")
    bench.run()
    assert len(bench.upstream.batches) == asked + 2


def test_a_client_alone_in_its_batch_gets_the_upstreams_words_and_costs_no_search(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock, poison=["bad"]), clock)
    call = bench.submit("good", "bad", "fine")
    bench.run()
    verdict = bench.verdict_on(call)
    assert verdict is not None
    assert (verdict.status, verdict.message) == (422, "quotes a neighbour")
    assert bench.upstream.sizes == [3]


def test_a_neighbours_words_are_never_passed_on(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock, poison=["bad", "worse"]), clock)
    calls = [bench.submit("good", "bad"), bench.submit("fine"), bench.submit("worse")]
    bench.run()
    messages = [None if (error := bench.verdict_on(call)) is None else error.message for call in calls]
    assert messages == ["too long", None, "too long"]


@pytest.mark.parametrize("most", [4, 8, 16])
def test_an_upstream_that_takes_less_than_it_says_soon_gets_less(clock: FakeClock, most: int) -> None:
    bench = Bench(PickyUpstream(clock, most=most), clock, max_calls=10_000, max_queued_items=10_000)
    for number in range(50):
        calls = [bench.submit(f"{number}, {each}") for each in range(32)]
        bench.run()
        assert not any(bench.verdict_on(call) for call in calls)
    assert len(bench.upstream.batches) < 50 * (32 / most) * 1.5


def test_a_batch_that_was_only_too_large_is_halved_until_it_fits(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock, most=16), clock)
    calls = [bench.submit(text) for text in texts_of(32)]
    bench.run()
    assert not any(bench.verdict_on(call) for call in calls)
    assert bench.upstream.sizes == [32, 16, 16]


@pytest.mark.parametrize("accident", [UpstreamUnavailable("not ready", retry_after=1), UpstreamTimeout("too late")])
def test_a_search_ends_when_the_upstream_is_in_trouble(clock: FakeClock, accident: ProxyError) -> None:
    texts = texts_of(32)
    bench = Bench(PickyUpstream(clock, poison=[texts[31]]), clock)
    bench.upstream.accidents = {3: accident}
    calls = [bench.submit(text) for text in texts]
    bench.run()
    assert bench.upstream.sizes == [32, 16, 8]
    verdicts = [bench.verdict_on(call) for call in calls]
    assert verdicts[:16] == [None] * 16
    assert {type(verdict) for verdict in verdicts[16:24]} == {type(accident)}
    assert {type(verdict) for verdict in verdicts[24:]} == {Unresolved}


@pytest.mark.parametrize(
    "error", [UpstreamUnavailable("no", retry_after=1), UpstreamTimeout("late"), ProxyError("bug")]
)
def test_what_is_not_the_inputs_fault_is_never_searched(clock: FakeClock, error: ProxyError) -> None:
    bench = Bench(PickyUpstream(clock), clock)
    bench.upstream.accidents = {1: error}
    calls = [bench.submit(text) for text in texts_of(8)]
    bench.run()
    assert bench.upstream.sizes == [8]
    assert [bench.verdict_on(call) for call in calls] == [error] * 8


def test_the_innocent_do_not_wait_for_the_search_to_end(clock: FakeClock) -> None:
    texts = texts_of(32)
    bench = Bench(PickyUpstream(clock, poison=[texts[31]]), clock)
    bench.upstream._latency = lambda size: 1.0
    calls = [bench.submit(text) for text in texts]
    bench.run()
    assert {call.inference_time for call in calls[:16]} == {2.0}
    assert {call.inference_time for call in calls[16:24]} == {3.0}
    assert calls[31].inference_time == clock.time > 5.0


def test_a_client_of_several_texts_gets_all_of_them_when_the_search_is_over(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock, poison=["bad"]), clock)
    several = bench.submit(*texts_of(20))
    alone = [bench.submit(text) for text in ("bad", "good")]
    bench.run()
    assert [type(bench.verdict_on(call)) for call in (several, *alone)] == [type(None), UpstreamRejected, type(None)]


def test_a_flood_of_poison_takes_no_more_than_half_of_the_calls(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock), clock, max_batch_size=8, max_calls=10_000, max_queued_items=10_000)
    for number in range(200):
        texts = [f"{number}, {each}" for each in range(8)]
        bench.upstream.poison |= set(items_of(*texts))
        for text in texts:
            bench.submit(text)
        bench.run()
    ordinary = sum(batch.reason != "isolation" for batch in bench.upstream.batches)
    extra = len(bench.upstream.batches) - ordinary
    assert extra <= ISOLATION_FLOOR
    for number in range(200):  # clean traffic earns the next searches
        bench.submit(f"clean {number}")
        bench.run()
    assert isinstance(bench.batcher._isolation, Isolation)
    assert bench.batcher._isolation._budget.spend()


def test_batches_become_smaller_while_many_inputs_are_refused_and_grow_again(clock: FakeClock) -> None:
    bench = Bench(PickyUpstream(clock), clock, max_calls=10_000, max_queued_items=10_000)
    for number in range(20):
        texts = [f"{number}, {each}" for each in range(32)]
        bench.upstream.poison |= set(items_of(texts[0], texts[9], texts[20]))
        for text in texts:
            bench.submit(text)
        bench.run()
    ordinary = [len(batch.items) for batch in bench.upstream.batches if batch.reason != "isolation"]
    assert max(ordinary[-10:]) <= 8
    for number in range(200):
        for each in range(32):
            bench.submit(f"clean {number}, {each}")
        bench.run()
    assert bench.upstream.sizes[-1] == 32


def test_one_search_at_a_time(clock: FakeClock) -> None:
    """Real threads: the second refused batch waits for the first search to end."""
    inside = threading.Semaphore(0)
    go_on = threading.Event()
    at_once = []

    class Slow(PickyUpstream):
        def send(self, batch: Batch) -> list[bytes]:
            if batch.reason == "isolation":
                at_once.append(1)
                inside.release()
                assert go_on.wait(PATIENCE)
                assert len(at_once) == 1
                at_once.pop()
            return super().send(batch)

    upstream = Slow(clock, poison=["bad 0", "bad 1"])
    queue = queue_of(FakeClock(), timing=lambda: FixedTiming(60.0), max_batch_size=2)
    queue._clock = SystemClock()
    batcher = Batcher(queue, upstream, SystemClock(), threads=2)
    batcher.start()
    calls = [call_of(text, deadline=SystemClock.now() + PATIENCE) for text in ("bad 0", "good 0", "bad 1", "good 1")]
    for call in calls:
        batcher.submit(call)
    assert inside.acquire(timeout=PATIENCE)
    queue.drain()  # those who return need not wait for a batch to fill
    go_on.set()
    for call in calls[0::2]:
        with pytest.raises(UpstreamRejected, match="too long"):
            batcher.result(call)
    assert [batcher.result(call) for call in calls[1::2]] == [
        [vector_of(item)] for item in items_of("good 0", "good 1")
    ]
    batcher.stop(PATIENCE)


def test_verdicts_are_bounded(clock: FakeClock) -> None:
    verdicts = Verdicts(clock)
    for number in range(MAX_VERDICTS + 1):
        verdicts.convict(KEY, str(number).encode(), REFUSAL)
    assert verdicts.look_up(KEY, [b"0"]) == (None, False)
    assert verdicts.look_up(KEY, [b"1"]) == (REFUSAL, True)
