"""A 503 is held back for a moment, by few threads at once."""

from __future__ import annotations

import pytest

from api.held_refusals import HeldRefusals


def test_the_thread_waits_as_long_as_it_is_told() -> None:
    slept: list[float] = []
    HeldRefusals(sleep=slept.append).hold(0.07)
    assert slept == [0.07]


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_a_request_that_has_waited_long_enough_is_answered_at_once(seconds: float) -> None:
    slept: list[float] = []
    HeldRefusals(sleep=slept.append).hold(seconds)
    assert slept == []


def test_only_so_many_are_held_back_at_once() -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) < 5:  # another request is refused meanwhile
            held.hold(seconds)

    held = HeldRefusals(most=2, sleep=sleep)
    held.hold(0.1)
    assert slept == [0.1, 0.1]


def test_places_are_free_again_even_after_an_error() -> None:
    def fail(seconds: float) -> None:
        raise KeyboardInterrupt

    held = HeldRefusals(most=1, sleep=fail)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            held.hold(0.1)
