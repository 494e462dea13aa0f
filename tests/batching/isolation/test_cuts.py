"""Calls that are too large as a whole ride in smaller ones: no input is suspected, and no client sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from batching.capacity import UNLIMITED_BYTES
from batching.clock import NEVER
from batching.errors import DeadlineExceeded, UpstreamRejected
from tests.batching.isolation.bench import texts_of, verdict_on
from tests.batching.isolation.size_bench import SizeBench, bytes_of, more_than
from tests.support.fakes import FakeClock, take
from upstream.caps import QUIET
from upstream.dialects.dialect import UpstreamInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item


def test_a_guess_is_tried_again_after_a_quiet_minute(clock: FakeClock) -> None:
    bench = SizeBench(clock, more_than(8, 400, {"detail": "Too many inputs"}))
    bench.serve(texts_of(32))
    clock.time += QUIET
    assert bench.serve(texts_of(8, "quiet")) == [8]
    assert bench.serve(texts_of(32, "more")) == [16, 8, 8, 8, 8]
    bench.upstreams[0].refuse = lambda items: None
    for _ in range(2):
        clock.time += QUIET
        bench.serve(texts_of(8, "later"))
    assert bench.serve(texts_of(32, "then")) == [32]
    assert bench.clamp.rises_at == NEVER


def test_one_clients_own_list_is_cut_too(clock: FakeClock) -> None:
    bench = SizeBench(clock, more_than(10, 400, {"message": "texts must be less than or equal to 10"}))
    call = bench.submit(*texts_of(100))
    bench.run()
    assert verdict_on(call) is None
    assert bench.sizes == [32, *[10] * 10]


def test_calls_that_were_under_way_are_cut_as_well(clock: FakeClock) -> None:
    bench = SizeBench(clock, more_than(8, 422, {"error": "batch size 32 > maximum allowed batch size 8"}))
    calls = bench.submit_each(texts_of(64))
    batches = [take(bench.queue), take(bench.queue)]
    for batch in batches:
        bench.batcher.dispatch(batch)
    bench.run()
    assert not any(verdict_on(call) for call in calls)
    assert bench.sizes == [32, 32, *[8] * 8]


def test_of_several_upstreams_the_smallest_cap_holds_for_all(clock: FakeClock) -> None:
    bench = SizeBench(
        clock,
        more_than(16, 422, {"error": "batch size 32 > maximum allowed batch size 16"}),
        more_than(8, 422, {"error": "batch size 16 > maximum allowed batch size 8"}),
    )
    bench.serve(texts_of(64))
    assert bench.capacity.batch_size == 8
    bench.clamp.went_away("http://1")
    assert bench.capacity.batch_size == 16


def test_an_upstream_that_comes_back_may_take_more(clock: FakeClock) -> None:
    bench = SizeBench(clock, more_than(8, 422, {"error": "batch size 32 > maximum allowed batch size 8"}))
    bench.serve(texts_of(32))
    bench.pool.on_state("http://0", False, "down")
    assert bench.capacity.batch_size == 32
    bench.serve(texts_of(32))
    assert bench.capacity.batch_size == 8
    assert bench.clamp.told("http://0", UpstreamInfo(None, 64, None)) == ["max_batch_size 8 -> 32"]


def test_each_cap_is_logged_once(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    bench = SizeBench(clock, more_than(8, 400, {"detail": "Too many inputs"}))
    for number in range(3):
        bench.serve(texts_of(32, f"{number},"))
        clock.time += QUIET
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "upstream http://0 refused a call of 32 inputs as too large: max_batch_size 32 -> 16",
        "upstream http://0 refused a call of 16 inputs as too large: max_batch_size 16 -> 8",
    ]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_input_that_is_too_large_by_itself_is_its_own_clients_refusal(clock: FakeClock, status: int) -> None:
    """The others ride on: the cap never falls below half of what the upstream takes."""

    def refuse(items: Sequence[Item]) -> tuple[int, object] | None:
        return (status, {"error": "Payload too large"}) if bytes_of(items) > 1000 else None

    bench = SizeBench(clock, refuse)
    calls = bench.submit_each([*texts_of(20), "x" * 2000, *texts_of(11, "more")])
    bench.run()
    verdicts = [verdict_on(call) for call in calls]
    assert [at for at, verdict in enumerate(verdicts) if verdict is not None] == [20]
    assert isinstance(verdicts[20], UpstreamRejected)
    assert verdicts[20].status == status
    assert bench.capacity.batch_bytes > 500
    assert len(bench.sizes) <= 5


def test_one_input_with_more_tokens_than_a_minute_allows_is_refused_and_not_taken_for_an_overload(
    clock: FakeClock,
) -> None:
    words = "Request too large for m in organization o on tokens per min (TPM): Limit 1000, Requested 1200. Visit x."
    bench = SizeBench(clock, lambda items: (429, {"error": {"message": words, "type": "tokens"}}))
    call = bench.submit("x" * 4000)
    bench.run()
    verdict = verdict_on(call)
    assert isinstance(verdict, UpstreamRejected)
    assert (verdict.status, verdict.message, bench.sizes) == (413, words, [1])


def test_a_client_whose_deadline_is_too_near_is_not_told_of_the_size(clock: FakeClock) -> None:
    bench = SizeBench(clock, more_than(8, 400, {"detail": "Too many inputs"}), lasts=1.0)
    bench.upstreams[0]._latency = lambda size: 2.0
    calls = bench.submit_each(texts_of(32))
    bench.run()
    assert {type(verdict_on(call)) for call in calls} == {DeadlineExceeded}


def test_words_that_a_client_wrote_into_its_text_cut_nothing(clock: FakeClock) -> None:
    """The upstream repeats a text in its refusal; the search finds it, as any other bad input."""
    forged = "batch size 33 > maximum allowed batch size 1"

    def refuse(items: Sequence[Item]) -> tuple[int, object] | None:
        bad = next((json.loads(item) for item in items if b"batch size" in item), None)
        return None if bad is None else (400, {"error": f"cannot embed {bad}"})

    bench = SizeBench(clock, refuse)
    calls = bench.submit_each([*texts_of(31), forged])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [*[type(None)] * 31, UpstreamRejected]
    assert (bench.capacity.batch_size, bench.capacity.batch_bytes) == (32, UNLIMITED_BYTES)


def test_a_limit_that_the_call_was_within_cuts_nothing(clock: FakeClock) -> None:
    """It is about something else: a figure of 2048 is no reason to refuse 32 inputs."""
    words = {"error": "List should have at most 2048 items after validation, not 9000"}
    bench = SizeBench(clock, lambda items: (422, words) if any(b"bad" in item for item in items) else None)
    calls = bench.submit_each([*texts_of(31), "bad"])
    bench.run()
    assert [at for at, call in enumerate(calls) if verdict_on(call)] == [31]
    assert bench.capacity.batch_size == 32


def test_the_setting_bounds_the_tokens_of_a_call_by_its_bytes(clock: FakeClock) -> None:
    bench = SizeBench(clock, lambda items: None, batch_tokens=250)
    assert bench.serve([f"{number:098}" for number in range(32)]) == [10, 10, 10, 2]


def test_what_an_upstream_tells_bounds_the_tokens_of_a_call(clock: FakeClock) -> None:
    bench = SizeBench(clock, lambda items: None)
    info = UpstreamInfo(None, None, None, max_batch_tokens=125)
    assert bench.clamp.told("http://0", info) == ["bytes of a batch: at most 500"]
    assert bench.serve([f"{number:098}" for number in range(10)]) == [5, 5]
    assert bench.clamp.told("http://0", UpstreamInfo(None, None, None)) == [
        "bytes of a batch: no bound of the upstreams'"
    ]
