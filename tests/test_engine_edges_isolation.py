"""The exact edges of the search for bad inputs: who is asked about, who is told what, and who is remembered how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Batch
from batching.bisection import most_calls
from batching.errors import InDoubt, Unresolved, UpstreamError, UpstreamProtocolError, UpstreamRejected
from batching.isolation import Isolation, Outcomes
from tests.fakes import KEY, FakeClock, FakeUpstream, call_of, items_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self.isolation = Isolation(self.upstream, self.clock)
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
    assert outcomes.results == [vectors[0], vectors[1], b"", vectors[3]]
    assert {position: str(error) for position, error in outcomes.errors.items()} == {2: "refused 1"}
    assert bench.delivered == [(0, vectors[:2]), (3, vectors[3:])]
    assert bench.known("a", "b", "c", "d") == [(False, False), (False, False), (True, True), (False, False)]


def test_suspects_and_the_guilty_are_remembered_for_batches_together() -> None:
    bench = Bench("b")
    bench.resolve(bench.batch("a", "b", key=KEY.apart))
    assert bench.known("a", "b") == [(False, False), (True, True)]


def test_who_cannot_be_asked_about_is_told_to_come_again_and_suspected() -> None:
    bench = Bench("a")
    bench.leave_calls(1)
    outcomes = bench.resolve(bench.batch("a", "b", "c"))
    assert outcomes.results == [b""] * 3
    assert sorted(outcomes.errors) == [0, 1, 2]
    for error in outcomes.errors.values():
        assert type(error) is Unresolved
        assert error.retry_after == 1
    assert bench.known("a", "b", "c") == [(False, True)] * 3
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


SIXTEEN = [f"text {number}" for number in range(16)]


def left_by(bench: Bench) -> dict[int, type[Unresolved]]:
    """Search a batch of sixteen; say where and how inputs were left in doubt."""
    errors = bench.resolve(bench.batch(*SIXTEEN)).errors.items()
    return {position: type(error) for position, error in errors if isinstance(error, Unresolved)}


@pytest.mark.parametrize(
    ("guilty", "left", "told"),
    [
        ((0, 2, 4, 8), [0, 1, 2, 3, 4, 5, 8, 9], InDoubt),
        ((0, 2, 4, 8, 12), [0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 14, 15], InDoubt),
        (range(0, 16, 2), list(range(16)), Unresolved),
    ],
    ids=["half", "as many as may be asked about", "all"],
)
def test_those_in_doubt_when_the_calls_are_spent_may_return_unless_most_are(
    guilty: Sequence[int], left: list[int], told: type[Unresolved]
) -> None:
    bench = Bench(*(SIXTEEN[position] for position in guilty))
    assert left_by(bench) == dict.fromkeys(left, told)
    assert len(bench.upstream.batches) == most_calls(16)
    assert bench.known(*(SIXTEEN[position] for position in left)) == [(False, True)] * len(left)


def test_no_more_return_than_the_budget_has_calls_for() -> None:
    bench = Bench(*(SIXTEEN[position] for position in (0, 2, 4, 8)))
    bench.leave_calls(most_calls(16) + 3)
    assert list(left_by(bench).values()) == [InDoubt] * 3 + [Unresolved] * 5
    assert not bench.isolation._budget.spend()


def test_trouble_in_the_last_call_of_a_search_lets_nobody_return() -> None:
    bench = Bench(*(SIXTEEN[position] for position in (0, 2, 4, 8)))
    bench.upstream.accidents = {most_calls(16): UpstreamError("500")}
    assert set(left_by(bench).values()) == {Unresolved}


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
    bench.upstream.accidents = {2: trouble}  # after the first half has been refused, the second is asked about
    outcomes = bench.resolve(bench.batch("a", "b", "c", "d"))
    assert len(bench.upstream.batches) == 2
    assert [outcomes.errors[position] is trouble for position in range(4)] == [False, False, True, True]
    assert bench.known("a", "b", "c", "d") == [(False, True), (False, True), (False, False), (False, False)]


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
