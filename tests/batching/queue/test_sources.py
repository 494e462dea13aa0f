"""The results of one call never come from two models."""

from __future__ import annotations

import pytest

from batching import Answer, Batch, BatchQueue, Call, Outcomes
from batching.errors import UpstreamRejected, UpstreamUnavailable
from batching.outcomes import UNKNOWN, Again, Result, Source
from batching.queue.endings import TWO_MODELS
from tests.batching.isolation.bench import BatcherBench, PickyUpstream
from tests.batching.queue.steps import REFUSAL, UNTESTED, assert_empty, put_back, texts
from tests.support.fakes import FakeClock, put, queue_of, results_of, succeed, take, vector_of

ONE, OTHER = Source("one", 4), Source("other", 4)


def answer(queue: BatchQueue, batch: Batch, source: Source) -> list[Call]:
    """Settle a batch as a model would have answered it; return the calls that ended."""
    return queue.settle(batch, Outcomes.results(results_of(batch), source))


def assert_refused(call: Call) -> None:
    assert isinstance(call.error, UpstreamUnavailable)
    assert (call.error.message, call.error.status, call.error.retry_after) == (TWO_MODELS, 503, 1)


@pytest.mark.parametrize(
    ("sources", "is_answered"),
    [
        ([ONE, ONE, ONE], True),
        ([UNKNOWN, UNKNOWN, UNKNOWN], True),
        ([ONE, UNKNOWN, ONE], True),
        ([UNKNOWN, ONE, ONE], True),
        ([ONE, OTHER, ONE], False),
        ([ONE, ONE, OTHER], False),
        ([Source("one", 4), Source("one", 8), Source("one", 4)], False),
        ([Source(None, 4), Source(None, 4), Source(None, 8)], False),
        # What one batch does not tell makes nothing forgotten of what those before it told.
        ([ONE, UNKNOWN, OTHER], False),
        ([ONE, Source(None, 4), OTHER], False),
    ],
    ids=lambda value: " ".join(f"{each.model}/{each.dimension}" for each in value) if isinstance(value, list) else None,
)
def test_a_call_over_several_batches_is_answered_only_where_no_two_models_are_known_to_have_answered(
    clock: FakeClock, sources: list[Source], is_answered: bool
) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(6))
    batches = [take(queue) for _ in sources]
    for batch, source in zip(batches, sources, strict=True):
        answer(queue, batch, source)
    assert call.done
    if is_answered:
        assert call.results == [vector_of(item) for item in call.items]
    else:
        assert_refused(call)
    assert_empty(queue)


def test_a_call_that_ends_for_two_models_sends_no_more(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call, other = put(queue, *texts(8)), put(queue, "another's", "more")
    first, second = take(queue), take(queue)
    answer(queue, second, OTHER)
    assert answer(queue, first, ONE) == [call]
    assert_refused(call)
    assert succeed(queue, take(queue)) == [other]
    assert_empty(queue)


def test_calls_that_are_whole_in_their_batches_may_be_answered_by_different_models(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = [put(queue, *texts(2)) for _ in range(2)]
    assert [answer(queue, take(queue), source) for source in (ONE, OTHER)] == [[call] for call in calls]
    assert [call.error for call in calls] == [None, None]


def test_the_items_that_went_again_have_to_come_from_the_same_model(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, *texts(4))
    batch = take(queue)
    of: list[Result | Again] = [*results_of(batch)[:3], Again(UNTESTED)]
    assert queue.settle(batch, Outcomes(of, REFUSAL, source=ONE)) == []
    assert answer(queue, take(queue), OTHER) == [call]
    assert_refused(call)
    assert_empty(queue)


def test_a_call_of_which_all_went_again_may_come_from_any_model(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, *texts(4))
    assert put_back(queue, take(queue), 0, 1, 2, 3) == []
    assert answer(queue, take(queue), OTHER) == [call]
    assert call.error is None


class ModelsUpstream(PickyUpstream):
    """Several upstreams behind one sender: says by which model call number so-and-so is answered, if not by ``ONE``."""

    answered_by: dict[int, Source]

    def send(self, batch: Batch) -> Answer:
        return super().send(batch)._replace(source=self.answered_by.get(len(self.batches), ONE))


@pytest.mark.parametrize("answered_by", [ONE, OTHER], ids=["the same", "another"])
def test_results_that_a_search_hands_out_early_are_held_against_those_of_earlier_batches(
    clock: FakeClock, answered_by: Source
) -> None:
    """The rest of a large call shares its batch with a bad input; the third call asks about that rest by itself."""
    upstream = ModelsUpstream(clock, bad=["bad"])
    upstream.answered_by = {3: answered_by}
    bench = BatcherBench(clock, upstream, max_batch_size=4)
    large, bad = bench.submit(*texts(6)), bench.submit("bad")
    fine = bench.submit("fine")
    bench.run()
    assert isinstance(bad.error, UpstreamRejected)
    assert upstream.sizes[:3] == [4, 4, 2]
    if answered_by is ONE:
        assert large.results == [vector_of(item) for item in large.items]
    else:
        assert_refused(large)
    assert fine.done
    assert_empty(bench.queue)


def test_what_one_call_of_a_search_does_not_tell_makes_nothing_forgotten_either(clock: FakeClock) -> None:
    """A search answers the seven texts of one client in three groups, between whose models one is not known."""
    upstream = ModelsUpstream(clock, bad=["bad"])
    upstream.answered_by = {2: ONE, 3: UNKNOWN, 4: OTHER}
    bench = BatcherBench(clock, upstream, max_batch_size=8)
    large, bad = bench.submit(*texts(7)), bench.submit("bad")
    bench.run()
    assert upstream.sizes == [8, 4, 2, 1, 1]
    assert isinstance(bad.error, UpstreamRejected)
    assert large.error is not None
