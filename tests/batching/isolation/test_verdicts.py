"""What is remembered of an input: for how long, for which key, and how many inputs at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Options, Task
from batching.errors import UpstreamFailed, UpstreamRejected
from batching.isolation.evidence import WITNESSED_WITHIN, Record
from batching.isolation.verdicts import FAILURE_TTL, MAX_VERDICTS, VERDICT_TTL, Verdicts
from tests.support.fakes import KEY, FakeClock, items_of

if TYPE_CHECKING:
    from batching import Item
    from batching.errors import InputsInDoubt

#: When the verdicts of these tests are made; the upstream takes other inputs in each of these seconds.
FIRST, SECOND, LATER = 0.0, 1.0, 100.0
FAILURE = UpstreamFailed("it threw")
REFUSAL = UpstreamRejected("too long", status=422)
NOTHING = (None, frozenset[int]())
SUSPECT = (None, frozenset({0}))
REFUSED = (REFUSAL, frozenset[int]())
BAD, SUSPECTED, UNKNOWN = items_of("bad", "suspected", "unknown")


@pytest.fixture
def verdicts(clock: FakeClock) -> Verdicts:
    record = Record()
    for moment in (FIRST, SECOND, LATER):
        record.succeeded(moment)
    return Verdicts(clock, record)


def fill(verdicts: Verdicts, count: int) -> list[Item]:
    """Suspect so many inputs, and return them."""
    items = items_of(*map(str, range(count)))
    for item in items:
        verdicts.suspect(KEY, item)
    return items


def test_of_an_input_that_was_never_held_against_nothing_is_known(verdicts: Verdicts) -> None:
    assert verdicts.look_up(KEY, [UNKNOWN]) == NOTHING
    verdicts.suspect(KEY, SUSPECTED)
    assert verdicts.look_up(KEY, [UNKNOWN]) == NOTHING
    verdicts.clear(KEY, UNKNOWN)
    assert verdicts.look_up(KEY, [SUSPECTED]) == SUSPECT


@pytest.mark.parametrize(
    ("items", "known"),
    [
        ([UNKNOWN], NOTHING),
        ([SUSPECTED], SUSPECT),
        ([BAD], REFUSED),
        ([UNKNOWN, SUSPECTED], (None, frozenset({1}))),
        ([SUSPECTED, UNKNOWN, SUSPECTED, UNKNOWN], (None, frozenset({0, 2}))),
        ([SUSPECTED, BAD], REFUSED),
        ([BAD, SUSPECTED], REFUSED),
        ([UNKNOWN, SUSPECTED, BAD], REFUSED),
    ],
    ids=str,
)
def test_a_call_is_told_of_its_first_refused_input_or_else_of_the_positions_of_its_suspects(
    verdicts: Verdicts, items: list[Item], known: tuple[InputsInDoubt | None, frozenset[int]]
) -> None:
    verdicts.suspect(KEY, SUSPECTED)
    verdicts.refused(KEY, BAD, REFUSAL)
    assert verdicts.look_up(KEY, items) == known


def test_of_several_refused_inputs_the_first_of_the_call_counts(verdicts: Verdicts) -> None:
    other = UpstreamRejected("also too long", status=413)
    verdicts.refused(KEY, UNKNOWN, other)
    verdicts.refused(KEY, BAD, REFUSAL)
    assert verdicts.look_up(KEY, [SUSPECTED, BAD, UNKNOWN]) == REFUSED
    assert verdicts.look_up(KEY, [UNKNOWN, BAD]) == (other, frozenset())


def test_the_newest_of_what_is_said_of_an_input_counts(verdicts: Verdicts) -> None:
    verdicts.suspect(KEY, BAD)
    verdicts.refused(KEY, BAD, REFUSAL)
    assert verdicts.look_up(KEY, [BAD]) == REFUSED
    verdicts.suspect(KEY, BAD)
    assert verdicts.look_up(KEY, [BAD]) == SUSPECT


def test_an_input_that_the_upstream_takes_is_cleared_and_only_that_input(verdicts: Verdicts) -> None:
    for item in (SUSPECTED, UNKNOWN):
        verdicts.suspect(KEY, item)
    verdicts.refused(KEY, BAD, REFUSAL)
    for item in (SUSPECTED, BAD):
        verdicts.clear(KEY, item)
        verdicts.clear(KEY, item)
        assert verdicts.look_up(KEY, [item]) == NOTHING
    assert verdicts.look_up(KEY, [UNKNOWN]) == SUSPECT


@pytest.mark.parametrize(("age", "holds"), [(0.0, True), (VERDICT_TTL - 0.001, True), (VERDICT_TTL, False)])
def test_a_verdict_ends_exactly_with_its_time(clock: FakeClock, verdicts: Verdicts, age: float, holds: bool) -> None:
    clock.time = LATER
    verdicts.refused(KEY, BAD, REFUSAL)
    verdicts.suspect(KEY, SUSPECTED)
    clock.time += age
    assert verdicts.look_up(KEY, [BAD]) == (REFUSED if holds else NOTHING)
    assert verdicts.look_up(KEY, [SUSPECTED]) == (SUSPECT if holds else NOTHING)
    assert repr(verdicts) == f"<Verdicts on {2 * holds} inputs>"


def test_only_verdicts_whose_time_is_over_are_forgotten(clock: FakeClock, verdicts: Verdicts) -> None:
    oldest, old, new = items_of("oldest", "old", "new")
    verdicts.suspect(KEY, oldest)
    verdicts.suspect(KEY, old)
    clock.time = SECOND
    verdicts.suspect(KEY, new)
    clock.time = VERDICT_TTL
    assert verdicts.look_up(KEY, [oldest, old]) == NOTHING
    assert verdicts.look_up(KEY, [new]) == SUSPECT
    assert repr(verdicts) == "<Verdicts on 1 inputs>"


def test_a_verdict_that_is_renewed_holds_for_its_whole_time_again(clock: FakeClock, verdicts: Verdicts) -> None:
    verdicts.refused(KEY, BAD, REFUSAL)
    verdicts.suspect(KEY, UNKNOWN)
    clock.time = SECOND
    verdicts.refused(KEY, BAD, REFUSAL)
    clock.time = VERDICT_TTL
    assert verdicts.look_up(KEY, [UNKNOWN]) == NOTHING
    assert verdicts.look_up(KEY, [BAD]) == REFUSED


@pytest.mark.parametrize("beyond", [0, 1, 2])
def test_beyond_the_bound_the_oldest_inputs_are_forgotten(verdicts: Verdicts, beyond: int) -> None:
    items = fill(verdicts, MAX_VERDICTS + beyond)
    assert repr(verdicts) == f"<Verdicts on {MAX_VERDICTS} inputs>"
    for number, item in enumerate(items[:3]):
        assert verdicts.look_up(KEY, [item]) == (NOTHING if number < beyond else SUSPECT)
    assert verdicts.look_up(KEY, [items[-1]]) == SUSPECT


def test_an_input_that_is_renewed_becomes_the_newest_and_takes_no_second_place(verdicts: Verdicts) -> None:
    items = fill(verdicts, MAX_VERDICTS)
    verdicts.suspect(KEY, items[0])
    assert repr(verdicts) == f"<Verdicts on {MAX_VERDICTS} inputs>"
    verdicts.suspect(KEY, UNKNOWN)
    assert repr(verdicts) == f"<Verdicts on {MAX_VERDICTS} inputs>"
    assert [verdicts.look_up(KEY, [item]) for item in items[:3]] == [SUSPECT, NOTHING, SUSPECT]


@pytest.mark.parametrize(
    "other",
    [
        BatchKey(Task.EMBED, model="another"),
        BatchKey(Task.EMBED, Options(truncate=True)),
        BatchKey(Task.EMBED, Options(normalize=True)),
        BatchKey(Task.EMBED, Options(normalize=False)),
        BatchKey(Task.EMBED, Options(more=(("truncate", b"true"),))),
        BatchKey(Task.EMBED, Options(prompt_name="\ud800")),  # JSON can name half a character
    ],
    ids=str,
)
def test_a_verdict_holds_for_its_key_only(verdicts: Verdicts, other: BatchKey) -> None:
    verdicts.refused(KEY, BAD, REFUSAL)
    assert verdicts.look_up(other, [BAD]) == NOTHING
    verdicts.refused(other, BAD, REFUSAL)
    verdicts.clear(KEY, BAD)
    assert verdicts.look_up(other, [BAD]) == REFUSED
    assert verdicts.look_up(KEY, [BAD]) == NOTHING


# Failures


@pytest.mark.parametrize(("age", "holds"), [(0.0, True), (FAILURE_TTL - 0.001, True), (FAILURE_TTL, False)])
def test_a_failure_holds_for_a_shorter_time_than_a_refusal(
    clock: FakeClock, verdicts: Verdicts, age: float, holds: bool
) -> None:
    clock.time = LATER
    verdicts.failed(KEY, UNKNOWN, FAILURE)
    verdicts.refused(KEY, BAD, REFUSAL)
    clock.time += age
    assert verdicts.look_up(KEY, [UNKNOWN]) == ((FAILURE, frozenset()) if holds else NOTHING)
    assert verdicts.look_up(KEY, [BAD]) == REFUSED


def test_a_failure_that_is_over_is_not_held_behind_an_older_refusal(clock: FakeClock, verdicts: Verdicts) -> None:
    verdicts.refused(KEY, BAD, REFUSAL)
    verdicts.failed(KEY, UNKNOWN, FAILURE)
    clock.time = FAILURE_TTL
    assert verdicts.look_up(KEY, [UNKNOWN, BAD]) == REFUSED
    assert verdicts.look_up(KEY, [UNKNOWN]) == NOTHING


def test_an_input_that_failed_and_was_then_refused_is_refused(clock: FakeClock, verdicts: Verdicts) -> None:
    verdicts.failed(KEY, BAD, FAILURE)
    verdicts.refused(KEY, BAD, REFUSAL)
    clock.time = FAILURE_TTL
    assert verdicts.look_up(KEY, [BAD]) == REFUSED


# The upstream has to take other inputs at about that time


@pytest.mark.parametrize("witnessed", [-WITNESSED_WITHIN, -1.0, 0.0, 1.0, WITNESSED_WITHIN])
@pytest.mark.parametrize("verdict", [REFUSAL, FAILURE], ids=["refused", "failed"])
def test_a_verdict_counts_where_the_upstream_took_another_input_before_or_after_it(
    clock: FakeClock, verdict: InputsInDoubt, witnessed: float
) -> None:
    verdicts = verdicts_made(clock, verdict, witnessed)
    assert verdicts.look_up(KEY, [BAD]) == (verdict, frozenset())


@pytest.mark.parametrize("witnessed", [None, -WITNESSED_WITHIN - 1.0, WITNESSED_WITHIN + 1.0])
@pytest.mark.parametrize("verdict", [REFUSAL, FAILURE], ids=["refused", "failed"])
def test_a_verdict_does_not_count_where_the_upstream_took_nothing_at_about_that_time(
    clock: FakeClock, verdict: InputsInDoubt, witnessed: float | None
) -> None:
    verdicts = verdicts_made(clock, verdict, witnessed)
    assert verdicts.look_up(KEY, [BAD]) == NOTHING


def test_a_verdict_that_does_not_count_hides_none_that_does_and_no_suspect(clock: FakeClock) -> None:
    record = Record()
    verdicts = Verdicts(clock, record)
    clock.time = 100.0
    verdicts.refused(KEY, BAD, REFUSAL)
    verdicts.suspect(KEY, SUSPECTED)
    assert verdicts.look_up(KEY, [BAD, SUSPECTED]) == (None, frozenset({1}))
    clock.time = 110.0
    record.succeeded(110.0)
    verdicts.failed(KEY, UNKNOWN, FAILURE)
    assert verdicts.look_up(KEY, [BAD, UNKNOWN]) == (FAILURE, frozenset())


def test_a_suspect_needs_no_witness(clock: FakeClock) -> None:
    verdicts = Verdicts(clock, Record())
    verdicts.suspect(KEY, SUSPECTED)
    assert verdicts.look_up(KEY, [SUSPECTED]) == SUSPECT


def verdicts_made(clock: FakeClock, verdict: InputsInDoubt, witnessed: float | None) -> Verdicts:
    """Return verdicts made so many seconds before the upstream took another input (negative: after it)."""
    record = Record()
    verdicts = Verdicts(clock, record)
    clock.time = 100.0
    if isinstance(verdict, UpstreamRejected):
        verdicts.refused(KEY, BAD, verdict)
    else:
        verdicts.failed(KEY, BAD, verdict)
    if witnessed is not None:
        record.succeeded(100.0 + witnessed)
    return verdicts
