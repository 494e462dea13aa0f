"""An input that is as long as one that was refused for its length travels by itself, and spoils no batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Options, Task
from batching.errors import UpstreamRejected
from batching.isolation.isolation import ISOLATION_FLOOR
from batching.isolation.long_inputs import LENGTH_TTL, LongInputs
from batching.isolation.verdicts import VERDICT_TTL
from tests.batching.isolation.bench import texts_of, verdict_on
from tests.batching.isolation.size_bench import SizeBench
from tests.support.fakes import KEY, FakeClock, items_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item

OTHER = BatchKey(Task.EMBED, Options(truncate=False))
#: Status and words of servers that refuse an input of more than so many characters.
FORMS = [
    (422, {"error": "Input validation error: `inputs` must have less than 100 characters. Given: 102"}),
    (413, {"error": "Input validation error: `inputs` must have less than 100 characters. Given: 102"}),
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 25 tokens, however you requested 26 tokens (26 in "
                "your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        },
    ),
    (
        500,
        {
            "error": {
                "code": 500,
                "message": "input (102 tokens) is too large to process. increase the physical batch size "
                "(current batch size: 100)",
                "type": "server_error",
            }
        },
    ),
    (400, {"error": "the input length exceeds the context length"}),
]


def longer_than(most: int, status: int, body: object) -> SizeBench:
    def refuse(items: Sequence[Item]) -> tuple[int, object] | None:
        return (status, body) if any(len(item) > most for item in items) else None

    return SizeBench(FakeClock(), refuse)


def refused_first(bench: SizeBench, length: int) -> None:
    """Let an input of so many characters be refused, beside one that is accepted."""
    calls = bench.submit_each(["short", length * "x"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [type(None), UpstreamRejected]


def settle_down(bench: SizeBench) -> None:
    """Let so many inputs be accepted that batches are full again, after a refusal that was one of the first answers."""
    for number in range(20):
        sizes = bench.serve(texts_of(32, f"{number},"))
    assert sizes == [32]


@pytest.mark.parametrize(("status", "body"), FORMS)
def test_longer_inputs_ride_alone_and_their_neighbours_are_not_searched(status: int, body: object) -> None:
    bench = longer_than(102, status, body)
    refused_first(bench, 110)
    settle_down(bench)
    searched = len(bench.sizes)
    long = [f"{number} {'y' * 110}" for number in range(4)]
    calls = bench.submit_each([*texts_of(14), long[0], long[1], *texts_of(14, "more"), long[2], long[3]])
    bench.run()
    refused = [at for at, call in enumerate(calls) if verdict_on(call) is not None]
    assert refused == [14, 15, 30, 31]
    assert sorted(bench.sizes[searched:]) == [1, 1, 1, 1, 28]
    assert {call.error.status for call in calls if call.error is not None} == {status if status < 500 else 422}


@pytest.mark.parametrize(("status", "body"), FORMS)
def test_the_capacity_stays_as_it_is(status: int, body: object) -> None:
    bench = longer_than(102, status, body)
    before = repr(bench.capacity)
    refused_first(bench, 110)
    assert repr(bench.capacity) == before


def test_an_input_that_is_longer_and_accepted_raises_the_length() -> None:
    bench = longer_than(10_000, *FORMS[0])
    bench.batcher.isolation.verdicts.refused(KEY, items_of(98 * "x")[0], too_long())
    assert sorted(bench.serve(["a", 200 * "y", "b", "c"])) == [1, 3]
    assert bench.serve(["d", 150 * "y", "e", 200 * "z"]) == [4]
    assert sorted(bench.serve(["f", 201 * "y"])) == [1, 1]


def test_a_refused_input_with_more_tokens_for_its_bytes_lowers_the_length_no_more() -> None:
    clock = FakeClock()
    long = LongInputs(clock)
    long.refused(KEY, b"x" * 100)
    long.accepted(KEY, b"y" * 99)
    long.accepted(KEY, b"y" * 150)
    long.accepted(OTHER, b"y" * 150)
    assert repr(long) == "<LongInputs [151]>"
    long.refused(KEY, b"x" * 150)
    assert repr(long) == "<LongInputs [151]>"
    clock.time += LENGTH_TTL
    long.refused(KEY, b"x" * 110)
    assert repr(long) == "<LongInputs [110]>"


def test_other_keys_are_not_concerned() -> None:
    long = LongInputs(FakeClock())
    long.refused(KEY, b"x" * 100)
    assert long.are_long(KEY, [b"x" * 99, b"x" * 100]) == {1}
    assert not long.are_long(OTHER, [b"x" * 100])


def test_the_shortest_refused_input_counts_until_its_time_is_over() -> None:
    clock = FakeClock()
    long = LongInputs(clock)
    long.refused(KEY, b"x" * 100)
    long.refused(KEY, b"x" * 200)
    assert repr(long) == "<LongInputs [100]>"
    clock.time += LENGTH_TTL - 0.001
    assert long.are_long(KEY, [b"x" * 100])
    clock.time += 0.001
    long.refused(KEY, b"x" * 200)
    assert repr(long) == "<LongInputs [200]>"
    clock.time += LENGTH_TTL
    assert not long.are_long(KEY, [b"x" * 1000])
    assert not long.known


def test_a_long_input_is_never_refused_for_want_of_extra_calls() -> None:
    """It is no suspect: its call is an ordinary one, as its refusal says nothing of those that ride together."""
    bench = longer_than(102, *FORMS[0])
    refused_first(bench, 110)
    settle_down(bench)
    for number in range(3 * int(ISOLATION_FLOOR)):
        call = bench.submit(f"{number:03} {'y' * 110}")
        bench.run()
        assert isinstance(verdict_on(call), UpstreamRejected)
    before = len(bench.sizes)
    bench.serve(texts_of(32))
    assert bench.sizes[before:] == [32]


def test_a_verdict_on_the_very_input_still_refuses_it_without_a_call() -> None:
    bench = longer_than(102, *FORMS[0])
    refused_first(bench, 110)
    before = len(bench.sizes)
    with pytest.raises(UpstreamRejected):
        bench.submit(110 * "x")
    bench.clock.time += VERDICT_TTL
    call = bench.submit(110 * "x")
    bench.run()
    assert isinstance(verdict_on(call), UpstreamRejected)
    assert bench.sizes[before:] == [1]


def test_words_that_a_client_wrote_teach_no_length() -> None:
    bench = longer_than(20, 400, {"error": "cannot embed 'a text that is too long'"})
    calls = bench.submit_each(["short", "a text that is too long"])
    bench.run()
    assert [verdict_on(call) is None for call in calls] == [True, False]
    assert not bench.batcher.isolation.verdicts.is_long(KEY, items_of(1000 * "x")[0])


def too_long() -> UpstreamRejected:
    return UpstreamRejected("too long", status=422, concerns_length=True)
