"""Which waiter is woken when, step by step: the chain of the calls of a batch, with and without a promise."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from batching import Call, relay
from tests.support.fakes import call_of


def chain(count: int) -> list[Call]:
    calls = [call_of(str(number)) for number in range(count)]
    relay.link(calls)
    return calls


def awake(calls: list[Call]) -> list[bool]:
    return [call.event.is_set() for call in calls]


def test_the_batcher_thread_wakes_only_the_first_waiter() -> None:
    calls = chain(3)
    relay.wake(calls)
    assert awake(calls) == [True, False, False]


def test_no_waiter_is_woken_where_no_call_ended() -> None:
    relay.wake([])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_calls_make_no_chain(count: int) -> None:
    assert [call.follower for call in chain(count)] == [None] * count


def test_a_waiter_without_a_promise_wakes_the_next_at_once() -> None:
    calls = chain(3)
    relay.woken(calls[0])
    assert awake(calls) == [False, True, False]


def test_the_last_of_the_chain_wakes_no_waiter() -> None:
    calls = chain(2)
    relay.woken(calls[1])
    with relay.later():
        relay.woken(calls[1])
        relay.pass_on()
    assert awake(calls) == [False, False]


def test_a_promise_is_kept_when_the_thread_is_about_to_block_and_only_once() -> None:
    calls = chain(3)
    with relay.later():
        relay.woken(calls[0])
        assert awake(calls) == [False, False, False]
        relay.pass_on()
        assert awake(calls) == [False, True, False]
        calls[1].event.clear()
        relay.pass_on()
        assert awake(calls) == [False, False, False]


@pytest.mark.parametrize("error", [None, OSError(), SystemExit()], ids=repr)
def test_a_promise_is_kept_at_the_latest_on_leaving_even_with_an_error(error: BaseException | None) -> None:
    calls = chain(2)
    with suppress(OSError, SystemExit), relay.later():
        relay.woken(calls[0])
        assert awake(calls) == [False, False]
        if error is not None:
            raise error
    assert awake(calls) == [False, True]


def test_after_leaving_nothing_is_promised_any_more() -> None:
    calls = chain(2)
    with relay.later():
        pass
    relay.woken(calls[0])
    assert awake(calls) == [False, True]


def test_a_thread_that_wakes_twice_under_one_promise_owes_only_the_second_wake_up() -> None:
    first, second = chain(2), chain(2)
    with relay.later():
        relay.woken(first[0])
        relay.woken(second[0])
        assert awake(first) == [False, True]
        assert awake(second) == [False, False]
    assert awake(second) == [False, True]


def test_the_last_of_a_chain_keeps_the_promise_that_was_given_before() -> None:
    first, second = chain(2), chain(2)
    with relay.later():
        relay.woken(first[0])
        relay.woken(second[1])
        assert awake(first) == [False, False]
    assert awake(first) == [False, True]


def test_one_threads_promise_binds_no_other() -> None:
    calls = chain(2)
    with relay.later():
        other = threading.Thread(target=relay.woken, args=(calls[0],))
        other.start()
        other.join()
        assert awake(calls) == [False, True]


def test_passing_on_without_a_promise_wakes_no_waiter() -> None:
    calls = chain(2)
    relay.pass_on()
    assert awake(calls) == [False, False]
