"""An upstream that keeps failing is left alone, tried with one batch, and taken back."""

from __future__ import annotations

from upstream.breaker import Breaker, Window


def failed(breaker: Breaker, times: int, now: float) -> list[bool]:
    return [breaker.failed(now) for _ in range(times)]


def test_it_opens_after_five_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    assert failed(breaker, 4, 0.0) == [False] * 4
    breaker.succeeded()
    assert failed(breaker, 5, 0.0) == [False] * 4 + [True]
    assert not breaker.is_closed
    assert breaker.until == 1.0


def test_when_its_time_is_over_one_batch_tries_it() -> None:
    breaker = Breaker()
    failed(breaker, 5, 0.0)
    assert not breaker.wants_probe(0.99)
    assert breaker.wants_probe(1.0)
    breaker.probe()
    assert not breaker.wants_probe(1.0)
    breaker.succeeded()
    assert breaker.is_closed
    assert failed(breaker, 5, 2.0)[-1]
    assert breaker.until == 3.0


def test_each_failed_probe_doubles_its_time_up_to_a_limit() -> None:
    breaker = Breaker()
    failed(breaker, 5, 0.0)
    pauses = []
    for _ in range(6):
        now = breaker.until
        breaker.probe()
        assert breaker.failed(now)
        pauses.append(breaker.until - now)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_failures_of_calls_from_before_do_not_prolong_it() -> None:
    breaker = Breaker()
    failed(breaker, 5, 0.0)
    assert failed(breaker, 5, 0.5) == [False] * 5
    assert breaker.until == 1.0


def test_a_probe_that_says_nothing_leaves_room_for_another() -> None:
    breaker = Breaker()
    failed(breaker, 5, 0.0)
    breaker.probe()
    breaker.left()
    assert breaker.wants_probe(1.0)


def test_who_was_seen_to_answer_is_tried_at_once() -> None:
    breaker = Breaker()
    breaker.readmit()
    assert breaker.is_closed
    failed(breaker, 5, 10.0)
    breaker.readmit()
    assert breaker.wants_probe(10.0)


def test_the_window_halves_once_for_all_calls_under_way_and_grows_by_one_for_each_windowful() -> None:
    window = Window(8)
    for _ in range(3):
        window.cut(sent_at=0.0, now=1.0)
    assert window.size == 4
    window.cut(sent_at=1.5, now=2.0)
    assert window.size == 2
    for _ in range(3):
        window.grow()
    assert window.size == 3
    for _ in range(100):
        window.grow()
    assert window.size == 8


def test_the_window_never_closes() -> None:
    window = Window(1)
    for now in range(5):
        window.cut(sent_at=now, now=now)
    assert window.size == 1
