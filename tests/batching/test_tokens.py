"""The tokens that an upstream counts for a call are apportioned to the clients whose items were in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamRejected
from tests.batching.test_batcher import BatcherBench
from tests.support.fakes import FakeClock, FakeUpstream, items_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching import Answer, Batch


class CountingUpstream(FakeUpstream):
    """Counts two tokens for each item and one for each of its bytes, and refuses bad items."""

    def __init__(self, clock: FakeClock, *bad: str) -> None:
        super().__init__(clock)
        self.bad = set(items_of(*bad))

    def send(self, batch: Batch) -> Answer:
        answer = super().send(batch)
        if self.bad.intersection(batch.items):
            raise UpstreamRejected("too long", status=422)
        return answer._replace(tokens=tokens_of(batch.items))


def tokens_of(items: Sequence[bytes]) -> int:
    return sum(2 + len(item) for item in items)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_call_that_was_alone_in_its_batch_gets_the_true_count(clock: FakeClock) -> None:
    bench = BatcherBench(clock, CountingUpstream(clock))
    call = bench.submit("a", "bc")
    bench.run()
    assert call.tokens == tokens_of(items_of("a", "bc"))


def test_the_shares_of_calls_in_one_batch_add_up_exactly(clock: FakeClock) -> None:
    bench = BatcherBench(clock, CountingUpstream(clock))
    calls = [bench.submit("a"), bench.submit("bcdefg", "h"), bench.submit("ij" * 20)]
    bench.run()
    shares = [call.tokens or 0 for call in calls]
    assert sum(shares) == tokens_of([item for call in calls for item in call.items])
    assert shares == sorted(shares)


def test_a_call_in_several_batches_gets_the_sum_of_its_parts(clock: FakeClock) -> None:
    bench = BatcherBench(clock, CountingUpstream(clock), max_batch_size=2)
    call = bench.submit("a", "b", "c", "d", "e")
    bench.run()
    assert call.tokens == tokens_of(call.items)


def test_calls_beside_a_refused_input_get_the_tokens_of_the_calls_that_answered_them(clock: FakeClock) -> None:
    bench = BatcherBench(clock, CountingUpstream(clock, "bad"))
    good = [bench.submit("a"), bench.submit("b", "c"), bench.submit("d"), bench.submit("e")]
    bad = bench.submit("bad")
    bench.run()
    assert bad.tokens is None
    assert all(call.tokens for call in good)
    assert sum(call.tokens or 0 for call in good) == tokens_of([item for call in good for item in call.items])


def test_where_the_upstream_counts_nothing_no_call_has_tokens(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock))
    call = bench.submit("a", "b")
    bench.run()
    assert call.tokens is None
