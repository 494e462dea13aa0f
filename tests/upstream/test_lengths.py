"""The length of an upstream's vectors is learnt and held against each answer; rows of another length are bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Options, Task
from batching.errors import UpstreamFailed, UpstreamMisconfigured
from formats.slices import BadRowsError
from tests.support.fakes import KEY, FakeClock, items_of
from upstream.identity import Identities
from upstream.lengths import (
    AGREED_FOR,
    CONFIRMED_BY,
    MAX_REMEMBERED_KEYS,
    MOST_CONFIDENCE,
    WITNESSES,
    Lengths,
)

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = "http://a", "http://b"
SHORTENED = BatchKey(Task.EMBED, Options(dimensions=4))


#: As many texts as confirm a length.
COMMON = tuple(f"common {number}" for number in range(CONFIRMED_BY))


class LengthsBench:
    """The lengths of two upstreams in one list."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.time = 1000.0
        self.identities = Identities()
        self.of = {url: Lengths(url, self.identities, self.clock) for url in (A, B)}

    def takes(self, length: int, *texts: str, at: str = A, key: BatchKey = KEY) -> bool:
        """Whether an answer for these texts is taken, all of whose vectors have this length."""
        try:
            self.of[at].check(key, length, items_of(*texts or COMMON))
        except UpstreamFailed:
            return False
        return True

    def differs(self, length: int, *texts: str, at: str) -> str:
        """Check an answer that shows another model than the other upstream's; return the reason."""
        with pytest.raises(UpstreamMisconfigured) as raised:
            self.of[at].check(KEY, length, items_of(*texts or COMMON))
        return raised.value.reason


@pytest.fixture
def bench() -> LengthsBench:
    return LengthsBench()


# One upstream


def test_the_first_length_is_taken_and_then_known(bench: LengthsBench) -> None:
    assert bench.takes(8)
    assert bench.takes(8)
    assert not bench.takes(7)
    assert repr(bench.of[A]) == "<Lengths of http://a: [8]>"


def test_another_is_told_with_both_numbers(bench: LengthsBench) -> None:
    bench.takes(8)
    with pytest.raises(UpstreamFailed, match="a vector of 7 numbers instead of 8"):
        bench.of[A].check(KEY, 7, items_of("a"))


def test_each_key_has_its_own(bench: LengthsBench) -> None:
    assert bench.takes(8)
    assert bench.takes(4, key=SHORTENED)
    assert not bench.takes(4)
    assert not bench.takes(8, key=SHORTENED)


def test_one_input_never_changes_it_however_often_it_comes(bench: LengthsBench) -> None:
    bench.takes(8)
    for _ in range(50):
        assert not bench.takes(7, "poison")
        bench.clock.time += AGREED_FOR
    assert bench.takes(8)


def test_different_inputs_that_agree_for_a_while_change_it(bench: LengthsBench) -> None:
    bench.takes(8)
    for number in range(WITNESSES - 1):
        assert not bench.takes(7, f"text {number}")
    bench.clock.time += AGREED_FOR
    assert bench.takes(7, "the last")
    assert bench.takes(7)
    assert not bench.takes(8)


@pytest.mark.parametrize(("seconds", "is_taken"), [(AGREED_FOR - 0.001, False), (AGREED_FOR, True)])
def test_few_of_them_need_so_long(bench: LengthsBench, seconds: float, is_taken: bool) -> None:
    bench.takes(8)
    for number in range(WITNESSES):
        assert not bench.takes(7, f"text {number}")
    bench.clock.time += seconds
    assert bench.takes(7, "the last") is is_taken


def test_more_inputs_than_had_the_known_length_change_it_at_once(bench: LengthsBench) -> None:
    bench.takes(8)
    taken = [bench.takes(7, f"text {number}") for number in range(2 * CONFIRMED_BY)]
    assert taken == [False] * CONFIRMED_BY + [True] * CONFIRMED_BY


def test_one_odd_first_answer_teaches_nothing(bench: LengthsBench) -> None:
    assert bench.takes(1, "odd")
    for number in range(100):
        assert bench.takes(8, f"text {number}")
        assert bench.takes(1, "odd") is (number < CONFIRMED_BY - 1)


def test_odd_first_answers_give_way_to_what_most_inputs_have(bench: LengthsBench) -> None:
    for number in range(2 * CONFIRMED_BY):
        assert bench.takes(1, f"odd {number}")
    taken = []
    for number in range(20 * CONFIRMED_BY):
        bench.takes(1, f"odd {number % (2 * CONFIRMED_BY)}")
        taken.append(bench.takes(8, f"text {number}"))
    assert not all(taken)
    assert all(taken[MOST_CONFIDENCE + 2 * CONFIRMED_BY :])


def test_one_answer_of_the_known_length_begins_the_count_anew(bench: LengthsBench) -> None:
    for number in range(MOST_CONFIDENCE):
        bench.takes(8, f"good {number}")
    for turn in range(10):
        for number in range(WITNESSES - 1):
            assert not bench.takes(7, f"text {turn} {number}")
        bench.clock.time += AGREED_FOR
        assert bench.takes(8)


def test_so_does_a_third_length(bench: LengthsBench) -> None:
    bench.takes(8)
    for number in range(10):
        for length in (6, 7):
            assert not bench.takes(length, f"text {length} {number}")
        bench.clock.time += AGREED_FOR


def test_an_upstream_that_has_gone_may_come_back_with_another(bench: LengthsBench) -> None:
    bench.takes(8)
    bench.of[A].forget()
    assert bench.takes(7)


def test_what_was_seen_before_it_went_does_not_count_afterwards(bench: LengthsBench) -> None:
    bench.takes(8)
    for number in range(WITNESSES):
        assert not bench.takes(7, f"text {number}")
    bench.clock.time += AGREED_FOR
    bench.of[A].forget()
    bench.takes(8)
    assert not bench.takes(7, "the last")


def test_keys_without_end_are_not_kept(bench: LengthsBench) -> None:
    keys = [BatchKey(Task.EMBED, Options(prompt_name=str(number))) for number in range(3 * MAX_REMEMBERED_KEYS)]
    for key in keys:
        assert bench.takes(8, key=key)
    known = sum(not bench.takes(7, key=key) for key in keys[-MAX_REMEMBERED_KEYS:])
    assert 0 < known <= MAX_REMEMBERED_KEYS


# Several upstreams


def test_all_that_agree_are_taken(bench: LengthsBench) -> None:
    assert bench.takes(8, at=A)
    assert bench.takes(8, at=B)


def test_one_whose_vectors_are_of_another_length_is_a_mistake_of_configuration(bench: LengthsBench) -> None:
    bench.takes(8, at=A)
    for _ in range(3):
        reason = bench.differs(7, at=B)
    assert reason == "its vectors have 7 numbers, and those of another upstream 8"
    assert bench.takes(8, at=A)


def test_it_is_taken_once_it_has_the_others_length(bench: LengthsBench) -> None:
    bench.takes(8, at=A)
    bench.differs(7, at=B)
    assert bench.takes(8, at=B)


def test_where_the_first_has_gone_the_next_decides(bench: LengthsBench) -> None:
    bench.takes(8, at=A)
    bench.differs(7, at=B)
    bench.of[A].forget()
    bench.identities.gone(A)
    assert bench.takes(7, at=B)
    bench.differs(8, at=A)


def test_a_length_that_changes_is_held_against_the_others_as_well(bench: LengthsBench) -> None:
    bench.takes(8, at=A)
    bench.takes(8, at=B)
    for number in range(WITNESSES):
        assert not bench.takes(7, f"text {number}", at=B)
    bench.clock.time += AGREED_FOR
    bench.differs(7, "the last", at=B)
    assert bench.takes(8, at=A)
    assert bench.takes(8, at=B)


class Interleaved(Identities):
    """Does something once, just before a length is compared with those of the others and learned."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def learned(self, url: str, key: BatchKey, dimension: int) -> int | None:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().learned(url, key, dimension)


def test_of_two_that_learn_different_lengths_at_the_same_moment_one_stays(bench: LengthsBench) -> None:
    identities = Interleaved()
    bench.of = {url: Lengths(url, identities, bench.clock) for url in (A, B)}

    def is_taken(length: int, at: str) -> bool:
        try:
            return bench.takes(length, at=at)
        except UpstreamMisconfigured:
            return False

    identities.meanwhile = lambda: is_taken(7, B)
    is_taken(8, A)
    assert [is_taken(8, A), is_taken(7, B)] in ([True, False], [False, True])


# Bad rows


def problem_of(*rows: bytes | None) -> BadRowsError:
    """Return what is found where rows are missing, or of several lengths."""
    why = {at: "null" for at, row in enumerate(rows) if row is None}
    lengths = {at: row.count(b",") + 1 for at, row in enumerate(rows) if row is not None}
    return BadRowsError(list(rows), why, lengths)


LONG, SHORT = b"[1,2,3]", b"[1,2]"


@pytest.mark.parametrize(
    ("known", "rows", "bad", "length"),
    [
        (None, [LONG, None, LONG], {1: "null"}, 3),
        (3, [LONG, None, LONG], {1: "null"}, 3),
        # A row of another length than most have, or than is known.
        (None, [LONG, SHORT, LONG], {1: "a vector of 2 numbers"}, 3),
        (3, [SHORT, LONG, SHORT], {0: "a vector of 2 numbers", 2: "a vector of 2 numbers"}, 3),
        (None, [None, SHORT, LONG, SHORT], {0: "null", 2: "a vector of 3 numbers"}, 2),
        # None has the known length: what most have is taken, and then held against it.
        (9, [SHORT, LONG, SHORT], {1: "a vector of 3 numbers"}, 2),
    ],
)
def test_rows_are_bad_and_their_mates_are_kept(
    bench: LengthsBench, known: int | None, rows: list[bytes | None], bad: dict[int, str], length: int
) -> None:
    if known is not None:
        bench.takes(known)
    answer = bench.of[A].mend(KEY, problem_of(*rows))
    assert (answer.bad, answer.dimension) == (bad, length)
    kept = {at: row for at, row in enumerate(answer.results) if at not in bad}
    assert kept == {at: row for at, row in enumerate(rows) if at not in bad}
    assert all(answer.results[at] == b"" for at in bad)


def test_what_is_known_of_another_upstream_tells_which_rows_are_bad(bench: LengthsBench) -> None:
    bench.takes(3, at=B)
    assert set(bench.of[A].mend(KEY, problem_of(SHORT, LONG, SHORT)).bad) == {0, 2}


@pytest.mark.parametrize("rows", [[None], [None, None]])
def test_where_all_are_bad_the_call_has_failed(bench: LengthsBench, rows: list[None]) -> None:
    with pytest.raises(UpstreamFailed, match="the upstream gave no vector: null"):
        bench.of[A].mend(KEY, problem_of(*rows))
