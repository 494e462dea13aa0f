"""The window halves when the upstream has too much, and grows by one for each windowful that comes back well."""

from __future__ import annotations

import pytest

from upstream.window import Window


def grown(window: Window, times: int) -> int:
    for _ in range(times):
        window.grow()
    return window.size


def test_it_begins_as_large_as_it_may_be() -> None:
    assert Window(8).size == 8


def test_it_halves_once_for_all_calls_that_were_under_way_together() -> None:
    window = Window(8)
    for _ in range(3):
        window.cut(sent_at=0.0, now=1.0)
    assert window.size == 4
    window.cut(sent_at=1.5, now=2.0)
    assert window.size == 2


@pytest.mark.parametrize(("sent_at", "size"), [(0.0, 4), (0.999, 4), (1.0, 2), (1.001, 2)])
def test_a_call_sent_at_the_moment_of_a_cut_counts_as_sent_after_it(sent_at: float, size: int) -> None:
    window = Window(8)
    window.cut(sent_at=0.0, now=1.0)
    window.cut(sent_at=sent_at, now=1.1)
    assert window.size == size


def test_a_windowful_of_calls_makes_room_for_one_more() -> None:
    window = Window(8)
    window.cut(0.0, 1.0)
    window.cut(1.0, 2.0)
    assert [grown(window, 1) for _ in range(3)] == [2, 2, 3]


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_it_never_grows_beyond_where_it_began(most: int) -> None:
    window = Window(most)
    assert grown(window, 10) == most
    window.cut(0.0, 1.0)
    assert grown(window, 100) == most


@pytest.mark.parametrize("most", [1, 3, 8])
def test_it_never_closes(most: int) -> None:
    window = Window(most)
    for now in range(20):
        window.cut(sent_at=now, now=now)
    assert window.size == 1
    assert grown(window, 1) == min(2, most)


def test_it_says_its_size() -> None:
    window = Window(3)
    window.cut(0.0, 1.0)
    assert repr(window) == "<Window 1.50 of 3>"
