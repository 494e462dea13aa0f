"""So many requests have a place at once; the others get theirs in their order, or give up."""

from __future__ import annotations

import pytest

from batching.errors import ClientGone, DeadlineExceeded
from tests.support.fakes import FakeClock
from upstream.places import Places

FAR = 1e9


def no_look() -> None:
    """The request may wait."""


class Asker:
    """Waits for a place from the moment when the clock runs it."""

    def __init__(self, places: Places, clock: FakeClock, deadline: float = FAR) -> None:
        self.got_at: float | None = None
        self._places, self._clock, self._deadline = places, clock, deadline

    def __call__(self) -> None:
        self._places.take(self._deadline, no_look)
        self.got_at = self._clock.now()


def test_as_many_places_as_there_are_are_given_at_once() -> None:
    clock = FakeClock()
    places = Places(2, clock)
    for _ in range(2):
        places.take(FAR, no_look)
    assert (clock.now(), repr(places)) == (0.0, "<Places: 0 free, 0 requests wait>")
    with pytest.raises(DeadlineExceeded):
        places.take(1.0, no_look)
    assert clock.now() == 1.0


def test_a_place_that_is_given_back_is_free_again() -> None:
    places = Places(1, FakeClock())
    for _ in range(3):
        places.take(0.0, no_look)
        places.give_back()
    assert repr(places) == "<Places: 1 free, 0 requests wait>"


def test_a_request_waits_until_a_place_is_given_back() -> None:
    clock = FakeClock()
    places = Places(1, clock)
    places.take(FAR, no_look)
    clock.at(3.0, places.give_back)
    Asker(places, clock)()
    assert clock.now() == 3.0


def test_the_place_goes_to_the_request_that_has_waited_longest() -> None:
    clock = FakeClock()
    places = Places(1, clock)
    places.take(FAR, no_look)
    first, second = Asker(places, clock), Asker(places, clock)
    clock.at(1.0, second)  # it waits inside of the first one's wait, as another thread would beside it
    clock.at(2.0, places.give_back)
    clock.at(5.0, places.give_back)
    first()
    assert (first.got_at, second.got_at) == (5.0, 5.0)
    assert repr(places) == "<Places: 0 free, 0 requests wait>"


def test_a_request_that_gives_up_waits_no_more_and_takes_no_place() -> None:
    clock = FakeClock()
    places = Places(1, clock)
    places.take(FAR, no_look)

    def look() -> None:
        if clock.now() >= 2.0:
            raise ClientGone("gone")

    with pytest.raises(ClientGone):
        places.take(FAR, look)
    assert clock.now() == 2.0
    places.give_back()
    assert repr(places) == "<Places: 1 free, 0 requests wait>"


def test_a_place_that_comes_as_a_request_gives_up_goes_to_the_next() -> None:
    clock = FakeClock()
    places = Places(1, clock)
    places.take(FAR, no_look)

    def look() -> None:
        places.give_back()
        raise ClientGone("gone")

    with pytest.raises(ClientGone):
        places.take(FAR, look)
    assert repr(places) == "<Places: 1 free, 0 requests wait>"
