"""The exact edges of the search for bad inputs: who is asked about, who is told what, and who is remembered how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Batch
from batching.errors import Unjudged, Unresolved, UpstreamError, UpstreamProtocolError, UpstreamRejected
from batching.isolation.isolation import Isolation, Outcomes
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, items_of, vector_of

if TYPE_CHECKING:
    from batching import BatchKey

REFUSAL = UpstreamRejected("refused", status=422, words="the upstream's own")


class PickyUpstream(FakeUpstream):
    """Refuses batches with a guilty text; ``accidents`` happen at call number so-and-so instead."""

    def __init__(self, *guilty: str) -> None:
        super().__init__()
        self.guilty = set(items_of(*guilty))
        self.accidents: dict[int, UpstreamError] = {}
        self.missing = 0

    def send(self, batch: Batch) -> list[bytes]:
        vectors = super().send(batch)
        if accident := self.accidents.get(len(self.batches)):
            raise accident
        if self.guilty & set(batch.items):
            raise UpstreamRejected(f"refused {len(batch.items)}", status=422)
        return vectors[self.missing :]


class Bench:
    """A search on the test's own thread; what is handed out early is noted."""

    def __init__(self, *guilty: str) -> None:
        self.clock = FakeClock()
        self.upstream = PickyUpstream(*guilty)
        self.isolation = Isolation(self.upstream, self.clock, 1)
        self.delivered: list[tuple[int, list[bytes]]] = []

    def batch(self, *texts: str, key: BatchKey = KEY, deadline: float = 1e9) -> Batch:
        """Return a batch in which each text is a client's own."""
        batch = Batch(key, "full", self.clock.now())
        for text in texts:
            batch.add(call_of(text, key=key, deadline=deadline), 1)
        return batch

    def leave_calls(self, count: int) -> None:
        """Spend the budget but for so many calls, counting the one that the next refused batch earns."""
        while self.isolation._budget.spend():
            pass
        for _ in range(count - 1):
            self.isolation._budget.earn()

    def resolve(self, batch: Batch) -> Outcomes:
        return self.isolation.resolve(batch, REFUSAL, lambda first, results: self.delivered.append((first, results)))

    def known(self, *texts: str) -> list[tuple[bool, bool]]:
        """Say of each text whether there is a verdict on it, and whether it is suspected."""
        found = [self.isolation.verdicts.look_up(KEY, [item]) for item in items_of(*texts)]
        return [(verdict is not None, suspected) for verdict, suspected in found]


def results_of(batch: Batch) -> list[bytes]:
    return [vector_of(item) for item in batch.items]


def test_a_client_alone_with_one_text_is_told_all_and_the_text_remembered() -> None:
    bench = Bench()
    outcomes = bench.resolve(bench.batch("a"))
    assert outcomes.results == [b""]
    assert [str(error) for error in outcomes.errors.values()] == ["the upstream's own"]
    assert bench.isolation.verdicts.look_up(KEY, items_of("a")) == (REFUSAL, True)
    assert bench.upstream.batches == []


def test_a_client_alone_with_several_texts_is_told_all_and_none_of_them_remembered() -> None:
    bench = Bench()
    batch = Batch(KEY, "full", 0.0)
    batch.add(call_of("a", "b"), 2)
    outcomes = bench.resolve(batch)
    assert outcomes.results == [b"", b""]
    assert list(outcomes.errors) == [0]
    assert bench.known("a", "b") == [(False, False)] * 2
    assert bench.upstream.batches == []


def test_the_guilty_get_their_verdict_and_the_innocent_their_vectors_early() -> None:
    bench = Bench("c")
    batch = bench.batch("a", "b", "c", "d")
    outcomes = bench.resolve(batch)
    vectors = results_of(batch)
    assert outcomes.results == [vectors[0], vectors[1], b"", b""]
    assert {position: type(error) for position, error in outcomes.errors.items()} == {2: UpstreamRejected, 3: Unjudged}
    assert str(outcomes.errors[2]) == "refused 1"
    assert bench.delivered == [(0, vectors[:2])]
    assert bench.known("a", "b", "c", "d") == [(False, False), (False, False), (True, True), (False, False)]


def test_whoever_is_convicted_by_elimination_is_asked_about_for_its_own_verdict() -> None:
    bench = Bench("d")
    batch = bench.batch("a", "b", "c", "d")
    outcomes = bench.resolve(batch)
    vectors = results_of(batch)
    assert outcomes.results == [*vectors[:3], b""]
    assert [str(error) for error in outcomes.errors.values()] == ["refused 1"]
    assert bench.delivered == [(0, vectors[:2]), (2, vectors[2:3])]
    assert bench.upstream.sizes == [2, 1, 1]


def test_of_whom_nothing_is_known_that_is_told_and_nothing_is_held_against_them() -> None:
    bench = Bench("a", "d")
    outcomes = bench.resolve(bench.batch("a", "b", "c", "d"))
    unjudged = [outcomes.errors[position] for position in (1, 2, 3)]
    assert [type(error) for error in unjudged] == [Unjudged] * 3
    assert {error.retry_after for error in unjudged} == {1}
    assert bench.known("b", "c", "d") == [(False, False)] * 3
    assert bench.upstream.sizes == [2, 1]


def test_the_items_of_a_call_whose_rest_is_elsewhere_are_asked_about() -> None:
    bench = Bench("a")
    batch = bench.batch("a", "b")
    call = call_of("c", "d", "in the next batch")
    batch.add(call, 2)
    outcomes = bench.resolve(batch)
    assert outcomes.results[2:] == results_of(batch)[2:]
    assert {position: type(error) for position, error in outcomes.errors.items()} == {0: UpstreamRejected, 1: Unjudged}
    assert bench.upstream.sizes == [2, 2, 1]


def test_the_last_items_of_a_call_need_not_be_asked_about() -> None:
    bench = Bench("a")
    batch = bench.batch("a", "b")
    call = call_of("in the batch before", "c", "d")
    call.taken = 1
    batch.add(call, 3)
    outcomes = bench.resolve(batch)
    assert sorted(outcomes.errors) == [0, 1, 2, 3]
    assert bench.upstream.sizes == [2, 1]


def test_nobody_returns_from_a_batch_that_may_only_have_been_too_large() -> None:
    bench = Bench("a")
    batch = bench.batch("a", "b", "c", "d")
    too_large = UpstreamRejected("too much", status=413)
    outcomes = bench.isolation.resolve(batch, too_large, lambda first, results: None)
    assert list(outcomes.errors) == [0]
    assert outcomes.results[1:] == results_of(batch)[1:]


def test_suspects_and_the_guilty_are_remembered_for_batches_together() -> None:
    bench = Bench("b")
    bench.resolve(bench.batch("a", "b", key=KEY.apart))
    assert bench.known("a", "b") == [(False, False), (True, True)]


def test_who_cannot_be_asked_about_is_told_to_come_again_and_suspected() -> None:
    bench = Bench("a")
    bench.leave_calls(1)
    outcomes = bench.resolve(bench.batch("a", "b", "c"))
    assert outcomes.results == [b""] * 3
    assert [type(outcomes.errors[position]) for position in range(3)] == [Unresolved, Unresolved, Unjudged]
    assert {error.retry_after for error in outcomes.errors.values()} == {1}
    assert bench.known("a", "b", "c") == [(False, True), (False, True), (False, False)]
    assert bench.upstream.sizes == [2]
    assert bench.delivered == []


def test_a_search_whose_budget_ends_keeps_what_it_found() -> None:
    bench = Bench("c")
    bench.leave_calls(1)
    batch = bench.batch("a", "b", "c", "d")
    outcomes = bench.resolve(batch)
    assert outcomes.results == [*results_of(batch)[:2], b"", b""]
    assert {position: type(error) for position, error in outcomes.errors.items()} == {2: Unresolved, 3: Unresolved}
    assert bench.known("a", "b", "c", "d") == [(False, False), (False, False), (False, True), (False, True)]
    assert len(bench.upstream.batches) == 1


def test_trouble_ends_the_search_and_is_told_to_those_who_were_asked_about() -> None:
    bench = Bench("d")
    trouble = UpstreamError("500")
    bench.upstream.accidents = {2: trouble}
    batch = bench.batch("a", "b", "c", "d")
    outcomes = bench.resolve(batch)
    assert len(bench.upstream.batches) == 2
    assert outcomes.results == [*results_of(batch)[:2], b"", b""]
    assert outcomes.errors[2] is trouble
    assert type(outcomes.errors[3]) is Unresolved
    assert sorted(outcomes.errors) == [2, 3]
    assert bench.known("c", "d") == [(False, False), (False, True)]


def test_nobody_is_asked_about_after_trouble_though_others_are_in_doubt() -> None:
    bench = Bench("a")
    trouble = UpstreamError("500")
    bench.upstream.accidents = {2: trouble}
    outcomes = bench.resolve(bench.batch("a", "b", "c", "d"))
    assert bench.upstream.sizes == [2, 1]
    assert outcomes.errors[0] is trouble
    assert [type(outcomes.errors[position]) for position in (1, 2, 3)] == [Unresolved, Unjudged, Unjudged]
    assert bench.known("a", "b", "c", "d") == [(False, False), (False, True), (False, False), (False, False)]


def test_trouble_ends_a_search_that_has_others_to_ask_about() -> None:
    bench = Bench("a")
    bench.upstream.accidents = {2: UpstreamError("500")}
    too_large = UpstreamRejected("too much", status=413)
    bench.isolation.resolve(bench.batch("a", "b", "c", "d"), too_large, lambda first, results: None)
    assert bench.upstream.sizes == [2, 2]


def test_too_few_results_for_a_group_give_nobody_a_vector() -> None:
    bench = Bench("d")
    bench.upstream.missing = 1
    with pytest.raises(UpstreamProtocolError):
        bench.resolve(bench.batch("a", "b", "c", "d"))
    assert bench.isolation._turns.acquire(blocking=False)


@pytest.mark.parametrize(("now", "deadline"), [(1000.0, 1000.05), (1000.0, 900.0)])
def test_who_waits_in_vain_for_another_search_to_end_is_told_to_come_again(now: float, deadline: float) -> None:
    bench = Bench("a")
    bench.clock.time = now
    waits: list[float] = []

    class Taken:
        """A lock that somebody else keeps, for longer than any patience."""

        def acquire(self, timeout: float) -> bool:
            waits.append(timeout)
            return False

    bench.isolation._turns = Taken()  # type: ignore[assignment]
    batch = bench.batch("a", "b")
    batch.deadline = deadline
    outcomes = bench.resolve(batch)
    assert waits == [pytest.approx(max(0.0, deadline - now))]
    assert outcomes.results == [b"", b""]
    assert sorted(outcomes.errors) == [0, 1]
    assert all(type(error) is Unresolved for error in outcomes.errors.values())
    assert bench.upstream.batches == []


def test_a_search_leaves_room_for_the_next() -> None:
    bench = Bench("a")
    bench.resolve(bench.batch("a", "b"))
    bench.resolve(bench.batch("c", "a"))
    assert bench.isolation._turns.acquire(blocking=False)


def test_calls_with_a_known_input_are_refused_and_those_with_a_suspect_go_alone() -> None:
    bench = Bench()
    guilty, suspect = items_of("guilty", "suspect")
    bench.isolation.verdicts.convict(KEY, guilty, REFUSAL)
    bench.isolation.verdicts.suspect(KEY, suspect)
    with pytest.raises(UpstreamRejected) as raised:
        bench.isolation.admit(call_of("a", "guilty"))
    assert raised.value is not REFUSAL
    call = call_of("a", "suspect")
    bench.isolation.admit(call)
    assert call.key == KEY.apart
    call = call_of("a")
    bench.isolation.admit(call)
    assert call.key == KEY


def test_what_went_alone_and_was_taken_is_cleared_and_only_that() -> None:
    bench = Bench()
    for item in items_of("a", "b"):
        bench.isolation.verdicts.suspect(KEY, item)
    bench.isolation.passed(bench.batch("a", key=KEY.apart))
    assert bench.known("a", "b") == [(False, False), (False, True)]
    bench.isolation.passed(bench.batch("b"))
    assert bench.known("b") == [(False, True)]


def test_each_batch_that_is_taken_pays_for_one_call_of_a_search() -> None:
    bench = Bench()
    bench.leave_calls(1)
    bench.isolation.passed(bench.batch("a"))
    assert bench.isolation._budget.spend()
    assert not bench.isolation._budget.spend()
    bench.isolation.passed(bench.batch("a", key=KEY.apart))  # a call of its own is itself what a search left over
    assert not bench.isolation._budget.spend()
