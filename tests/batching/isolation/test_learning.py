"""What a queue learns from refused batches: which items count as refused, and that batches become smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from batching import ProxyError
from batching.errors import Unresolved, UpstreamFailed, UpstreamOverloaded, UpstreamRejected, UpstreamUnavailable
from batching.isolation.search import tally
from batching.outcomes import Again
from tests.batching.isolation.bench import BatcherBench, PickyUpstream, texts_of
from tests.support.fakes import FakeClock, items_of

if TYPE_CHECKING:
    from batching import Result


def flood(bench: BatcherBench, name: str = "flood") -> None:
    """Serve 20 full batches with three bad inputs each."""
    for number in range(20):
        texts = texts_of(32, f"{name} {number},")
        bench.upstream.bad |= set(items_of(texts[0], texts[9], texts[20]))
        bench.submit_each(texts)
        bench.run()


def test_batches_become_smaller_while_many_inputs_are_refused_and_grow_again(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock), max_calls=10_000, max_queued_items=10_000)
    flood(bench)
    assert max(len(batch.items) for batch in bench.ordinary()[-10:]) <= 8
    for number in range(200):
        bench.submit_each(texts_of(32, f"clean {number},"))
        bench.run()
    assert bench.upstream.sizes[-1] == 32


@pytest.mark.parametrize("failures", [1, 100])
def test_batches_that_fail_teach_nothing_of_how_many_inputs_are_refused(clock: FakeClock, failures: int) -> None:
    """Neither that they are refused, which would make batches smaller, nor that they are not."""
    bench = BatcherBench(clock, PickyUpstream(clock), max_calls=10_000, max_queued_items=10_000)
    for name, sizes in (("nothing refused", range(32, 33)), ("many refused", range(2, 9))):
        before = next_size(bench)
        assert before in sizes
        for _ in range(failures):
            bench.upstream.accidents = {len(bench.upstream.batches) + 1: ProxyError("502")}
            bench.submit_each(texts_of(before, "fails"))
            bench.run()
        assert next_size(bench) == before
        flood(bench, name)


def next_size(bench: BatcherBench) -> int:
    """Return how large the queue's next batch is, of more items than fit."""
    calls = bench.submit_each(texts_of(64, "more than fit"))
    bench.upstream.accidents = {len(bench.upstream.batches) + 1: ProxyError("502")}
    bench.step()
    for call in calls:
        bench.queue.abandon(call, ProxyError("enough seen"))
    return bench.upstream.sizes[-1]


# What is learned from the outcomes of a refused batch


@dataclass(frozen=True)
class Row:
    """Outcomes of a refused batch, how many of its items count as refused, and how many as judged."""

    of: list[Result | ProxyError | Again]
    rejected: int
    judged: int


OK = b"[0.5]"
REFUSED = UpstreamRejected("too long", status=422)
FAILED_ON = UpstreamFailed("it threw")
IN_DOUBT = Unresolved("later")
FAILED = UpstreamUnavailable("not ready")
UNTESTED = Again(IN_DOUBT)
#: After failures in a row: it travels by itself.
ALONE = Again(UpstreamFailed("it threw"), "failed", alone=True)
PAUSED = Again(UpstreamOverloaded("busy"))
SENT_AGAIN = Again(UpstreamOverloaded("busy"), "overloaded")


@pytest.mark.parametrize(
    "row",
    [
        Row([OK, OK], 0, 2),
        Row([REFUSED, OK, OK, OK], 1, 4),
        Row([REFUSED, REFUSED], 2, 2),
        # In doubt because too many were refused before, or for a failure that ended the search early.
        Row([REFUSED, IN_DOUBT, IN_DOUBT, OK], 3, 4),
        Row([IN_DOUBT, IN_DOUBT], 2, 2),
        Row([REFUSED, IN_DOUBT, FAILED, OK], 1, 4),
        Row([FAILED, IN_DOUBT], 0, 2),
        Row([FAILED, FAILED], 0, 2),
        # Untested items tell nothing, and a pause ends a search like a failure.
        Row([REFUSED, UNTESTED, UNTESTED, OK], 1, 2),
        Row([REFUSED, IN_DOUBT, UNTESTED, OK], 2, 3),
        Row([UNTESTED, UNTESTED], 0, 0),
        Row([PAUSED, IN_DOUBT, IN_DOUBT], 0, 2),
        Row([REFUSED, SENT_AGAIN, IN_DOUBT], 1, 2),
        # A failure that an input may have caused counts like a refusal, and ends no search.
        Row([FAILED_ON, OK, OK], 1, 3),
        Row([FAILED_ON, REFUSED, IN_DOUBT], 3, 3),
        Row([FAILED_ON, UNTESTED, OK], 1, 2),
        Row([FAILED_ON, ALONE, ALONE], 1, 1),
        Row([ALONE, ALONE], 0, 0),
    ],
    ids=lambda row: ", ".join(
        "ok"
        if each is OK
        else {id(UNTESTED): "untested", id(PAUSED): "paused", id(SENT_AGAIN): "again", id(ALONE): "alone"}.get(id(each))
        or type(each).__name__
        for each in row.of
    ),
)
def test_refused_and_doubtful_items_are_counted_among_those_judged(row: Row) -> None:
    blamed = sum(each in {REFUSED, FAILED_ON} for each in row.of)
    assert tally(row.of, blamed) == (row.rejected, row.judged)
