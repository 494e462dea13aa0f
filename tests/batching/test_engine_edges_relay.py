"""Who is woken when, step by step: the chain of waiters, with and without a promise."""

from __future__ import annotations

import threading

from batching import Call, relay
from tests.support.fakes import call_of


def chain(count: int) -> list[Call]:
    calls = [call_of(str(number)) for number in range(count)]
    relay.link(calls)
    return calls


def awake(calls: list[Call]) -> list[bool]:
    return [call.event.is_set() for call in calls]


def test_only_the_first_is_woken_by_who_ended_them() -> None:
    calls = chain(3)
    relay.wake(calls)
    assert awake(calls) == [True, False, False]


def test_nobody_is_woken_where_no_call_ended() -> None:
    relay.wake([])


def test_who_promised_nothing_wakes_the_next_at_once() -> None:
    calls = chain(3)
    relay.woken(calls[0])
    assert awake(calls) == [False, True, False]


def test_the_last_of_the_chain_wakes_nobody() -> None:
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


def test_a_promise_is_kept_at_the_latest_on_leaving() -> None:
    calls = chain(2)
    with relay.later():
        relay.woken(calls[0])
    assert awake(calls) == [False, True]


def test_a_promise_is_kept_even_by_who_fails() -> None:
    calls = chain(2)
    try:
        with relay.later():
            relay.woken(calls[0])
            raise OSError
    except OSError:
        pass
    assert awake(calls) == [False, True]


def test_after_leaving_nothing_is_promised_any_more() -> None:
    calls = chain(2)
    with relay.later():
        pass
    relay.woken(calls[0])
    assert awake(calls) == [False, True]


def test_who_is_woken_twice_under_one_promise_owes_only_the_second_wake_up() -> None:
    first, second = chain(2), chain(2)
    with relay.later():
        relay.woken(first[0])
        relay.woken(second[0])
        assert awake(first) == [False, True]
        assert awake(second) == [False, False]
    assert awake(second) == [False, True]


def test_one_threads_promise_binds_no_other() -> None:
    calls = chain(2)
    with relay.later():
        other = threading.Thread(target=relay.woken, args=(calls[0],))
        other.start()
        other.join()
        assert awake(calls) == [False, True]
